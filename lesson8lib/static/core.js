// What all explorables share. lesson8lib.explorables puts this file, and those that NAME.js says it uses, before NAME.js: a page gets one module that imports nothing.
// NAME.js has `const SPEC = {…}` in strict JSON, which Python reads too, pure functions of its maths, and `export default { render({ model, el }) }`.

// ---- Elements: h('button', { onclick: f, disabled: true }, 'text', other)
const PROPERTIES = new Set(['value', 'checked', 'disabled', 'hidden', 'tabIndex', 'textContent'])
function h(tag, attributes = {}, ...children) {
  const el = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) el.addEventListener(name.slice(2), value)
    else if (PROPERTIES.has(name)) el[name] = value
    else if (value !== null && value !== false) el.setAttribute(name, value)
  }
  el.append(...children.flat().filter(child => child !== null))
  return el
}
const SVG = new DOMParser().parseFromString('<svg></svg>', 'text/html').querySelector('svg').namespaceURI  // so that no address stands in a script
function svg(tag, attributes = {}, ...children) {  // the same for a drawing
  const el = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value)
  el.append(...children)
  return el
}

// A control with its label before it; `change` gets the new value
const labeled = (label, control) => h('label', { class: 'x-field' }, h('span', {}, label), control)
function choice(label, options, change) {  // options: [[value, text], …]
  const select = h('select', { onchange: () => change(select.value) }, options.map(([value, text]) => h('option', { value }, text)))
  return { el: labeled(label, select), control: select, show: value => { select.value = value } }
}
// A box for a number. What does not fit is said beside it, and the old number comes back when the focus leaves
function numberBox(label, { low = -Infinity, high = Infinity, real = false }, change, attributes) {
  const input = h('input', attributes), wrong = h('span', { class: 'x-wrong', role: 'alert' })
  const what = `${real ? 'a number' : 'an integer'}${Number.isFinite(low) && Number.isFinite(high) ? ` from ${short(low)} to ${short(high)}` : ''}`
  const fits = x => Number.isFinite(x) && x >= low && x <= high && (real || Number.isInteger(x))
  const tell = text => { wrong.textContent = text; input.setAttribute('aria-invalid', String(Boolean(text))) }
  input.addEventListener('input', () => {
    const x = readNumber(input.value), right = fits(x)
    tell(right || input.value.trim() === '' ? '' : what)
    if (right) change(x)
  })
  input.addEventListener('blur', () => { input.value = input.dataset.now; input.setAttribute('aria-invalid', 'false') })
  const show = value => {
    input.dataset.now = real ? short(value, 6) : value
    if (document.activeElement !== input || fits(readNumber(input.value)) && readNumber(input.value) !== value) input.value = input.dataset.now
  }
  return { el: h('span', { class: 'x-field' }, labeled(label, input), wrong), control: input, show }
}
const count = (label, spec, change) => numberBox(label, spec, change, { type: 'number', min: spec.low, max: spec.high, step: 1 })  // an integer within its range
const real = (label, spec, change) => numberBox(label, { ...spec, real: true }, change, { type: 'text', inputmode: 'decimal', autocomplete: 'off', size: 7 })
function toggle(label, change) {
  const input = h('input', { type: 'checkbox', onchange: () => change(input.checked) })
  return { el: h('label', { class: 'x-field x-check' }, input, h('span', {}, label)), control: input, show: value => { input.checked = value } }
}

