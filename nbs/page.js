// What style sheets cannot do, for both renderers: folds open for a link into them, the menu shows where the reader is, a phone finds the search box
(() => {
  const find = selector => document.querySelector(selector)

  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)))
    let closed = false
    for (let fold = target?.closest('details'); fold; fold = fold.parentElement.closest('details')) {
      closed ||= !fold.open
      fold.open = true
    }
    if (closed) target.scrollIntoView()
  }
  addEventListener('hashchange', reveal)
  reveal()

  // what scrolls sideways in its own box can be scrolled by keyboard, too
  const scrollable = () => {
    for (const box of document.querySelectorAll('main :is(pre, table, .cell-output-display, .sd-table, .table-responsive, .math.display, .katex-display, figure)')) {
      if (box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== 'visible') box.tabIndex = 0
      else if (box.tabIndex === 0 && !box.closest('.x-app')) box.removeAttribute('tabindex')
    }
  }
  addEventListener('load', scrollable)
  addEventListener('resize', scrollable)
  const grown = new ResizeObserver(scrollable)  // formulas are set after the page has loaded
  for (const box of document.querySelectorAll('main .cell-output-display, main .math.display')) grown.observe(box)
  addEventListener('toggle', scrollable, true)

  const menu = find('#quarto-sidebar')
  const showActive = () => {
    const here = menu.querySelector('.sidebar-link.active')?.getBoundingClientRect(), box = menu.getBoundingClientRect()
    if (here && (here.top < box.top || here.bottom > Math.min(box.bottom, innerHeight))) menu.scrollTop += here.top - box.top - box.height/2
  }
  if (menu) {
    showActive()
    addEventListener('load', showActive)
    menu.addEventListener('shown.bs.collapse', showActive)
  }

  const bar = find('.quarto-secondary-nav .container-fluid')
  if (bar && !bar.querySelector('.quarto-search-button') && find('#quarto-search input')) {  // Quarto has one
    const button = document.createElement('button')
    button.className = 'btn quarto-search-button'
    button.setAttribute('aria-label', 'Search')
    button.innerHTML = '<i class="bi bi-search"></i>'
    button.onclick = () => {
      find('.quarto-btn-toggle').click()
      find('#quarto-search input').focus()
    }
    bar.append(button)
  }
})()
