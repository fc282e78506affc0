// A kernel slides over an image: `lesson8lib.convolution.conv2d`, window by window
const SPEC = {
  "image": {"value": "", "kind": "image", "fixed": true},
  "digits": {"value": [], "kind": "images", "fixed": true},
  "indices": {"value": [], "fixed": true},
  "names": {"value": [], "fixed": true},
  "source": {"value": 0, "low": -1, "high": 40},
  "drawn": {"value": "", "kind": "image"},
  "kernel": {"value": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]], "kind": "matrix", "size": 7, "low": -99, "high": 99},
  "kernel2": {"value": [[1, 0, -1], [1, 0, -1], [1, 0, -1]], "kind": "matrix", "size": 7, "low": -99, "high": 99},
  "stride": {"value": 1, "low": 1, "high": 7},
  "padding": {"value": 0, "low": 0, "high": 7},
  "dilation": {"value": 1, "low": 1, "high": 7},
  "relu": {"value": false},
  "layers": {"value": 1, "low": 1, "high": 2},
  "second": {"value": [[0, 0, 0], [0.5, 0.5, 0.5], [1, 1, 1]], "kind": "matrix", "size": 3, "low": -99, "high": 99},
  "second2": {"value": [[0, 0.5, 1], [0, 0.5, 1], [0, 0.5, 1]], "kind": "matrix", "size": 3, "low": -99, "high": 99},
  "row": {"value": 0, "low": 0, "high": 200},
  "col": {"value": 0, "low": 0, "high": 200}
}

// ---- Maths: pure functions, tested against `lesson8lib.convolution`
export const spanOf = (kernelSize, dilation = 1) => dilation*(kernelSize - 1) + 1
export function outSize(size, kernelSize, stride = 1, padding = 0, dilation = 1) {  // windows along one axis, PyTorch's floor
  for (const [name, value, low] of [['size', size, 1], ['kernel_size', kernelSize, 1], ['stride', stride, 1], ['dilation', dilation, 1], ['padding', padding, 0]])
    if (!Number.isInteger(value) || value < low) throw new RangeError(`\`${name}\` must be an integer of at least ${low}, got ${value}`)
  const span = spanOf(kernelSize, dilation), room = size + 2*padding
  if (span > room) throw new RangeError(`\`kernel_size\` must fit into the padded image, ${size} + 2·${padding} = ${room} pixels, got ${kernelSize} with dilation ${dilation}, which spans ${span}`)
  return Math.floor((room - span)/stride) + 1
}
export const unusedPixels = (size, kernelSize, stride = 1, padding = 0, dilation = 1) =>  // of the padded image, at its end
  size + 2*padding - (outSize(size, kernelSize, stride, padding, dilation) - 1)*stride - spanOf(kernelSize, dilation)
export function windowAt(x, [kh, kw], row, col, { stride = 1, padding = 0, dilation = 1 } = {}) {  // the pixels under the weights at one position
  return Array.from({ length: kh }, (_, i) => Array.from({ length: kw }, (_, j) =>
    x[row*stride + i*dilation - padding]?.[col*stride + j*dilation - padding] ?? 0))
}
export const multiply = (a, b) => a.map((r, i) => r.map((v, j) => v*b[i][j]))
export const total = x => x.flat().reduce((sum, v) => sum + v, 0)
export const relu = x => x.map(row => row.map(v => Math.max(v, 0)))
export function conv2d(channels, weight, settings = {}) {  // (c, h, w), (o, c, kh, kw) -> (o, oh, ow)
  const { stride = 1, padding = 0, dilation = 1 } = settings, [kh, kw] = [weight[0][0].length, weight[0][0][0].length]
  if (weight[0].length !== channels.length) throw new RangeError(`\`x\` must have ${weight[0].length} channels, got ${channels.length}`)
  const oh = outSize(channels[0].length, kh, stride, padding, dilation), ow = outSize(channels[0][0].length, kw, stride, padding, dilation)
  return weight.map(kernel => Array.from({ length: oh }, (_, r) => Array.from({ length: ow }, (_, c) => {
    let sum = 0
    for (let k = 0; k < kernel.length; k++) for (let i = 0; i < kh; i++) {
      const line = channels[k][r*stride + i*dilation - padding]
      if (line) for (let j = 0; j < kw; j++) sum += kernel[k][i][j]*(line[c*stride + j*dilation - padding] ?? 0)
    }
    return sum
  })))
}
export const transpose = x => x[0].map((_, j) => x.map(row => row[j]))
const grid = (k, f) => Array.from({ length: k }, (_, i) => Array.from({ length: k }, (_, j) => f(i, j)))
export function presets(k) {  // kernels of k × k
  const half = i => Math.sign((k - 1)/2 - i) || (k === 1 ? 1 : 0), mean = Math.round(1e4/k**2)/1e4, middle = Math.floor(k/2)
  return {
    top: grid(k, i => half(i)), bottom: grid(k, i => -half(i) || 0), left: grid(k, (i, j) => half(j)), right: grid(k, (i, j) => -half(j) || 0),
    diagonal: grid(k, (i, j) => k === 1 ? 1 : Math.sign(j - i)), blur: grid(k, () => mean),
    sharpen: grid(k, (i, j) => Math.round(((i === middle && j === middle)*2 - mean)*1e4)/1e4), identity: grid(k, (i, j) => Number(i === middle && j === middle)),
  }
}
const presetOf = kernel => kernel.length === kernel[0].length && Object.entries(presets(kernel.length)).find(([, k]) => same(k, kernel))?.[0] || 'custom'
// The same kernel in another size: a preset stays one; other weights keep their places
function resized(kernel, k) {
  const name = presetOf(kernel)
  return name === 'custom' ? grid(k, (i, j) => kernel[i]?.[j] ?? 0) : presets(k)[name]
}
const blank = () => grid(28, () => 0)
const sevenByHand = () => grid(28, (i, j) => Number((i >= 7 && i < 10 && j >= 7 && j < 21) || (i >= 10 && i < 23 && Math.abs(j - 19.5 + (i - 10)*.55) < 1.6)))