// ---- Numbers
const clamp = (x, low, high) => Math.min(high, Math.max(low, x))
const nearZero = (x, digits) => Math.abs(x) < .5*10**-digits ? 0 : x
const fmt = (x, digits = 2) => nearZero(x, digits).toFixed(digits).replace('-', '−')
const short = (x, digits = 4) => String(Number(nearZero(x, digits).toFixed(digits))).replace('-', '−')  // no zeros at the end
const readNumber = text => { const s = text.trim().replace(/[−–]/g, '-').replace(',', '.'); return s === '' ? NaN : Number(s) }
const quoted = text => text.includes("'") ? `"${text.replaceAll('"', '\\"')}"` : `'${text}'`  // of text
const python = x => Array.isArray(x) ? `[${x.map(python).join(', ')}]` : Number.isInteger(x) ? `${x}.` : String(x)  // of floating-point numbers
function ticks(low, high) {  // round numbers, four to nine of them
  const rough = (high - low)/5 || 1, unit = 10**Math.floor(Math.log10(rough)), step = unit*[1, 2, 5, 10].find(k => k*unit >= rough)
  return Array.from({ length: Math.floor(high/step) - Math.ceil(low/step) + 1 }, (_, i) => (Math.ceil(low/step) + i)*step)
}

// ---- Images as text, "28x28:…": one byte a pixel, in base64
function pack(rows) {
  const bytes = rows.flat().map(x => String.fromCharCode(Math.round(clamp(x, 0, 1)*255)))
  return `${rows.length}x${rows[0].length}:${btoa(bytes.join(''))}`
}
function unpack(text) {
  const [, height, width, data] = /^(\d+)x(\d+):(.*)$/.exec(text)
  const bytes = atob(data)
  if (bytes.length !== height*width) throw new RangeError('Another number of pixels')
  return Array.from({ length: Number(height) }, (_, i) => Array.from({ length: Number(width) }, (_, j) => bytes.charCodeAt(i*width + j)/255))
}
function isImage(text) {
  try { const x = unpack(text); return x.length > 0 && x[0].length > 0 && x.flat().every(Number.isFinite) } catch { return false }
}
function stamp(rows, row, col, ink) {  // an image with one touch of a soft pen, or of an eraser
  const strength = (i, j) => i && j ? .25 : i || j ? .6 : 1
  return rows.map((line, y) => Math.abs(y - row) > 1 ? line : line.map((x, c) => Math.abs(c - col) > 1 ? x : ink ? Math.max(x, strength(y - row, c - col)) : 0))
}

function stroke(rows, from, to, ink) {  // all touches on the way between two pixels
  const steps = Math.max(1, ...to.map((v, axis) => Math.abs(v - from[axis])))
  for (let t = 1; t <= steps; t++) rows = stamp(rows, ...to.map((end, axis) => Math.round(from[axis] + (end - from[axis])*t/steps)), ink)
  return rows
}

// ---- Arrays as text, "f16:5x300x50:…": little-endian numbers of 16 or 32 bits, in base64
function half(bits) {  // a float16 from its bits
  const exponent = bits >> 10 & 31, fraction = bits & 1023
  if (exponent === 31) return NaN
  return (bits & 32768 ? -1 : 1)*(exponent ? 2**(exponent - 25)*(1024 + fraction) : 2**-24*fraction)
}
const unpacked = new Map()  // an explorable's own data stay the same while its reader plays
function unpackNumbers(text) {  // nested arrays, shared by all who ask
  if (!unpacked.has(text)) unpacked.set(text, readArray(text))
  return unpacked.get(text)
}
function floats(data, bits = 16) {  // flat, from base64
  const view = new DataView(Uint8Array.from(atob(data), c => c.charCodeAt(0)).buffer), size = bits/8
  return Float64Array.from({ length: view.byteLength/size }, (_, i) => size === 2 ? half(view.getUint16(2*i, true)) : view.getFloat32(4*i, true))
}
function readArray(text) {
  const [, bits, shape, data] = /^f(16|32):(\d+(?:x\d+)*):(.*)$/.exec(text), flat = floats(data, Number(bits)), sizes = shape.split('x').map(Number)
  if (flat.length !== sizes.reduce((a, b) => a*b)) throw new RangeError('Another number of bytes')
  if (!flat.every(Number.isFinite)) throw new RangeError('A number that is not finite')
  const nest = ([n, ...rest], first) => {
    const step = rest.reduce((a, b) => a*b, 1)
    return Array.from({ length: n }, (_, i) => rest.length ? nest(rest, first + i*step) : flat[first + i])
  }
  return nest(sizes, 0)
}
function isArray(text) { try { unpackNumbers(text); return true } catch { return false } }

