// An object moves over a feature map, and two kinds of pooling report it: `lesson8lib.pooling`
const SPEC = {
  "edges": {"value": [], "fixed": true},
  "index": {"value": -1, "low": -1, "high": 100000, "fixed": true},
  "normal": {"value": [], "fixed": true},
  "seed": {"value": 0, "low": 0, "high": 100000, "fixed": true},
  "map": {"value": "object", "choices": ["object", "digit"]},
  "cells": {"value": 7, "low": 2, "high": 14},
  "height": {"value": 1, "low": 1, "high": 14},
  "width": {"value": 1, "low": 1, "high": 14},
  "row": {"value": 0, "low": -6, "high": 13},
  "col": {"value": 6, "low": -6, "high": 13},
  "noise": {"value": 0, "real": true, "low": 0, "high": 2},
  "window": {"value": 7, "low": 1, "high": 26},
  "stride": {"value": 0, "low": 0, "high": 13},
  "padding": {"value": 0, "low": 0, "high": 13},
  "orow": {"value": 0, "low": 0, "high": 39},
  "ocol": {"value": 0, "low": 0, "high": 39}
}

// ---- Maths: pure functions, tested against `lesson8lib.pooling`
const grid = (h, w, f) => Array.from({ length: h }, (_, i) => Array.from({ length: w }, (_, j) => f(i, j)))
export function windows(size, kernelSize, stride, padding) {  // along one axis
  const half = Math.floor(kernelSize/2), room = size + 2*padding
  if (padding > half) throw new RangeError(`\`padding\` must be at most ${half}, half of \`kernel_size\`, ${kernelSize}, got ${padding}`)
  if (kernelSize > room) throw new RangeError(`\`kernel_size\` must fit into the padded image, ${size} + 2·${padding} = ${room} pixels, got ${kernelSize} with dilation 1, which spans ${kernelSize}`)
  return Math.floor((room - kernelSize)/stride) + 1
}
function pool(x, kernelSize, stride, padding, combine) {  // each window by what `combine` makes of its cells; those of the padding are left out
  const oh = windows(x.length, kernelSize, stride, padding), ow = windows(x[0].length, kernelSize, stride, padding)
  return grid(oh, ow, (r, c) => {
    const top = r*stride - padding, left = c*stride - padding
    return combine(x.slice(Math.max(0, top), top + kernelSize).flatMap(row => row.slice(Math.max(0, left), left + kernelSize)))
  })
}
export const maxPool2d = (x, kernelSize, stride = kernelSize, padding = 0) => pool(x, kernelSize, stride, padding, cells => Math.max(...cells))
export const avgPool2d = (x, kernelSize, stride = kernelSize, padding = 0) => pool(x, kernelSize, stride, padding, cells => cells.reduce((a, b) => a + b)/kernelSize**2)
const rolled = (x, down, across) => {  // what leaves on one side enters on the other
  const [h, w] = [x.length, x[0].length]
  return grid(h, w, (i, j) => x[(i - down + h)%h][(j - across + w)%w])
}
export function mapOf(v) {
  const isDigit = v.map === 'digit', n = isDigit ? v.edges.length : v.cells
  const clean = isDigit ? rolled(v.edges, v.row, v.col) : grid(n, n, (i, j) => Number(i >= v.row && i < v.row + v.height && j >= v.col && j < v.col + v.width))
  return v.noise ? clean.map((row, i) => row.map((x, j) => x + v.noise*v.normal[i][j])) : clean
}
// The squared differences of two maps as a fraction of the first
export function change(a, b) {
  const squares = f => a.flatMap((row, i) => row.map((x, j) => f(x, b[i][j])**2)).reduce((s, x) => s + x)
  return squares((x, y) => y - x)/squares(x => x)
}
const step = v => v.map === 'digit' ? (v.col < 6 ? 1 : -1) : v.width === v.cells ? 0 : v.col + v.width < v.cells ? 1 : -1  // to the right, where there is room
export function compute(v) {
  const x = mapOf(v), stride = v.stride || v.window, next = mapOf({ ...v, col: v.col + step(v) }), result = { x, stride, step: step(v), error: null }
  const pools = { none: y => y, max: y => maxPool2d(y, v.window, stride, v.padding), mean: y => avgPool2d(y, v.window, stride, v.padding) }
  try {
    const changes = Object.fromEntries(Object.entries(pools).map(([name, f]) => [name, change(f(x), f(next))]))
    return { ...result, max: pools.max(x), mean: pools.mean(x), changes }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return { ...result, error: error.message }
  }
}
export function tidy(v) {  // keys that depend on one another
  const map = v.edges.length ? v.map : 'object', noise = v.normal.length ? v.noise : 0, height = Math.min(v.height, v.cells), width = Math.min(v.width, v.cells)
  const place = (x, size) => map === 'digit' ? clamp(x, -6, 6) : clamp(x, 0, v.cells - size)
  const next = { ...v, map, noise, height, width, row: place(v.row, height), col: place(v.col, width) }, { max } = compute(next)
  return { ...next, orow: clamp(v.orow, 0, (max?.length ?? 1) - 1), ocol: clamp(v.ocol, 0, (max?.[0].length ?? 1) - 1) }
}

