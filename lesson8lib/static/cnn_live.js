// A trained network reads what one draws: `lesson8lib.cnn.SmallCNN`, with all its feature maps
const SPEC = {
  "weights": {"value": "", "fixed": true},
  "digits": {"value": [], "kind": "images", "fixed": true},
  "indices": {"value": [], "fixed": true},
  "names": {"value": [], "fixed": true},
  "source": {"value": 0, "low": -1, "high": 40},
  "drawn": {"value": "", "kind": "image"},
  "center": {"value": true},
  "patch": {"value": 0, "low": 0, "high": 20},
  "prow": {"value": 4, "low": 0, "high": 27},
  "pcol": {"value": 10, "low": 0, "high": 27},
  "asked": {"value": 7, "low": 0, "high": 9},
  "block": {"value": 1, "low": 1, "high": 4},
  "channel": {"value": 0, "low": 0, "high": 127},
  "row": {"value": 5, "low": 0, "high": 13},
  "col": {"value": 7, "low": 0, "high": 13},
  "input_channel": {"value": -1, "low": -1, "high": 63}
}

// ---- Maths: pure functions, tested against `lesson8lib.cnn`
const CHANNELS = [1, 16, 32, 64, 128], KERNELS = [5, 3, 3, 3], SIZES = [28, 14, 7, 4, 2], CLASSES = 10, EPS = 1e-5
const grid = (h, w, f) => Array.from({ length: h }, (_, i) => Array.from({ length: w }, (_, j) => f(i, j)))
const blank = () => grid(28, 28, () => 0)
// The state of a SmallCNN, in the order of `state_dict`; zeros where there is none
export function readNet(text) {
  const size = CHANNELS[4]*2*CLASSES + CLASSES + KERNELS.reduce((sum, k, i) => sum + CHANNELS[i + 1]*(CHANNELS[i]*k*k + 4), 0)
  const read = floats(text), all = read.length === size ? read : new Float64Array(size)
  let start = 0
  const take = n => all.subarray(start, start += n)
  const blocks = KERNELS.map((k, i) => {
    const inputs = CHANNELS[i], outputs = CHANNELS[i + 1], weight = take(outputs*inputs*k*k)
    const [gamma, beta, mean, variance] = [0, 1, 2, 3].map(() => take(outputs))
    return { k, inputs, outputs, weight, gamma, beta, mean, variance }
  })
  return { blocks, dense: take(CLASSES*2*CHANNELS[4]), bias: take(CLASSES) }
}
let lastText = null, lastNet = null
function netOf(text) {  // read once, not for each stroke
  if (text !== lastText) [lastText, lastNet] = [text, readNet(text)]
  return lastNet
}
// Stride 2, padding of half the kernel: (inputs, size, size) -> (outputs, out, out), both flat
function convolve({ k, inputs, outputs, weight }, x, size) {
  const out = Math.ceil(size/2), sums = new Float64Array(outputs*out*out), pad = k >> 1
  for (let o = 0, at = 0; o < outputs; o++) for (let r = 0; r < out; r++) for (let c = 0; c < out; c++, at++) {
    const top = 2*r - pad, left = 2*c - pad, i0 = Math.max(0, -top), i1 = Math.min(k, size - top), j0 = Math.max(0, -left), j1 = Math.min(k, size - left)
    let sum = 0
    for (let n = 0; n < inputs; n++) for (let i = i0; i < i1; i++) {
      const line = (n*size + top + i)*size + left, row = ((o*inputs + n)*k + i)*k
      for (let j = j0; j < j1; j++) sum += weight[row + j]*x[line + j]
    }
    sums[at] = sum
  }
  return sums
}
const standardize = (block, o, sum) => (sum - block.mean[o])/Math.sqrt(block.variance[o] + EPS)*block.gamma[o] + block.beta[o]
export function softmax(logits) {
  const top = Math.max(...logits), powers = Array.from(logits, z => Math.exp(z - top)), sum = powers.reduce((a, b) => a + b)
  return powers.map(p => p/sum)
}
export function forward(net, image) {  // rows of 28 × 28 pixels -> what every layer makes of them
  let x = Float64Array.from(image.flat())
  const layers = net.blocks.map((block, i) => {
    const sums = convolve(block, x, SIZES[i]), area = SIZES[i + 1]**2
    return { sums, maps: x = sums.map((sum, at) => Math.max(0, standardize(block, Math.floor(at/area), sum))) }
  })
  const n = CHANNELS[4], area = SIZES[4]**2, pooled = new Float64Array(2*n)  // all maxima, then all means
  for (let c = 0; c < n; c++) {
    const map = x.subarray(c*area, (c + 1)*area)
    pooled[c] = Math.max(...map)
    pooled[n + c] = map.reduce((a, b) => a + b)/area
  }
  const logits = Array.from(net.bias, (b, k) => pooled.reduce((sum, v, i) => sum + v*net.dense[2*n*k + i], b))
  return { layers, pooled, logits, probs: softmax(logits) }
}

