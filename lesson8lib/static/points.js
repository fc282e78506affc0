// Lists of names, a search among them, and points in the plane: for those explorables that say `uses points.js`
const POINTS_STYLE = `
.x-app.x-app .x-list { width: 100%; }
.x-app.x-app .x-list caption { text-align: left; font-size: .8rem; color: var(--x-muted); caption-side: top; padding: 0 0 .2rem; }
.x-app.x-app .x-list :is(th, td) { width: 1%; min-width: 0; white-space: nowrap; height: auto; padding: .1rem .4rem; border: 0; border-bottom: 1px solid var(--x-line); font-size: .8rem; text-align: right; color: var(--x-text); background: none; }
.x-app.x-app .x-list th { font-weight: 600; vertical-align: bottom; white-space: normal; }
.x-app.x-app .x-list :is(th, td):first-child { text-align: left; width: auto; white-space: normal; }
.x-app.x-app .x-list tr.x-chosen td { background: var(--x-soft); font-weight: 700; }
.x-app .x-list td button { width: 100%; font-size: inherit; text-align: left; border-color: transparent; background: none; padding: .1rem .2rem; min-height: 1.75rem; text-decoration: underline dotted; text-underline-offset: .2em; }
.x-list td button:hover { border-color: var(--x-line); }
@media (max-width: 500px) { .x-app.x-app .x-list :is(th, td) { padding: .1rem .2rem; font-size: .72rem; } }
.x-app input.x-search { width: 17rem; max-width: 74vw; }
.x-points { margin: 0; }
.x-points svg { display: block; width: 100%; touch-action: pan-y; border: 1px solid var(--x-line); cursor: crosshair; }
.x-points svg:focus-visible { outline: 3px solid var(--x-focus); outline-offset: 1px; }
.x-points text { font-size: 12px; fill: var(--x-text); }
.x-points text.x-name { fill: var(--x-ink); stroke: var(--x-zero); stroke-width: 3px; paint-order: stroke; stroke-linejoin: round; }
.x-points text.x-strong { font-weight: 700; }
.x-points text.x-faint { fill: var(--x-muted); font-size: 11px; }
.x-points .x-fit { stroke: var(--x-c2); stroke-width: 2; }
.x-points .x-grid { stroke: var(--x-line); stroke-opacity: .35; }
.x-points .x-dot:not([fill]) { fill: var(--x-line); fill-opacity: .55; }
.x-points .x-dot[fill] { stroke: var(--x-line); stroke-width: .75; }
.x-points .x-hit { fill: var(--x-c1); fill-opacity: .85; }
.x-points .x-near { fill: none; stroke: var(--x-c2); stroke-width: 2.5; }
.x-points .x-here { fill: var(--x-focus); stroke: var(--x-zero); stroke-width: 2; }
`

function search(label, titles, change) {  // one of many names: `change` gets its index
  const id = `x-names-${Math.random().toString(36).slice(2)}`, known = new Set(titles)
  const input = h('input', { type: 'search', list: id, autocomplete: 'off', class: 'x-search' }), list = h('datalist', { id }, titles.map(value => h('option', { value })))
  const wrong = h('span', { class: 'x-wrong', role: 'alert' })
  const take = index => { if (index >= 0) { change(index); input.value = titles[index]; input.select() } }
  input.addEventListener('input', () => { wrong.textContent = ''; if (known.has(input.value)) take(titles.indexOf(input.value)) })
  input.addEventListener('keydown', event => {  // Enter takes the first that contains what was typed
    const text = input.value.trim(), first = titles.findIndex(title => title.toLowerCase().includes(text.toLowerCase()))
    if (event.key !== 'Enter' || !text) return
    if (first < 0) wrong.textContent = `No match for “${text}”.`
    take(first)
  })
  let now = ''
  input.addEventListener('blur', () => { input.value = now })
  const show = index => { now = titles[index] ?? ''; if (document.activeElement !== input) input.value = now }
  return { el: h('span', { class: 'x-field' }, labeled(label, input), wrong, list), control: input, show }
}