// ---- State: an object with the keys of SPEC. What does not fit (an edited address) is replaced by what was there
function fits(spec, value) {
  if (typeof value !== typeof spec.value || Array.isArray(value) !== Array.isArray(spec.value)) return false
  const inRange = x => Number.isFinite(x) && x >= (spec.low ?? -Infinity) && x <= (spec.high ?? Infinity)
  if (typeof value === 'number') return inRange(value) && (spec.real || Number.isInteger(value))
  if (spec.choices) return spec.choices.includes(value)
  if (spec.kind === 'image') return value === '' || isImage(value)
  if (spec.kind === 'images') return value.every(isImage)
  if (spec.kind === 'array') return isArray(value)
  if (spec.pattern) return value.every(text => new RegExp(spec.pattern).test(text))
  if (spec.kind === 'matrix') return value.length >= 1 && value.length <= spec.size && value.every(row => Array.isArray(row) && row.length === value[0].length &&
    row.length >= 1 && row.length <= spec.size && row.every(inRange))
  return true
}
const clean = (spec, values, before = {}) => Object.fromEntries(Object.entries(spec).map(([key, s]) =>
  [key, values && key in values && fits(s, values[key]) ? values[key] : before[key] ?? s.value]))
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)

function later(work, delay) {  // the last call of a burst
  let timer
  return () => { clearTimeout(timer); timer = setTimeout(work, delay) }
}

// The state of one explorable beside its model (anywidget's, or the one of a static page): `values`, `set(changes)`, `redraw` once a frame.
// What the author fixed is the trait `data`, and stays where it is: only what the reader changes is sent
function store(model, spec, tidy, redraw) {
  let frame = 0
  const next = (values, before) => tidy(clean(spec, values, before))
  const read = () => ({ ...model.get('data'), ...model.get('values') })
  const draw = () => { frame ||= requestAnimationFrame(() => { frame = 0; redraw() }) }
  const send = later(() => {
    model.set('values', Object.fromEntries(Object.entries(self.values).filter(([key]) => !spec[key].fixed)))
    model.save_changes()
  }, 60)
  const self = {
    values: next(read()),
    set(changes) {
      const values = next({ ...self.values, ...changes }, self.values)
      if (same(values, self.values)) return
      self.values = values
      send()
      draw()
    },
    draw,
  }
  const heard = () => {
    const values = next(read(), self.values)
    if (!same(values, self.values)) { self.values = values; draw() }
  }
  for (const change of ['change:values', 'change:data']) model.on(change, heard)
  self.stop = () => {
    for (const change of ['change:values', 'change:data']) model.off?.(change, heard)
    cancelAnimationFrame(frame)
  }
  return self
}

// ---- State in the address: #conv_slide.stride=2&conv_slide.padding=1, what differs from the author's state only
function encode(value) {
  if (typeof value === 'boolean') return value ? '1' : '0'
  return Array.isArray(value) ? value.map(v => Array.isArray(v) ? v.join(',') : v).join(';') : String(value)
}
function decode(spec, text) {
  if (typeof spec.value === 'boolean') return { 0: false, 1: true }[text] ?? null
  if (typeof spec.value === 'number') return text === '' ? NaN : Number(text)
  if (spec.kind === 'matrix') return text.split(';').map(row => row.split(',').map(x => x === '' ? NaN : Number(x)))
  return Array.isArray(spec.value) ? (text === '' ? [] : text.split(';')) : text
}
const inAddress = () => new URLSearchParams(location.hash.slice(1).replaceAll('+', '%2B'))
function fromAddress(id, spec) {
  const found = {}
  for (const [key, text] of inAddress()) {
    const name = key.startsWith(`${id}.`) ? key.slice(id.length + 1) : ''
    if (name in spec && !spec[name].fixed) found[name] = decode(spec[name], text)
  }
  return found
}
const escaped = text => encodeURIComponent(text).replace(/%(2C|3B|3A|2F|3D)/g, decodeURIComponent)
function toAddress(id, spec, values, author) {
  const others = [...inAddress()].filter(([key, text]) => text !== '' && !key.startsWith(`${id}.`))
  const own = Object.keys(spec).filter(key => !spec[key].fixed && !same(values[key], author[key])).map(key => [`${id}.${key}`, encode(values[key])])
  const hash = [...others, ...own].map(([key, text]) => `${key}=${escaped(text)}`).join('&')
  if (!hash && !location.hash.includes(`${id}.`)) return  // an anchor of the page stays
  try { history.replaceState(history.state, '', hash ? `#${hash}` : location.pathname + location.search) } catch { /* a page within a frame may not */ }
}