// All that is shown, from the state
export function compute(v) {
  const x = v.source < 0 ? (v.drawn ? unpack(v.drawn) : blank()) : v.source > 0 ? unpack(v.digits[v.source - 1]) : v.image ? unpack(v.image) : sevenByHand()
  const settings = { stride: v.stride, padding: v.padding, dilation: v.dilation }, act = v.relu ? relu : y => y, one = v.layers === 1
  const result = { x, settings, maps: null, out: null, error: null }
  try {
    result.sums = conv2d([x], one ? [[v.kernel]] : [[v.kernel], [v.kernel2]], settings)
    result.maps = result.sums.map(act)
    result.outSums = one ? result.sums[0] : conv2d(result.maps, [[v.second, v.second2]])[0]
    result.out = act(result.outSums)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    result.error = error.message
    result.out = null
  }
  return result
}
// The products at the window's place: one part for each channel of the input
export function parts(v, r) {
  if (v.layers === 1) {
    const window = windowAt(r.x, [v.kernel.length, v.kernel[0].length], v.row, v.col, r.settings)
    return [{ window, weight: v.kernel, products: multiply(window, v.kernel) }]
  }
  return r.maps.map((map, k) => {
    const weight = [v.second, v.second2][k], window = windowAt(map, [weight.length, weight[0].length], v.row, v.col)
    return { window, weight, products: multiply(window, weight) }
  })
}
function tidy(v) {  // keys that depend on one another
  const size = k => `${k.length}x${k[0].length}`
  let { kernel2, second2, source, row, col } = v
  if (size(kernel2) !== size(v.kernel)) kernel2 = v.kernel.length === v.kernel[0].length ? transpose(v.kernel) : v.kernel
  if (size(second2) !== size(v.second)) second2 = v.second
  if (source > v.digits.length) source = 0
  const { out } = compute({ ...v, kernel2, second2, source })
  row = clamp(row, 0, (out?.length ?? 1) - 1)
  col = clamp(col, 0, (out?.[0].length ?? 1) - 1)
  return { ...v, kernel2, second2, source, row, col }
}

// ---- The same in Python
export function pythonFor(v) {
  const index = v.source < 0 ? undefined : v.indices[v.source], known = Number.isInteger(index)
  const x = compute(v).x, settings = ['stride', 'padding', 'dilation'].map(name => `${name}=${v[name]}`).join(', ')
  const nest = kernels => `torch.tensor([${kernels.map(channels => `[${channels.map(k => `[${k.map(python).join(',\n' + ' '.repeat(25))}]`).join(',\n' + ' '.repeat(24))}]`).join(',\n' + ' '.repeat(23))}])`
  const act = v.relu ? '.relu()' : '', one = v.layers === 1
  return ['import torch', 'from lesson8lib.convolution import conv2d', known ? 'from lesson8lib.data import load_mnist' : 'from lesson8lib.explorables import unpack_image', '',
    known ? `image = load_mnist().images[${index}]` : `image = unpack_image('${pack(x)}')`,
    `weight = ${nest(one ? [[v.kernel]] : [[v.kernel], [v.kernel2]])}`,
    `${one ? 'out' : 'maps'} = conv2d(image[None], weight, ${settings})${act}`,
    ...one ? [] : [`second = ${nest([[v.second, v.second2]])}`, `out = conv2d(maps, second)${act}`],
    `print(tuple(out.shape), out[0,${v.row},${v.col}].item())`].join('\n')
}