// `as_digit`: from a drawing to MNIST's format
const roundEven = x => { const r = Math.round(x); return r - x === .5 && r%2 ? r - 1 : r }  // Python's `round`
const highest = x => x.reduce((top, row) => Math.max(top, ...row), -Infinity)
function paper(x) {  // the plane that fits the border best; its three parts are orthogonal on the border
  const [h, w] = [x.length, x[0].length], down = i => 2*i/(h - 1) - 1, across = j => 2*j/(w - 1) - 1, parts = [() => 1, down, (_, j) => across(j)]
  const fit = part => {
    let [up, low] = [0, 0]
    x.forEach((row, i) => row.forEach((v, j) => { if (i%(h - 1) === 0 || j%(w - 1) === 0) { up += part(i, j)*v; low += part(i, j)**2 } }))
    return up/low
  }
  const factors = parts.map(fit)
  return (i, j) => parts.reduce((sum, part, k) => sum + factors[k]*part(i, j), 0)
}
function shrunk(rows, size) {  // along the first axis, bilinear, antialiased
  const scale = rows.length/size, support = Math.max(scale, 1)
  return Array.from({ length: size }, (_, i) => {
    const center = scale*(i + .5), low = Math.max(0, Math.floor(center - support + .5)), high = Math.min(rows.length, Math.floor(center + support + .5))
    const weights = Array.from({ length: high - low }, (_, j) => Math.max(0, 1 - Math.abs((j + low - center + .5)/support))), sum = weights.reduce((a, b) => a + b)
    return rows[0].map((_, c) => weights.reduce((s, w, j) => s + w/sum*rows[low + j][c], 0))
  })
}
const transpose = x => x[0].map((_, j) => x.map(row => row[j]))
function start(ink) {  // so that the center of mass of these rows comes to pixel 14 of 28
  const mass = ink.map(row => row.reduce((a, b) => a + b)), center = mass.reduce((s, m, i) => s + m*i, 0)/mass.reduce((a, b) => a + b)
  return clamp(roundEven(Math.round((14 - center)*1e6)/1e6), 0, 28 - ink.length)
}
export function asDigit(x, noise = .15) {
  const [h, w] = [x.length, x[0].length]
  if (Math.min(h, w) < 3) throw new RangeError(`\`image\` must be at least 3 pixels high and wide, got (${h}, ${w})`)
  const plane = paper(x), raw = x.map((row, i) => row.map((v, j) => Math.abs(v - plane(i, j)))), top = highest(raw)
  if (top <= 1e-3*highest(x)) throw new RangeError('`image` must show a digit, got one color all over')
  const ink = raw.map(row => row.map(v => v/top < noise ? 0 : v/top)), used = rows => rows.map((row, i) => row.some(v => v > 0) ? i : -1).filter(i => i >= 0)
  const rows = used(ink), cols = used(transpose(ink)), cut = ink.slice(rows[0], rows.at(-1) + 1).map(row => row.slice(cols[0], cols.at(-1) + 1))
  const longest = Math.max(cut.length, cut[0].length), sizes = [cut.length, cut[0].length].map(n => Math.max(1, roundEven(20*n/longest)))
  const small = transpose(shrunk(transpose(shrunk(cut, sizes[0])), sizes[1])), [a, b] = [start(small), start(transpose(small))], most = highest(small)
  return grid(28, 28, (i, j) => (small[i - a]?.[j - b] ?? 0)/most)
}