// A static page: the module mounts the first explorable of its name that is not mounted yet, in place of its still picture
function mount(name, spec, render) {
  const all = [...document.querySelectorAll(`[data-explorable="${name}"]`)], el = all.find(e => !e.hasAttribute('data-mounted'))
  if (!el) return
  const id = all.indexOf(el) ? `${name}-${all.indexOf(el) + 1}` : name
  const author = clean(spec, JSON.parse(el.querySelector('script[type="application/json"]').textContent))
  const listeners = new Set(), write = later(() => toAddress(id, spec, values, author), 250)
  let values = clean(spec, { ...author, ...fromAddress(id, spec) }, author)
  const model = {
    get: name => name === 'values' ? values : {},
    set: (_, v) => { values = v },
    save_changes: write,
    on: (_, f) => listeners.add(f),
    off: (_, f) => listeners.delete(f),
  }
  el.setAttribute('data-mounted', '')
  const place = h('div')
  el.append(place)
  try { render({ model, el: place }) } catch (error) {  // the still picture stays
    place.replaceChildren('This figure could not start.')
    throw error
  }
  el.querySelector('.x-still')?.remove()
  const read = () => {
    const found = fromAddress(id, spec)
    if (!Object.keys(found).length) return false
    values = clean(spec, { ...author, ...found }, author)
    for (const f of listeners) f()
    return true
  }
  addEventListener('hashchange', read)
  if (read()) el.scrollIntoView()
}

// ---- Keyboard: one tab stop in a grid, arrow keys move within it
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -Infinity], End: [0, Infinity], PageUp: [-Infinity, 0], PageDown: [Infinity, 0] }
function moved(event, [row, col], rows, cols) {  // the new position, or null for another key
  const move = event.ctrlKey || event.metaKey || event.altKey ? null : MOVES[event.key]
  if (!move) return null
  event.preventDefault()
  return [clamp(row + move[0], 0, rows - 1), clamp(col + move[1], 0, cols - 1)]
}
function roving(rows, onfocus = () => {}) {  // rows of focusable cells
  let now = rows[0][0]
  rows.flat().forEach(cell => { cell.tabIndex = cell === now ? 0 : -1 })
  rows.forEach((row, i) => row.forEach((cell, j) => {
    cell.addEventListener('keydown', event => {
      const to = moved(event, [i, j], rows.length, row.length)
      if (to) rows[to[0]][to[1]].focus()
    })
    cell.addEventListener('focus', () => {
      now.tabIndex = -1
      now = cell
      cell.tabIndex = 0
      cell.select?.()
      onfocus(i, j)
    })
  }))
}

