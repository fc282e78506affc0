// The map: a box above the page's tables and questions that leaves the rows in which all typed words occur; `map.html?find=dropout` fills it
(() => {
  const rows = [...document.querySelectorAll('main table tbody tr, main li:has(> a[id]), main li:has(> p > a[id])')]
  const texts = rows.map(row => row.textContent.toLowerCase())
  const input = document.createElement('input'), count = document.createElement('span'), label = document.createElement('label')
  input.type = 'search'
  input.placeholder = 'a word, such as dropout'
  count.setAttribute('role', 'status')
  label.className = 'filter'
  label.append('Filter: ', input, ' ', count)
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean)
    let left = 0
    rows.forEach((row, i) => {
      const linked = location.hash && row.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`)  // what the address leads to stays
      row.hidden = !linked && !words.every(word => texts[i].includes(word))
      left += !row.hidden
    })
    count.textContent = words.length ? `${left} of ${rows.length} entries` : ''
    const address = new URL(location)
    if (words.length) address.searchParams.set('find', input.value)
    else address.searchParams.delete('find')
    try { history.replaceState(null, '', address) } catch { /* a page opened from a file */ }
  }
  input.oninput = filter
  document.querySelector('#t101')?.closest('section, h2').before(label)
  input.value = new URLSearchParams(location.search).get('find') ?? ''
  if (input.value) filter()
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView()  // below the box, which was not there when the page came
})()