// All that is shown, from the state
const isDrawn = v => v.source < 0 || !v.digits.length
const drawingOf = v => !isDrawn(v) ? unpack(v.digits[v.source]) : v.drawn ? unpack(v.drawn) : blank()
const covers = (v, i, j) => i >= v.prow && i < v.prow + v.patch && j >= v.pcol && j < v.pcol + v.patch
export function compute(v) {
  const net = netOf(v.weights), drawing = drawingOf(v)
  try {
    const input = isDrawn(v) && v.center ? asDigit(drawing) : drawing
    const seen = input.map((row, i) => row.map((x, j) => covers(v, i, j) ? 0 : x))
    const result = forward(net, seen)
    return { net, drawing, seen, ...result, whole: v.patch ? forward(net, input).probs : result.probs, error: null }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return { net, drawing, seen: blank(), ...forward(net, blank()), error: error.message }
  }
}
// Which pixels an activation depends on: `receptive_field` of the blocks up to its own
export function receptiveField(block, row, col) {
  let [size, step, first] = [1, 1, 0]
  for (const k of KERNELS.slice(0, block)) { size += (k - 1)*step; first -= (k >> 1)*step; step *= 2 }
  return { top: first + row*step, left: first + col*step, size }
}
// One activation, step by step: a product of window and kernel for each channel of the layer before
export function explain(v, r) {
  const block = r.net.blocks[v.block - 1], { k, inputs } = block, size = SIZES[v.block - 1], out = SIZES[v.block], top = 2*v.row - (k >> 1), left = 2*v.col - (k >> 1)
  const before = v.block > 1 ? r.layers[v.block - 2].maps : r.seen.flat()
  const parts = Array.from({ length: inputs }, (_, n) => {
    const window = grid(k, k, (i, j) => Math.min(top + i, left + j) < 0 || Math.max(top + i, left + j) >= size ? 0 : before[(n*size + top + i)*size + left + j])
    const weight = grid(k, k, (i, j) => block.weight[((v.channel*inputs + n)*k + i)*k + j])
    const products = grid(k, k, (i, j) => window[i][j]*weight[i][j])
    return { n, window, weight, products, sum: products.flat().reduce((a, b) => a + b) }
  })
  const at = (v.channel*out + v.row)*out + v.col, strongest = parts.reduce((a, b) => Math.abs(b.sum) > Math.abs(a.sum) ? b : a)
  const [mean, variance, gamma, beta] = ['mean', 'variance', 'gamma', 'beta'].map(name => block[name][v.channel])
  const sum = r.layers[v.block - 1].sums[at]
  return { parts, part: parts[v.input_channel] ?? strongest, top, left, sum, mean, sd: Math.sqrt(variance + EPS), gamma, beta,
    normal: standardize(block, v.channel, sum), value: r.layers[v.block - 1].maps[at], field: receptiveField(v.block, v.row, v.col) }
}
export function tidy(v) {  // keys that depend on one another
  const side = SIZES[v.block] - 1, room = 28 - v.patch
  return { ...v, source: v.source < v.digits.length ? v.source : 0, drawn: v.drawn.startsWith('28x28:') ? v.drawn : '',
    prow: Math.min(v.prow, room), pcol: Math.min(v.pcol, room), channel: Math.min(v.channel, CHANNELS[v.block] - 1), row: Math.min(v.row, side), col: Math.min(v.col, side),
    input_channel: v.input_channel < CHANNELS[v.block - 1] ? v.input_channel : -1 }
}

// ---- The same in Python
export function pythonFor(v) {
  const index = v.indices[v.source], known = !isDrawn(v) && Number.isInteger(index), image = known ? `load_mnist('test').images[${index}]` : `unpack_image('${pack(drawingOf(v))}')`
  const centered = v.center && isDrawn(v)
  return ['import torch', `from lesson8lib.cnn import ${centered ? 'as_digit, ' : ''}trained_cnn`, known ? 'from lesson8lib.data import load_mnist' : 'from lesson8lib.explorables import unpack_image', '',
    `x = ${centered ? `as_digit(${image})` : `${image}${known ? '.clone()' : ''}`}`,
    ...v.patch ? [`x[${v.prow}:${v.prow + v.patch},${v.pcol}:${v.pcol + v.patch}] = 0`] : [],
    'model = trained_cnn()', 'with torch.no_grad():',
    '    probs = model(x[None]).softmax(1)[0]', `    maps = model.body[:${v.block}](x[None,None])[0]`,
    `print(int(probs.argmax()), f'{probs.max():.1%}, {probs[${v.asked}]:.1%}')`,
    `print(f'{maps[${v.channel},${v.row},${v.col}]:.2f}')`].join('\n')
}