// ---- Colors: light or dark as the text around is; blue below zero, red above it, numbers beside them
const CSS = `
.x-app { --x-zero: #ffffff; --x-pos: #b2182b; --x-neg: #2166ac; --x-ink: #14171c; --x-text: #2b3038; --x-muted: #5d6672; --x-line: #868e9a;
  --x-soft: #f5f6f8; --x-focus: #2a50c8; --x-c1: #b03020; --x-c2: #1f5fae; --x-c3: #1d7044; --x-c4: #8a3f96; color: var(--x-text); font-size: .9rem; line-height: 1.4; }
.x-app[data-theme=dark] { --x-zero: #15181d; --x-pos: #ff8a70; --x-neg: #6fb0ff; --x-ink: #f0f2f5; --x-text: #d3d7de; --x-muted: #9aa4b1; --x-line: #6b7480;
  --x-soft: #1d2127; --x-focus: #8fb4ff; --x-c1: #ff8f7d; --x-c2: #78b4ff; --x-c3: #7fd6a0; --x-c4: #dfa0ea; }
.x-app, .x-app * { box-sizing: border-box; }
.x-app { border: 1px solid var(--x-line); border-radius: .5rem; padding: .8rem; margin: .5rem 0; }
.x-app p { margin: .45rem 0; }
.x-row { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: end; margin: 0 0 .6rem; }
.x-field { display: inline-flex; flex-direction: column; gap: .1rem; font-size: .8rem; color: var(--x-muted); }
.x-wrong:not(:empty) { color: var(--x-c1); font-weight: 600; max-width: 9rem; }
.x-field.x-check { flex-direction: row; gap: .4rem; align-items: center; min-height: 2rem; color: var(--x-text); }
.x-app button, .x-app select, .x-app input { font: inherit; font-size: .85rem; color: var(--x-text); background: var(--x-soft); border: 1px solid var(--x-line); border-radius: .3rem; min-height: 2rem; padding: .1rem .5rem; margin: 0; }
.x-app input[type=number] { width: 4.2rem; }
.x-app input[type=checkbox] { min-height: 0; width: 1.1rem; height: 1.1rem; accent-color: var(--x-focus); }
.x-app button { cursor: pointer; }
.x-app button:is(:disabled, [aria-disabled=true]) { cursor: default; opacity: .5; }
.x-app button[aria-pressed=true] { border-color: var(--x-focus); box-shadow: inset 0 0 0 1px var(--x-focus); }
.x-app :is(button, select, input, pre, [tabindex]):focus-visible { outline: 3px solid var(--x-focus); outline-offset: 1px; }
.x-maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: .8rem; align-items: end; }
.x-map figcaption, .x-title { font-size: .8rem; color: var(--x-muted); margin: 0 0 .2rem; text-align: left; }
.x-map { margin: 0; min-width: 0; }
.x-map canvas { display: block; width: 100%; height: auto; touch-action: pan-y; cursor: crosshair; border: 1px solid var(--x-line); }
.x-map canvas.x-drawing { touch-action: none; }
.x-sum { display: flex; flex-wrap: wrap; gap: .4rem; align-items: end; margin: .8rem 0 .4rem; }
.x-term { display: flex; align-items: center; gap: .4rem; }
.x-op { font-size: 1.2rem; color: var(--x-muted); padding-top: 1.3rem; }
.x-app.x-app table { width: auto; margin: 0; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.x-app.x-app table td { padding: 0; border: 1px solid var(--x-line); text-align: center; width: 44px; min-width: 44px; height: 33px; font-size: 13px; color: var(--x-ink); }
.x-app.x-app td input { display: block; width: 100%; height: 32px; min-height: 0; border: 0; border-radius: 0; padding: 0; text-align: center; font-size: 13px; background: transparent; color: inherit; }
.x-app.x-app td input:focus-visible { outline-offset: -3px; }
.x-app.x-app .x-small td { width: 30px; min-width: 30px; }
.x-app.x-app .x-small :is(td, td input) { font-size: 10.5px; }
@media (max-width: 500px) { .x-app.x-app table:not(.x-small) td { width: 29px; min-width: 29px; }
.x-app.x-app table:not(.x-small) :is(td, td input) { font-size: 11px; } .x-sum, .x-term { gap: .2rem; } .x-op { font-size: 1rem; } }
.x-wide { overflow-x: auto; margin: .6rem 0; padding: 3px; max-width: 100%; }
.x-app.x-app .x-marked { outline: 3px solid var(--x-focus); outline-offset: -3px; }
.x-app.x-app .x-ringed { font-weight: 700; text-decoration: underline; }
.x-spelled { font-family: var(--l8-mono, monospace); font-size: .78rem; overflow-wrap: anywhere; }
.x-spelled span { display: block; }
.x-says { font-weight: 600; color: var(--x-ink); min-height: 1.4em; }
.x-app pre.x-python { background: var(--x-soft); color: var(--x-text); padding: .7rem; border-radius: .3rem; overflow: auto; max-height: 22rem; margin: .5rem 0 0; font-size: .75rem; white-space: pre; }
.x-1 { --x-own: var(--x-c1); } .x-2 { --x-own: var(--x-c2); } .x-3 { --x-own: var(--x-c3); } .x-4 { --x-own: var(--x-c4); }
:is(.x-1, .x-2, .x-3, .x-4) :is(canvas, table) { outline: 3px solid var(--x-own); outline-offset: -1px; }
:is(.x-1, .x-2, .x-3, .x-4) :is(figcaption, .x-title) { color: var(--x-own); font-weight: 600; }
`
const channels = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16))
const blend = (a, b, t) => a.map((x, i) => Math.round(x + (b[i] - x)*t))
const luminance = c => c.map(v => (v /= 255) <= .03928 ? v/12.92 : ((v + .055)/1.055)**2.4).reduce((s, v, i) => s + v*[.2126, .7152, .0722][i], 0)
const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((x, y) => y - x); return (x + .05)/(y + .05) }
const BLACK = [0, 0, 0], WHITE = [255, 255, 255]