// ---- The same in Python
export function pythonFor(v) {
  const isDigit = v.map === 'digit', n = isDigit ? v.edges.length : v.cells, settings = `${v.window}, ${v.stride || 'None'}, ${v.padding}`
  return ['import torch', ...isDigit ? ['from lesson8lib.convolution import conv2d', 'from lesson8lib.data import load_mnist'] : [],
    'from lesson8lib.pooling import avg_pool2d, max_pool2d', ...v.noise ? ['from lesson8lib.training import new_generator'] : [], '',
    ...isDigit ? ['top = torch.tensor([[1., 1, 1], [0, 0, 0], [-1, -1, -1]])', `seven = load_mnist().images[${v.index}]`,
      `x = conv2d(seven[None], top[None,None])[0].relu().roll((${v.row}, ${v.col}), (0, 1))`]
      : [`x = torch.zeros(${n}, ${n})`, `x[${v.row}:${v.row + v.height},${v.col}:${v.col + v.width}] = 1`],
    ...v.noise ? [`x += ${v.noise}*torch.randn(${v.normal.length}, ${v.normal.length}, generator=new_generator(${v.seed}))[:${n},:${n}]`] : [],
    `both = torch.cat([max_pool2d(x[None], ${settings}), avg_pool2d(x[None], ${settings})])`,
    `print(tuple(both.shape), both[:,${v.orow},${v.ocol}].tolist())`].join('\n')
}