function wrapped(items, indent) {  // a list over several lines of at most 88 columns
  const lines = ['']
  for (const item of items) {
    if (indent + lines.at(-1).length + item.length > 84) lines.push('')
    lines[lines.length - 1] += `${item}, `
  }
  return lines.map(line => line.trimEnd()).join('\n' + ' '.repeat(indent))
}
const plain = title => { const name = title.replace(/ \(\d{4}\)$/, ''); return name.length > 26 ? `${name.slice(0, 25)}…` : name }  // a film's, without its year
// A table under headings; the first column is a button that picks its row, and keeps the focus while the table changes
function listing(title, heads, pick) {
  const body = h('tbody'), caption = h('caption', {}, title)
  const row = i => h('tr', {}, heads.map((_, j) => h('td', {}, j || !pick ? null : h('button', { type: 'button', onclick: () => pick(i) }))))
  const draw = (rows, { heading = title, chosen = () => false } = {}) => {  // of texts and elements
    caption.textContent = heading
    while (body.rows.length < rows.length) body.append(row(body.rows.length))
    while (body.rows.length > rows.length) body.lastChild.remove()
    rows.forEach((cells, i) => {
      body.rows[i].classList.toggle('x-chosen', chosen(i))
      cells.forEach((content, j) => { (body.rows[i].cells[j].querySelector('button') ?? body.rows[i].cells[j]).replaceChildren(content) })
    })
  }
  const table = h('table', { class: 'x-list' }, caption, h('thead', {}, h('tr', {}, heads.map(head => h('th', { scope: 'col' }, head)))), body)
  return { el: h('div', { class: 'x-wide' }, table), draw }
}