function theme(root, redraw) {  // colors as [r, g, b], read anew when the page changes its mode
  const self = { colors: {} }
  const read = () => {
    const around = getComputedStyle(root.parentElement ?? document.body).color.match(/[\d.]+/g).slice(0, 3).map(Number)
    const dark = luminance(around) > .35 ? 'dark' : 'light'
    if (root.dataset.theme === dark && self.colors.zero) return
    root.dataset.theme = dark
    const style = getComputedStyle(root)
    for (const name of ['zero', 'pos', 'neg', 'ink', 'line', 'focus', 'c1', 'c2', 'c3', 'c4']) self.colors[name] = channels(style.getPropertyValue(`--x-${name}`).trim())
    redraw()
  }
  const soon = () => requestAnimationFrame(read)
  const observer = new MutationObserver(soon), media = matchMedia('(prefers-color-scheme: dark)')
  for (const el of [document.documentElement, document.body]) observer.observe(el, { attributes: true })
  observer.observe(document.head, { attributes: true, childList: true, subtree: true })
  media.addEventListener('change', soon)
  self.stop = () => { observer.disconnect(); media.removeEventListener('change', soon) }
  self.start = read
  self.ink = t => blend(self.colors.zero, self.colors.ink, clamp(t, 0, 1))
  self.signed = t => blend(self.colors.zero, t < 0 ? self.colors.neg : self.colors.pos, clamp(Math.abs(t), 0, 1))
  self.on = back => contrast(back, BLACK) >= contrast(back, WHITE) ? BLACK : WHITE  // text on a color: at least 4.5 with one of them, whatever the color
  return self
}
const rgb = c => `rgb(${c.join(' ')})`
const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches

// ---- Pointing: a mouse or a pen acts at once; a finger when it taps or moves sideways, since up and down it scrolls the page.
// Where `hold(event)` says so, for a handle, a finger drags in all directions
function pointing(el, act, hold = () => false) {
  let waits = null
  el.addEventListener('touchstart', event => { if (hold(event.touches[0])) event.preventDefault() }, { passive: false })
  el.addEventListener('pointerdown', event => {
    waits = event.pointerType === 'touch' && !hold(event) ? event : null
    if (waits) return
    el.setPointerCapture(event.pointerId)
    act(event)
  })
  el.addEventListener('pointermove', event => {
    if (!event.buttons || (waits && Math.abs(event.clientX - waits.clientX) < 8)) return
    if (waits) act(waits)
    waits = null
    act(event)
  })
  el.addEventListener('pointerup', () => { if (waits) act(waits); waits = null })
  el.addEventListener('pointercancel', () => { waits = null })
}

// ---- Pictures of matrices
// A canvas in a figure. `point(row, col, event, fresh)` for mouse, pen and touch: `fresh` where a line that is drawn begins; `key(event)` for the keyboard;
// `hold(row, col)`: what a finger can drag
function heatmap(title, { point, key, hold = () => false, frameClass = '' }) {
  const canvas = h('canvas'), caption = h('figcaption', {}, title)
  canvas.setAttribute('role', 'application')
  canvas.tabIndex = 0
  const small = document.createElement('canvas'), drawn = () => canvas.classList.contains('x-drawing')
  let rows = 1, cols = 1, away = true
  const cell = event => {
    const box = canvas.getBoundingClientRect()
    return [Math.floor((event.clientY - box.top - 1)/(box.height - 2)*rows), Math.floor((event.clientX - box.left - 1)/(box.width - 2)*cols)]
  }
  const at = event => {
    const [row, col] = cell(event), outside = row < 0 || row >= rows || col < 0 || col >= cols
    if (!(outside && drawn())) point(clamp(row, 0, rows - 1), clamp(col, 0, cols - 1), event, away || event.type === 'pointerdown')
    away = outside
  }
  pointing(canvas, at, event => drawn() || hold(...cell(event)))
  canvas.addEventListener('keydown', key)
  const el = h('figure', { class: `x-map ${frameClass}` }, caption, canvas)
  // frames: [row, col, height, width, dashed?] in cells; unused: the same, hatched
  const draw = (x, color, { label, heading, frames = [], unused = [], colors }) => {
    [rows, cols] = [x.length, x[0].length]
    Object.assign(small, { width: cols, height: rows })
    const image = new ImageData(cols, rows)
    x.forEach((row, i) => row.forEach((v, j) => image.data.set([...color(v), 255], 4*(i*cols + j))))
    small.getContext('2d').putImageData(image, 0, 0)
    const s = Math.max(4, Math.round(560/Math.max(rows, cols))), pen = canvas.getContext('2d')
    if (canvas.width !== cols*s || canvas.height !== rows*s) Object.assign(canvas, { width: cols*s, height: rows*s })
    pen.imageSmoothingEnabled = false
    pen.drawImage(small, 0, 0, cols*s, rows*s)
    pen.lineWidth = 1
    pen.strokeStyle = rgb(colors.line)
    pen.globalAlpha = .25
    pen.beginPath()
    for (let i = 1; i < rows; i++) { pen.moveTo(0, i*s); pen.lineTo(cols*s, i*s) }
    for (let j = 1; j < cols; j++) { pen.moveTo(j*s, 0); pen.lineTo(j*s, rows*s) }
    pen.stroke()
    pen.globalAlpha = 1
    for (const [i, j, height, width] of unused) {
      pen.save()
      pen.beginPath()
      pen.rect(j*s, i*s, width*s, height*s)
      pen.clip()
      pen.beginPath()
      pen.lineWidth = 2
      for (let d = -height*s; d < width*s; d += 9) { pen.moveTo(j*s + d, (i + height)*s); pen.lineTo(j*s + d + height*s, i*s) }
      pen.stroke()
      pen.restore()
    }
    for (const [i, j, height, width, dashed] of frames) {
      pen.setLineDash(dashed ? [8, 6] : [])
      const thin = Math.min(1, Math.max(s, height*s)/28)  // a frame does not cover a small cell
      for (const [color, line] of dashed ? [['line', 2]] : [['zero', 9*thin], ['focus', 5*thin]]) {
        pen.strokeStyle = rgb(colors[color])
        pen.lineWidth = line
        pen.strokeRect(j*s, i*s, width*s, height*s)
      }
      pen.setLineDash([])
    }
    canvas.setAttribute('aria-label', label)
    caption.textContent = heading ?? title
  }
  return { el, canvas, draw }
}