// ---- The page
function render({ model, el }) {
  const root = frame(el, 'A kernel slides over an image')
  const look = theme(root, () => state.draw())
  const state = store(model, SPEC, tidy, draw)
  const set = changes => { state.set(changes) }
  let r = compute(state.values), cursor = [14, 14], timer = null, shownDigits = null
  const drawing = () => state.values.source < 0

  // controls
  const image = choice('image', [], value => { stop(); set({ source: Number(value) }) })
  const preset = choice('kernel', [], name => { if (name !== 'custom') set({ kernel: presets(state.values.kernel.length)[name] }) })
  const names = [...Object.keys(presets(3)), 'custom'].map(name => h('option', { value: name }, name))
  preset.control.append(...names)
  const size = choice('size', [1, 2, 3, 4, 5, 6, 7].map(k => [k, `${k} × ${k}`]), k => set({ kernel: resized(state.values.kernel, Number(k)), kernel2: resized(state.values.kernel2, Number(k)) }))
  const stride = count('stride', SPEC.stride, value => set({ stride: value }))
  const padding = count('padding', SPEC.padding, value => set({ padding: value }))
  const dilation = count('dilation', SPEC.dilation, value => set({ dilation: value }))
  const useRelu = toggle('ReLU', value => set({ relu: value }))
  const second = toggle('second layer', value => { stop(); set({ layers: value ? 2 : 1 }) })
  const play = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => timer ? stop() : start() }, 'Run')
  const step = h('button', { type: 'button', onclick: () => { stop(); forward() } }, 'Step')
  const clear = h('button', { type: 'button', onclick: () => set({ drawn: '' }) }, 'Clear drawing')
  root.append(h('div', { class: 'x-row' }, image.el, clear, preset.el, size.el, stride.el, padding.el, dilation.el, useRelu.el, second.el, play, step))

  function forward() {
    if (!r.out) return
    const { row, col } = state.values, end = col + 1 === r.out[0].length
    set(end ? { row: (row + 1)%r.out.length, col: 0 } : { col: col + 1 })
  }
  function start() {
    timer = setInterval(() => { if (root.isConnected) forward(); else stop() }, calm() ? 600 : 150)
    show()
  }
  function stop() { clearInterval(timer); timer = null; show() }
  function show() {
    play.textContent = timer ? 'Pause' : 'Run'
    play.setAttribute('aria-pressed', String(Boolean(timer)))
  }

  // the maps: the window is moved on any of them; on an image that is drawn, the pen
  const move = (row, col) => { stop(); if (r.out) set({ row: clamp(row, 0, r.out.length - 1), col: clamp(col, 0, r.out[0].length - 1) }) }
  const moveKey = event => {
    if (event.key === ' ') { event.preventDefault(); if (timer) stop(); else start(); return }
    const to = r.out && moved(event, [state.values.row, state.values.col], r.out.length, r.out[0].length)
    if (to) move(...to)
  }
  function mark(to, ink, from = to) {
    r.x = stroke(r.x, from, to, ink)
    cursor = to
    set({ drawn: pack(r.x) })
  }
  const second3 = () => [state.values.second.length, state.values.second[0].length]
  const input = heatmap('image', {
    point: (row, col, _, fresh) => {
      const { kernel, stride: s, padding: p, dilation: d, layers } = state.values
      if (drawing()) { const to = [clamp(row - p, 0, 27), clamp(col - p, 0, 27)]; mark(to, true, fresh ? to : cursor); return }
      const place = (at, k, k2) => Math.round((at - (spanOf(k, d) - 1)/2)/s) - (layers === 2 ? Math.floor(k2/2) : 0)
      move(place(row, kernel.length, second3()[0]), place(col, kernel[0].length, second3()[1]))
    },
    key: event => {
      if (!drawing()) { moveKey(event); return }
      const to = moved(event, cursor, 28, 28)
      if (to) { cursor = to; if (event.shiftKey) mark(cursor, true); state.draw() }
      if (event.key === ' ' || event.key === 'Enter') { event.preventDefault(); mark(cursor, true) }
      if (event.key === 'Delete' || event.key === 'Backspace') { event.preventDefault(); mark(cursor, false) }
    },
  })
  const channelMaps = [1, 2].map(n => heatmap(`channel ${n}`, {
    frameClass: n === 1 ? 'x-1' : 'x-3', key: moveKey,
    point: (row, col) => move(row - Math.floor(second3()[0]/2), col - Math.floor(second3()[1]/2)),
  }))
  const output = heatmap('output', { point: move, key: moveKey })
  root.append(h('div', { class: 'x-maps' }, input.el, ...channelMaps.map(map => map.el), output.el))

  // the arithmetic: windows, weights, products
  const read = readout()
  const edit = key => (i, j, x) => { if (fits(SPEC[key], [[x]])) set({ [key]: state.values[key].map((row, a) => row.map((w, b) => a === i && b === j ? x : w)) }) }
  const first = [numbers('first layer, kernel 1', { edit: edit('kernel') }), numbers('first layer, kernel 2', { edit: edit('kernel2') })]
  const editors = h('div', { class: 'x-sum' }, first.map(t => t.el))
  const sums = [
    [numbers('window'), numbers('kernel', { edit: edit('kernel') }), numbers('products')],
    [numbers('red: window of channel 1', { frameClass: 'x-1' }), numbers('blue: kernel for channel 1', { edit: edit('second'), frameClass: 'x-2' }), numbers('products')],
    [numbers('green: window of channel 2', { frameClass: 'x-3' }), numbers('mauve: kernel for channel 2', { edit: edit('second2'), frameClass: 'x-4' }), numbers('products')],
  ].map(tables => ({ tables, el: h('div', { class: 'x-sum' }, tables.map((t, i) => i ? h('div', { class: 'x-term' }, h('span', { class: 'x-op' }, i === 1 ? '×' : '='), t.el) : t.el)) }))
  const spelled = h('p', { class: 'x-spelled' }), facts = h('p', { class: 'x-facts' }), dropped = h('p', { class: 'x-facts' })
  const code = pythonButton(() => pythonFor(state.values))
  root.append(read.el, editors, ...sums.map(s => s.el), spelled, facts, dropped, code.el)

  function draw() {
    if (!look.colors.zero) return
    const v = state.values, one = v.layers === 1, colors = look.colors
    r = compute(v)
    // controls
    const options = [...[v.image, ...v.digits].map((_, i) => [i, v.names[i] ?? (i ? `image ${i + 1}` : 'image')]), [-1, 'your drawing']]
    if (shownDigits !== options.length) { image.control.replaceChildren(...options.map(([value, text]) => h('option', { value }, text))); shownDigits = options.length }
    image.show(v.source)
    preset.show(presetOf(v.kernel))
    size.show(v.kernel.length === v.kernel[0].length ? v.kernel.length : '')
    for (const [control, value] of [[stride, v.stride], [padding, v.padding], [dilation, v.dilation], [useRelu, v.relu], [second, !one]]) control.show(value)
    clear.hidden = !drawing()
    input.canvas.classList.toggle('x-drawing', drawing())
    for (const el of [editors, ...channelMaps.map(map => map.el)]) el.style.display = one ? 'none' : ''
    sums.forEach((s, i) => { s.el.style.display = (i > 0) === one || r.error ? 'none' : '' })
    for (const el of [output.el, spelled]) el.style.display = r.error ? 'none' : ''
    // maps
    const [height, width] = [r.x.length, r.x[0].length], [kh, kw] = [v.kernel.length, v.kernel[0].length], p = v.padding
    const padded = Array.from({ length: height + 2*p }, (_, i) => Array.from({ length: width + 2*p }, (_, j) => r.x[i - p]?.[j - p] ?? 0))
    const frames = p ? [[p, p, height, width, true]] : [], unused = []
    let rest = [0, 0]
    if (!r.error) {
      rest = [unusedPixels(height, kh, v.stride, p, v.dilation), unusedPixels(width, kw, v.stride, p, v.dilation)]
      if (rest[0]) unused.push([height + 2*p - rest[0], 0, rest[0], width + 2*p])
      if (rest[1]) unused.push([0, width + 2*p - rest[1], height + 2*p, rest[1]])
      const [more, across] = one ? [0, 0] : second3().map(k => (k - 1)*v.stride)
      frames.push([v.row*v.stride, v.col*v.stride, spanOf(kh, v.dilation) + more, spanOf(kw, v.dilation) + across])
    }
    if (drawing()) frames.push([cursor[0] + p, cursor[1] + p, 1, 1])
    const help = drawing() ? 'Arrow keys move the pen, Space draws, Delete erases, Shift with an arrow key draws a line' : 'Arrow keys move the window, Space starts or pauses'
    input.draw(padded, look.ink, { label: `Image, ${height} by ${width}${p ? `, padded by ${p}` : ''}. ${help}`, heading: `image ${height} × ${width}${p ? ` + padding ${p}` : ''}`, frames, unused, colors })
    if (r.error) {
      read.say(r.error)
      facts.textContent = dropped.textContent = ''
      code.draw()
      return
    }
    const scale = x => Math.max(...x.flat().map(Math.abs)) || 1
    const show = (map, x, name, frames) => { const top = scale(x); map.draw(x, y => look.signed(y/top), { label: `${name}, ${x.length} by ${x[0].length}. Arrow keys move the window, Space starts or pauses`, heading: `${name} ${x.length} × ${x[0].length}`, frames, colors }) }
    if (!one) r.maps.forEach((x, k) => show(channelMaps[k], x, `channel ${k + 1}`, [[v.row, v.col, ...second3()]]))
    show(output, r.out, one ? 'output' : 'output of the second layer', [[v.row, v.col, 1, 1]])
    // numbers
    const weights = [v.kernel, v.kernel2, v.second, v.second2].flat(2), tint = x => look.signed(x/Math.max(1, ...weights.map(Math.abs))*.75)
    if (!one) first.forEach((t, k) => t.draw([v.kernel, v.kernel2][k], tint, look.on, x => short(x)))
    const terms = parts(v, r), shown = one ? [sums[0]] : sums.slice(1)
    const strongest = Math.max(1, ...terms.flatMap(t => [...t.window, ...t.products]).flat().map(Math.abs))
    terms.forEach((t, k) => {
      const [a, b, c] = shown[k].tables, back = x => look.signed(x/strongest*.75)
      a.draw(t.window, one ? x => look.ink(x*.6) : back, look.on)
      b.draw(t.weight, tint, look.on, x => short(x))
      c.draw(t.products, back, look.on)
    })
    // row by row: pixel × weight, or where a row is long the products alone
    const factor = w => w < 0 ? `(${short(w)})` : short(w), long = terms[0].window[0].length > 4
    const lines = terms.flatMap((t, k) => t.window.map((row, i) => (k || i ? '+ ' : '') + row.map((x, j) => long ? fmt(t.products[i][j]) : `${fmt(x)} × ${factor(t.weight[i][j])}`).join(' + ')))
    const sum = r.outSums[v.row][v.col], value = r.out[v.row][v.col], n = terms.reduce((s, t) => s + t.products.flat().length, 0)
    lines.push(`= ${fmt(sum)}${v.relu ? `; after ReLU: ${fmt(value)}` : ''}`)
    spelled.replaceChildren(...lines.map(line => h('span', {}, line)))
    read.say(`Row ${v.row + 1}, column ${v.col + 1}: the ${n === 1 ? 'product is' : `${n} products sum to`} ${fmt(sum)}${v.relu ? `; after ReLU: ${fmt(value)}` : ''}.`, Boolean(timer))
    const formula = (n, k) => `⌊(${n} + 2·${p} − ${v.dilation}·(${k} − 1) − 1) / ${v.stride}⌋ + 1`
    const channels = one ? 1 : 2, weightsText = one ? `1 · 1 · ${kh} · ${kw} = ${kh*kw}` : `2 · 1 · ${kh} · ${kw} + 1 · 2 · ${second3().join(' · ')} = ${2*kh*kw + 2*second3()[0]*second3()[1]}`
    facts.textContent = `${one ? 'Output shape: (1' : 'First layer: (2'}, ${r.maps[0].length}, ${r.maps[0][0].length}), from ${formula(height, kh)} = ${r.maps[0].length}${height === width && kh === kw ? '' : ` and ${formula(width, kw)} = ${r.maps[0][0].length}`}.`
      + `${one ? '' : ` Second layer: (1, ${r.out.length}, ${r.out[0].length}).`} Weights: ${weightsText}${channels === 1 ? '' : ' in two layers'}.`
    const last = (n, what) => `last ${n === 1 ? what : `${n} ${what}s`}`, [down, across] = rest
    const border = down === across ? last(down, down === 1 ? 'row and column' : 'row').replace('rows', 'rows and columns') : [down && last(down, 'row'), across && last(across, 'column')].filter(Boolean).join(' and the ')
    dropped.textContent = down || across ? `No window reaches the ${border} (hatched).` : ''
    code.draw()
  }
  look.start()
  return () => { clearInterval(timer); look.stop(); state.stop() }
}
export default { render }