// Points in the plane. Mouse, pen and touch pick the nearest, the arrow keys the next one in their direction
function pointPlot(label, pick, redraw) {
  const board = svg('svg', { role: 'application', tabindex: 0 }), hover = svg('text', { class: 'x-name' })
  let shown = { at: [], names: [], chosen: 0, width: 0 }
  const nearest = event => {
    const box = board.getBoundingClientRect(), away = shown.at.map(([x, y]) => (x - event.clientX + box.left)**2 + (y - event.clientY + box.top)**2)
    return away.indexOf(Math.min(...away))
  }
  pointing(board, event => { if (shown.at.length) pick(nearest(event)) })
  board.addEventListener('pointermove', event => {
    if (!shown.at.length) return
    const i = nearest(event), [x, y] = shown.at[i], end = x > shown.width/2
    hover.textContent = event.pointerType === 'mouse' ? shown.names[i] : ''
    for (const [name, value] of [['x', x + (end ? -9 : 9)], ['y', y - 9], ['text-anchor', end ? 'end' : 'start']]) hover.setAttribute(name, value)
  })
  board.addEventListener('pointerleave', () => { hover.textContent = '' })
  board.addEventListener('keydown', event => {
    const move = event.ctrlKey || event.metaKey || event.altKey ? null : MOVES[event.key], from = shown.at[shown.chosen]
    if (!move || !move.every(Number.isFinite) || !from) return
    event.preventDefault()
    const cost = shown.at.map(([x, y]) => {
      const ahead = (x - from[0])*move[1] + (y - from[1])*move[0], aside = Math.abs((x - from[0])*move[0]) + Math.abs((y - from[1])*move[1])
      return ahead > .5 ? ahead + 2*aside : Infinity
    })
    const best = Math.min(...cost)
    if (best < Infinity) pick(cost.indexOf(best))
  })
  const observer = new ResizeObserver(() => { if (Math.round(board.clientWidth) !== shown.width) redraw() })
  observer.observe(board)
  // points: [x, y, class, radius, color?]; rings: [index, class]; labels: [index, text, class], first come first served; lines: [x, y, x, y, class]; bounds: [[low, high], [low, high]], else those of the points
  const draw = ({ points, names, rings = [], labels = [], chosen, titles: [across, up], lines = [], bounds, describe }) => {
    const width = Math.round(board.clientWidth) || 600, height = Math.round(clamp(width*.68, 300, 460)), edge = { left: 54, right: 14, top: 12, bottom: 40 }
    const [[x0, x1], [y0, y1]] = [0, 1].map(k => {
      const [low, high] = bounds?.[k] ?? [Math.min, Math.max].map(f => f(...points.map(p => p[k]))), room = (high - low)*.04 || 1
      return [low - room, high + room]
    })
    const px = x => edge.left + (x - x0)/(x1 - x0)*(width - edge.left - edge.right), py = y => height - edge.bottom - (y - y0)/(y1 - y0)*(height - edge.top - edge.bottom)
    const at = points.map(([x, y]) => [px(x), py(y)]), text = (x, y, string, more = {}) => svg('text', { x, y, ...more }, string)
    const line = (a, b, c, d, name) => svg('line', { x1: a, y1: b, x2: c, y2: d, class: name })
    const tick = v => short(v, 3)
    const parts = [
      ...ticks(x0, x1).flatMap(v => [line(px(v), edge.top, px(v), height - edge.bottom, 'x-grid'), text(px(v), height - edge.bottom + 15, tick(v), { 'text-anchor': 'middle' })]),
      ...ticks(y0, y1).flatMap(v => [line(edge.left, py(v), width - edge.right, py(v), 'x-grid'), text(edge.left - 6, py(v) + 4, tick(v), { 'text-anchor': 'end' })]),
      text((edge.left + width)/2, height - 6, across, { 'text-anchor': 'middle' }), text(0, 0, up, { 'text-anchor': 'middle', transform: `translate(13 ${(height - edge.bottom)/2}) rotate(-90)` }),
      ...lines.map(([a, b, c, d, name]) => line(px(a), py(b), px(c), py(d), name)),
      ...points.map(([, , name, r, fill], i) => svg('circle', { cx: at[i][0], cy: at[i][1], r, class: name, ...fill ? { fill } : {} })),
      ...rings.map(([i, name]) => svg('circle', { cx: at[i][0], cy: at[i][1], r: (points[i][3] ?? 4) + 4, class: name })),
    ]
    const ringed = rings.map(([i]) => [at[i][0] - 7, at[i][1] - 7, at[i][0] + 7, at[i][1] + 7]), taken = []
    for (const [i, string, kind] of labels) {
      const [x, y] = at[i], wide = string.length*(kind === 'x-strong' ? 6.9 : 6.4), others = kind === 'x-strong' ? taken : [...taken, ...ringed]
      const free = ([a, b, c, d]) => a > edge.left && c < width - 2 && b > 2 && d < height - edge.bottom && !others.some(t => a < t[2] && c > t[0] && b < t[3] && d > t[1])
      const spots = [['start', x + 11, y + 4], ['end', x - 11, y + 4], ['middle', x, y - 11], ['middle', x, y + 20]].map(([anchor, tx, ty]) => {
        const left = tx - (anchor === 'end' ? wide : anchor === 'middle' ? wide/2 : 0)
        return [anchor, tx, ty, [left, ty - 11, left + wide, ty + 3]]
      })
      const spot = spots.find(s => free(s[3]))
      if (!spot) continue
      taken.push(spot[3])
      parts.push(text(spot[1], spot[2], string, { 'text-anchor': spot[0], class: `x-name ${kind}` }))
    }
    board.setAttribute('viewBox', `0 0 ${width} ${height}`)
    board.setAttribute('aria-label', `${label}. ${describe}`)
    board.replaceChildren(...parts, hover)
    shown = { at, names, chosen, width: Math.round(board.clientWidth) }
    hover.textContent = ''
  }
  return { el: h('figure', { class: 'x-points' }, board), draw, stop: () => observer.disconnect() }
}