// A table of numbers. With `edit(row, col, value)` its cells are boxes to type in, with `focus(row, col)` they take the focus and the mouse: one tab stop for all
function numbers(title, { edit = null, focus = null, frameClass = '' } = {}) {
  const table = h('table'), caption = h('p', { class: 'x-title' }, title)
  let cells = []
  const build = (rows, cols) => {
    cells = Array.from({ length: rows }, (_, i) => Array.from({ length: cols }, (_, j) => {
      if (!edit) return h('td', focus ? { onclick: event => event.currentTarget.focus(), onpointerenter: event => { if (event.pointerType === 'mouse') focus(i, j) } } : {})
      const input = h('input', { type: 'text', inputmode: 'decimal', autocomplete: 'off', 'aria-label': `${title}, row ${i + 1}, column ${j + 1}` })
      input.addEventListener('input', () => { const x = readNumber(input.value); if (Number.isFinite(x)) edit(i, j, x) })
      input.addEventListener('focus', () => { input.value = input.dataset.number })  // where a cell shows a letter
      input.addEventListener('blur', () => { input.value = input.dataset.now })
      return h('td', {}, input)
    }))
    table.replaceChildren(h('tbody', {}, cells.map(row => h('tr', {}, row))))
    table.classList.toggle('x-small', cols > 5)
    if (edit) roving(cells.map(row => row.map(cell => cell.firstChild)))
    if (focus) roving(cells, focus)
  }
  const draw = (x, color, on, format = v => fmt(v)) => {
    if (cells.length !== x.length || cells[0].length !== x[0].length) build(x.length, x[0].length)
    x.forEach((row, i) => row.forEach((v, j) => {
      const cell = cells[i][j], back = color(v, i, j)
      cell.style.background = rgb(back)
      cell.style.color = rgb(on(back))
      if (!edit) {
        cell.textContent = format(v, i, j)
        if (focus) cell.setAttribute('aria-label', `${title}, row ${i + 1}, column ${j + 1}: ${cell.textContent}`)
        return
      }
      const input = cell.firstChild, focused = document.activeElement === input
      Object.assign(input.dataset, { now: format(v, i, j), number: short(v) })
      if (!focused || readNumber(input.value) !== v) input.value = focused ? input.dataset.number : input.dataset.now
    }))
  }
  return { el: h('div', { class: frameClass }, caption, table), draw, cells: () => cells }
}

// ---- The read-out, and the code that does the same
function readout() {
  const el = h('p', { class: 'x-says', role: 'status' })
  return { el, say: (text, quiet = false) => { el.setAttribute('aria-live', quiet ? 'off' : 'polite'); if (el.textContent !== text) el.textContent = text } }
}
function pythonButton(code) {
  const pre = h('pre', { class: 'x-python', hidden: true, tabIndex: 0, 'aria-label': 'Python for the current state' }, h('code'))
  const show = () => { if (!pre.hidden) pre.firstChild.textContent = code() }
  const button = h('button', { type: 'button', 'aria-expanded': 'false', onclick: () => {
    pre.hidden = !pre.hidden
    button.setAttribute('aria-expanded', String(!pre.hidden))
    show()
  } }, 'Show as Python')
  return { el: h('div', {}, button, pre), draw: show }
}

// The box of an explorable, with its style sheet
function frame(el, label) {
  const root = h('div', { class: 'x-app', role: 'group', 'aria-label': label })
  el.replaceChildren(h('style', {}, CSS), root)
  return root
}