// ---- The page
const STYLE = `
.x-cnn_live-bars { display: grid; gap: 1px; }
.x-app .x-cnn_live-bars button { display: grid; grid-template-columns: 1rem 1fr 3.7rem; gap: .4rem; align-items: center; min-height: 1.55rem; padding: 0 .4rem; text-align: right; font-variant-numeric: tabular-nums; }
.x-cnn_live-bar { position: relative; height: .8rem; border-left: 1px solid var(--x-line); }
.x-cnn_live-bar > * { position: absolute; inset: 0 auto 0 0; background: var(--x-c2); }
.x-cnn_live-bar > .x-cnn_live-whole { width: 2px; inset: -.2rem auto -.2rem 0; background: var(--x-c1); }
.x-cnn_live-top { display: grid; grid-template-columns: repeat(3, 1fr); gap: .8rem; align-items: start; }
.x-cnn_live-blocks { display: grid; gap: .5rem; margin: .9rem 0 .5rem; }
.x-app.x-app .x-cnn_live-products td { width: 40px; min-width: 40px; }
@media (max-width: 500px) { .x-cnn_live-top { grid-template-columns: 1fr 1fr; align-items: end; } .x-cnn_live-answers { grid-column: 1 / 3; } .x-app.x-app .x-cnn_live-products td { width: 30px; min-width: 30px; } }
`
const COLUMNS = { wide: [8, 16, 16, 32], narrow: [4, 8, 16, 16] }  // maps beside each other, for each block
const percent = p => `${fmt(100*p, 1)}%`, article = digit => digit === 8 ? 'an 8' : `a ${digit}`
// The maps of a block beside each other, with a gap of one cell (NaN) between them
function mosaic(maps, side, columns) {
  const n = maps.length/side**2, step = side + 1
  return grid(Math.ceil(n/columns)*step - 1, columns*step - 1, (i, j) => {
    const [r, c] = [i%step, j%step], channel = Math.floor(i/step)*columns + Math.floor(j/step)
    return r < side && c < side && channel < n ? maps[(channel*side + r)*side + c] : NaN
  })
}
function render({ model, el }) {
  const root = frame(el, 'A convolutional network reads a digit')
  const look = theme(root, () => state.draw())
  const state = store(model, SPEC, tidy, draw)
  const set = changes => { state.set(changes) }
  const narrow = matchMedia('(max-width: 500px)')
  let pen = [14, 14], inking = false, shownNames = ''
  root.append(h('style', {}, STYLE))

  // controls
  const image = choice('digit', [], value => set({ source: Number(value) }))
  const clear = h('button', { type: 'button', onclick: () => set({ source: -1, drawn: '' }) }, 'Clear drawing')
  const erase = toggle('erase', () => {}), center = toggle('scale and center like MNIST', value => set({ center: value }))
  const patch = count('patch size (pixels)', SPEC.patch, value => set({ patch: value }))
  root.append(h('div', { class: 'x-row' }, image.el, clear, erase.el, center.el, patch.el))

  // the drawing, what the network gets, what it says
  function mark(to, ink, from = to) {
    const drawn = pack(stroke(drawingOf(state.values), from, to, ink))
    pen = to
    set({ drawn, source: -1 })
  }
  const drawing = heatmap('draw here', {
    point: (row, col, _, fresh) => {
      inking = true
      mark([row, col], !erase.control.checked, fresh ? [row, col] : pen)
    },
    key: event => {
      const to = moved(event, pen, 28, 28)
      if (to && event.shiftKey) mark(to, true)
      else if (to) { pen = to; state.draw() }
      if (event.key === ' ' || event.key === 'Enter') { event.preventDefault(); mark(pen, true) }
      if (event.key === 'Delete' || event.key === 'Backspace') { event.preventDefault(); mark(pen, false) }
    },
  })
  drawing.canvas.classList.add('x-drawing')
  for (const type of ['pointerup', 'pointercancel']) drawing.canvas.addEventListener(type, () => { inking = false; state.draw() })  // while a stroke goes on, nothing is read out
  const place = (row, col) => {
    const size = state.values.patch || 8
    set({ patch: size, prow: clamp(row, 0, 28 - size), pcol: clamp(col, 0, 28 - size) })
  }
  const input = heatmap('input: drag to cover a patch', {
    point: (row, col) => place(row - Math.floor((state.values.patch || 8)/2), col - Math.floor((state.values.patch || 8)/2)),
    key: event => {
      const to = moved(event, [state.values.prow, state.values.pcol], 28, 28)
      if (to) place(...to)
      if (event.key === 'Delete' || event.key === 'Backspace') { event.preventDefault(); set({ patch: 0 }) }
    },
  })
  input.canvas.classList.add('x-drawing')
  const bars = Array.from({ length: CLASSES }, (_, digit) => {
    const bar = h('span'), whole = h('span', { class: 'x-cnn_live-whole' }), number = h('span')
    const button = h('button', { type: 'button', onclick: () => set({ asked: digit }) }, h('span', {}, String(digit)), h('span', { class: 'x-cnn_live-bar' }, bar, whole), number)
    return { button, bar, whole, number }
  })
  const asking = h('p', { class: 'x-title' }), answers = h('div', { class: 'x-cnn_live-answers' }, asking, h('div', { class: 'x-cnn_live-bars' }, bars.map(b => b.button)))
  root.append(h('div', { class: 'x-cnn_live-top' }, drawing.el, input.el, answers))

  // the blocks: a click or the arrow keys choose an activation
  const layout = () => COLUMNS[narrow.matches ? 'narrow' : 'wide']
  const placeIn = (block, v) => {  // row and column of the chosen activation among all cells of its block
    const columns = layout()[block - 1], step = SIZES[block] + 1
    return [Math.floor(v.channel/columns)*step + v.row, v.channel%columns*step + v.col]
  }
  const blocks = KERNELS.map((_, i) => {
    const block = i + 1, side = SIZES[block], step = side + 1
    const choose = (row, col) => set({ block, channel: Math.floor(row/step)*layout()[i] + Math.floor(col/step), row: Math.min(row%step, side - 1), col: Math.min(col%step, side - 1) })
    return heatmap('', { point: choose, key: event => {
      const columns = layout()[i], v = state.values, rows = CHANNELS[block]/columns*step - 1, now = v.block === block ? placeIn(block, v) : [0, 0]
      const to = moved(event, now, rows, columns*step - 1)
      if (to) choose(...to.map((x, a) => x%step === side ? x + Math.sign(x - now[a]) : x))  // over the gap
    } })
  })
  const read = readout(), chosen = readout(), steps = h('p', { class: 'x-spelled' }), from = choice('input channel', [], value => set({ input_channel: Number(value) }))
  const tables = ['window', 'kernel', 'products'].map(name => numbers(name)), code = pythonButton(() => pythonFor(state.values))
  const arithmetic = h('div', {}, h('div', { class: 'x-row' }, from.el),
    h('div', { class: 'x-sum x-cnn_live-products' }, tables.map((t, i) => i ? h('div', { class: 'x-term' }, h('span', { class: 'x-op' }, i === 1 ? '×' : '='), t.el) : t.el)), steps)
  root.append(read.el, h('div', { class: 'x-cnn_live-blocks' }, blocks.map(b => b.el)), chosen.el, arithmetic, code.el)

  function draw() {
    if (!look.colors.zero) return
    const v = state.values, colors = look.colors, r = compute(v), e = explain(v, r)
    const names = [...v.digits.map((_, i) => [i, v.names[i] ?? `digit ${i + 1}`]), [-1, 'your drawing']]
    if (!same(names, shownNames)) { image.control.replaceChildren(...names.map(([value, text]) => h('option', { value }, text))); shownNames = names }
    image.show(v.digits.length ? v.source : -1)
    center.show(v.center)
    center.control.disabled = !isDrawn(v)  // the given digits are centered
    patch.show(v.patch)
    // images
    const cover = v.patch && !r.error ? [[v.prow, v.pcol, v.patch, v.patch]] : [], [top, left] = [Math.max(0, e.field.top), Math.max(0, e.field.left)]
    const [bottom, right] = [e.field.top, e.field.left].map(x => Math.min(28, x + e.field.size)), focused = document.activeElement === drawing.canvas
    drawing.draw(r.drawing, look.ink, { label: 'Drawing, 28 by 28. Arrow keys move the pen, Space draws, Delete erases, Shift with an arrow key draws a line', frames: focused ? [[...pen, 1, 1]] : [], colors })
    input.draw(r.seen, look.ink, { label: 'Input of the network, 28 by 28. Arrow keys move a blank patch over it, Delete removes it', unused: cover, colors,
      frames: [[top, left, bottom - top, right - left], ...cover.map(box => [...box, true])] })
    // probabilities
    asking.textContent = v.patch ? 'probabilities (line: without the patch)' : 'probabilities: pick a digit'
    bars.forEach(({ button, bar, whole, number }, digit) => {
      bar.style.width = `${100*(r.error ? 0 : r.probs[digit])}%`
      whole.style.left = `${100*(r.error ? 0 : r.whole[digit])}%`
      whole.hidden = Boolean(r.error) || !v.patch
      number.textContent = r.error ? '–' : percent(r.probs[digit])
      button.setAttribute('aria-pressed', String(digit === v.asked))
    })
    // blocks
    blocks.forEach((map, i) => {
      const side = SIZES[i + 1], columns = layout()[i], { maps } = r.layers[i], most = Math.max(...maps) || 1, gap = blend(colors.zero, colors.line, .35), frames = []
      if (v.block === i + 1) frames.push([...placeIn(v.block, v), 1, 1])
      if (v.block === i + 2) {  // its window, on the map of one channel
        const [a, b] = [Math.max(0, e.top), Math.max(0, e.left)], [y, x] = placeIn(i + 1, { channel: e.part.n, row: a, col: b })
        frames.push([y, x, Math.min(side, e.top + KERNELS[v.block - 1]) - a, Math.min(side, e.left + KERNELS[v.block - 1]) - b])
      }
      const heading = `block ${i + 1}: ${CHANNELS[i + 1]} feature maps, ${side} × ${side}`
      map.draw(mosaic(maps, side, columns), x => Number.isNaN(x) ? gap : look.ink(x/most), { label: `${heading}, darker is larger. Arrow keys select an activation`, heading, frames, colors })
    })
    code.draw()
    const empty = isDrawn(v) && !r.drawing.flat().some(x => x)
    arithmetic.style.display = r.error ? 'none' : ''
    if (r.error) { read.say(empty ? 'Draw a digit in the left square.' : r.error, inking); chosen.say('') } else {
      const best = r.probs.indexOf(Math.max(...r.probs)), before = r.whole.indexOf(Math.max(...r.whole)), asked = r.probs[v.asked]
      read.say(`${empty ? 'The drawing is empty. ' : ''}The network reads ${article(best)} with probability ${percent(r.probs[best])}. Is it ${article(v.asked)}? ${asked >= .5 ? 'Yes' : 'No'}, ${percent(asked)}.`
        + (v.patch ? ` Without the patch: ${[...new Set([before, v.asked])].map(digit => `${article(digit)}, ${percent(r.whole[digit])}`).join('; ')}.` : ''), inking)
    }
    if (!r.error) drawActivation(v, r, e, { top, left, bottom, right })
  }
  function drawActivation(v, r, e, field) {  // the chosen one, from its window to its value
    const { k, inputs } = r.net.blocks[v.block - 1], scale = x => Math.max(1e-9, ...x.flat().map(Math.abs)), tint = (x, most) => y => look.signed(y/most*.75)
    from.el.style.display = inputs === 1 ? 'none' : ''
    if (from.control.options.length !== inputs + 1) {
      from.control.replaceChildren(h('option', { value: -1 }, 'largest contribution'), ...e.parts.map(({ n }) => h('option', { value: n }, `channel ${n + 1}`)))
    }
    from.show(v.input_channel)
    ;[e.part.window, e.part.weight, e.part.products].forEach((x, i) => tables[i].draw(x, tint(x, scale(x)), look.on))
    const exact = x => fmt(x, 4)  // so that the printed numbers give the printed result, to two decimals at least
    const n = inputs*k*k, share = inputs > 1 ? `the ${k*k} products of channel ${e.part.n + 1} sum to ${exact(e.part.sum)}, those of all ${inputs} channels to ${exact(e.sum)}` : `the ${n} products sum to ${exact(e.sum)}`
    chosen.say(`Block ${v.block}, channel ${v.channel + 1}, row ${v.row + 1}, column ${v.col + 1}: activation ${fmt(e.value)}, from ${n} products. Its receptive field: rows ${field.top + 1} to ${field.bottom}, columns ${field.left + 1} to ${field.right} of the input.`, inking)
    const signed = x => x < 0 ? `− ${exact(-x)}` : `+ ${exact(x)}`
    steps.replaceChildren(h('span', {}, `convolution: ${share}`),
      h('span', {}, `batch normalization: (${exact(e.sum)} ${signed(-e.mean)}) / ${exact(e.sd)} × ${exact(e.gamma)} ${signed(e.beta)} = ${exact(e.normal)}`), h('span', {}, `ReLU: ${exact(e.value)}`))
  }
  const redraw = () => state.draw()
  narrow.addEventListener('change', redraw)
  for (const type of ['focus', 'blur']) drawing.canvas.addEventListener(type, redraw)
  look.start()
  return () => { narrow.removeEventListener('change', redraw); look.stop(); state.stop() }
}
export default { render }