// ---- The page
const STYLE = `
.x-pooling-maps { display: grid; grid-template-columns: minmax(0, 1.3fr) minmax(0, 1fr) minmax(0, 1fr); gap: .8rem; align-items: start; }
@media (max-width: 500px) { .x-pooling-maps { grid-template-columns: 1fr 1fr; } .x-pooling-maps > :first-child { grid-column: 1 / 3; } }
.x-app.x-app .x-pooling-out table { width: 100%; table-layout: fixed; }
.x-app.x-app .x-pooling-out td { width: auto; min-width: 0; }
.x-pooling-out .x-title { margin: 0 0 .2rem; }
.x-pooling-out .x-map canvas { cursor: pointer; }
`
function render({ model, el }) {
  const root = frame(el, 'Max and average pooling of a moving object')
  const look = theme(root, () => state.draw())
  const state = store(model, SPEC, tidy, draw)
  const set = changes => { state.set(changes) }
  let r = compute(state.values), grip = [0, 0]
  root.append(h('style', {}, STYLE))

  // controls
  const map = choice('feature map', [['object', 'an object'], ['digit', 'lower edges of a 7']], value => set(value === 'digit' ? { map: value, row: 0, col: 0, window: 2 } : { map: value }))
  const number = (label, key) => ({ key, ...count(label, SPEC[key], value => set({ [key]: value })) })
  const ofObject = [number('cells per side', 'cells'), number('object height', 'height'), number('object width', 'width')]
  const settings = [number('window', 'window'), number('padding', 'padding')]
  const stride = choice('stride', [[0, 'window size'], ...[1, 2, 3].map(n => [n, n])], value => set({ stride: Number(value) }))
  const noise = choice('noise std', [0, .25, .5, 1].map(x => [x, x || 'none']), value => set({ noise: Number(value) }))
  root.append(h('div', { class: 'x-row' }, map.el, ofObject.map(c => c.el), settings[0].el, stride.el, settings[1].el, noise.el))

  // the map: the object is dragged, or moved with the arrow keys; beside it a finger scrolls the page
  const input = heatmap('drag the object', {
    hold: (row, col) => { const v = state.values; return mapOf({ ...v, noise: 0 })[row - v.padding]?.[col - v.padding] > 0 },
    point: (row, col, event) => {
      const v = state.values, at = [row - v.padding, col - v.padding], inside = at[0] >= v.row && at[0] < v.row + v.height && at[1] >= v.col && at[1] < v.col + v.width
      if (event.type === 'pointerdown') grip = v.map === 'digit' || inside ? [at[0] - v.row, at[1] - v.col] : [Math.floor(v.height/2), Math.floor(v.width/2)]
      move(at[0] - grip[0], at[1] - grip[1])
    },
    key: event => {
      const v = state.values, [low, rows, cols] = v.map === 'digit' ? [-6, 13, 13] : [0, v.cells - v.height + 1, v.cells - v.width + 1]
      const to = moved(event, [v.row - low, v.col - low], rows, cols)
      if (to) move(to[0] + low, to[1] + low)
    },
  })
  const move = (row, col) => {
    const low = state.values.map === 'digit' ? -6 : 0
    set({ row: clamp(row, low, 13), col: clamp(col, low, 13) })
  }
  // both outputs: numbers where there is room for them, else pictures
  const select = (row, col) => set({ orow: row, ocol: col })
  const selectKey = event => { const to = !r.error && moved(event, [state.values.orow, state.values.ocol], r.max.length, r.max[0].length); if (to) select(...to) }
  const outputs = [['max', 'max pooling'], ['mean', 'average pooling']].map(([name, title]) => ({ name, title, table: numbers(title, { focus: select }), picture: heatmap(title, { point: select, key: selectKey }) }))
  const read = readout(), facts = h('p', { class: 'x-facts' }), dropped = h('p', { class: 'x-facts' }), code = pythonButton(() => pythonFor(state.values))
  root.append(h('div', { class: 'x-pooling-maps' }, input.el, outputs.map(o => h('div', { class: 'x-pooling-out' }, o.table.el, o.picture.el))), read.el, facts, dropped, code.el)

  function draw() {
    if (!look.colors.zero) return
    const v = state.values, colors = look.colors, p = v.padding, isObject = v.map === 'object'
    r = compute(v)
    for (const c of [...ofObject, ...settings]) c.show(v[c.key])
    for (const [control, value] of [[map, v.map], [stride, v.stride], [noise, v.noise]]) control.show(value)
    map.el.style.display = v.edges.length ? '' : 'none'
    noise.el.style.display = v.normal.length ? '' : 'none'
    for (const c of ofObject) c.el.style.display = isObject ? '' : 'none'
    // the map
    const n = r.x.length, padded = grid(n + 2*p, n + 2*p, (i, j) => r.x[i - p]?.[j - p] ?? 0), most = Math.max(...r.x.flat().map(Math.abs)) || 1
    const hasSign = r.x.flat().some(x => x < 0), color = x => hasSign ? look.signed(x/most) : look.ink(x/most), unused = [], frames = p ? [[p, p, n, n, true]] : []
    const rest = r.error ? 0 : n + 2*p - (r.max.length - 1)*r.stride - v.window
    if (rest > 0) unused.push([n + 2*p - rest, 0, rest, n + 2*p], [0, n + 2*p - rest, n + 2*p - rest, rest])
    if (!r.error) frames.push([v.orow*r.stride, v.ocol*r.stride, v.window, v.window])
    input.draw(padded, color, { label: `Feature map, ${n} by ${n}. Arrow keys move ${isObject ? 'the object' : 'the edges'}`, heading: `${n} × ${n}${p ? ` + padding ${p}` : ''}: drag the ${isObject ? 'object' : 'edges'}`, frames, unused, colors })
    code.draw()
    for (const { table, picture } of outputs) for (const it of [table, picture]) it.el.style.display = 'none'
    const large = v.window > n + 2*p ? `A window of ${v.window} does not fit into ${n + 2*p} cells${p ? ' (with padding)' : ''}: choose a smaller window or more padding. ` : ''
    if (r.error) { read.say(large + r.error); facts.textContent = dropped.textContent = ''; return }
    for (const { name, title, table, picture } of outputs) {
      const x = r[name], small = x.length <= 7
      ;(small ? table : picture).el.style.display = ''
      if (small) {
        table.draw(x, color, look.on)
        table.cells().forEach((row, i) => row.forEach((cell, j) => {
          cell.classList.toggle('x-marked', i === v.orow && j === v.ocol)
          cell.style.height = `${Math.max(33, Math.round(150/x.length))}px`  // few cells are large, like the windows they stand for
        }))
      } else picture.draw(x, color, { label: `${title}, ${x.length} by ${x[0].length}. Arrow keys select a window`, heading: `${title} ${x.length} × ${x[0].length}`, frames: [[v.orow, v.ocol, 1, 1]], colors })
    }
    // words
    const [a, b] = [r.max[v.orow][v.ocol], r.mean[v.orow][v.ocol]], all = r.max.length === 1 && v.window === n && !p, covered = v.height*v.width
    read.say((isObject ? `The object covers ${covered} of ${n*n} cells. ` : `The edges are shifted by (${short(v.row)}, ${short(v.col)}) (down, right). `)
      + `${all ? 'Over the whole map' : `For row ${v.orow + 1}, column ${v.ocol + 1} of the output`}, the maximum is ${fmt(a)} and the average ${fmt(b)}.`)
    const [none, max, mean] = ['none', 'max', 'mean'].map(name => Number.isFinite(r.changes[name]) ? fmt(r.changes[name]) : 'an undefined amount (it was all zeros)')
    facts.textContent = `Concat pooling returns both: ${2*r.max.length*r.max[0].length} values, shape (2, ${r.max.length}, ${r.max[0].length}).`
      + (r.step ? ` Moved one cell to the ${r.step > 0 ? 'right' : 'left'}, the map changes by ${none} (relative squared change) without pooling, by ${max} after max pooling and by ${mean} after average pooling.` : '')
    dropped.textContent = rest > 0 ? `No window reaches the last ${rest === 1 ? 'row and column' : `${rest} rows and columns`} (hatched).` : ''
  }
  look.start()
  return () => { look.stop(); state.stop() }
}
export default { render }
