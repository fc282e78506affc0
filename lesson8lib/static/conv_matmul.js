// A convolution as a matrix product: `lesson8lib.conv_matmul.conv_matrix`, entry by entry
const SPEC = {
  "image": {"value": [[9, 8, 1], [9, 7, 0], [1, 0, 0]], "kind": "matrix", "size": 6, "low": -99, "high": 99},
  "kernel": {"value": [[1, 1], [-1, -1]], "kind": "matrix", "size": 3, "low": -99, "high": 99},
  "stride": {"value": 1, "low": 1, "high": 3},
  "padding": {"value": 0, "low": 0, "high": 2},
  "bias": {"value": 0, "real": true, "low": -99, "high": 99},
  "letters": {"value": true},
  "view": {"value": "matrix", "choices": ["matrix", "im2col"]},
  "row": {"value": 0, "low": 0, "high": 99},
  "weight": {"value": -1, "low": -1, "high": 8}
}

// ---- Maths: pure functions, tested against `lesson8lib.conv_matmul` and PyTorch
export function windows(size, kernelSize, stride = 1, padding = 0) {  // along one axis
  if (kernelSize > size + 2*padding) throw new RangeError(`\`kernel_size\` must fit into the padded image, ${size} + 2·${padding} = ${size + 2*padding} pixels, got ${kernelSize} with dilation 1, which spans ${kernelSize}`)
  return Math.floor((size + 2*padding - kernelSize)/stride) + 1
}
// For each output and each pixel, which weight connects them: its index in the flattened kernel, or −1
export function connections([h, w], [kh, kw], stride = 1, padding = 0) {
  const oh = windows(h, kh, stride, padding), ow = windows(w, kw, stride, padding)
  return Array.from({ length: oh*ow }, (_, r) => Array.from({ length: h*w }, (_, c) => {
    const i = Math.floor(c/w) + padding - Math.floor(r/ow)*stride, j = c%w + padding - (r%ow)*stride
    return i >= 0 && i < kh && j >= 0 && j < kw ? i*kw + j : -1
  }))
}
const sizes = x => [x.length, x[0].length]
export const convMatrix = (kernel, size, stride, padding) => connections(size, sizes(kernel), stride, padding).map(row => row.map(k => k < 0 ? 0 : kernel.flat()[k]))
export function im2col(x, [kh, kw], stride = 1, padding = 0) {  // a row for each weight, a column for each window
  const [h, w] = sizes(x), oh = windows(h, kh, stride, padding), ow = windows(w, kw, stride, padding)
  return Array.from({ length: kh*kw }, (_, k) => Array.from({ length: oh*ow }, (_, r) =>
    x[Math.floor(r/ow)*stride + Math.floor(k/kw) - padding]?.[(r%ow)*stride + k%kw - padding] ?? 0))
}
export const product = (matrix, x, bias = 0) => matrix.map(row => row.reduce((sum, m, c) => sum + m*x[c], bias))
// The gradient of the sum of all outputs with respect to each weight: the pixels of its cells, added up
export function gradients(places, x, n) {
  const sums = Array(n).fill(0)
  for (const row of places) row.forEach((k, c) => { if (k >= 0) sums[k] += x[c] })
  return sums
}
export function compute(v) {
  try {
    const size = sizes(v.image), places = connections(size, sizes(v.kernel), v.stride, v.padding), x = v.image.flat(), weights = v.kernel.flat()
    const matrix = convMatrix(v.kernel, size, v.stride, v.padding)
    return { places, x, weights, matrix, out: product(matrix, x, v.bias), ow: windows(size[1], v.kernel[0].length, v.stride, v.padding), error: null }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return { places: [], out: [], ow: 1, error: error.message }
  }
}
function tidy(v) {
  return { ...v, row: clamp(v.row, 0, Math.max(0, compute(v).out.length - 1)), weight: Math.min(v.weight, v.kernel.flat().length - 1) }
}
const GREEK = 'αβγδεζηθι', LATIN = 'ABCDEFGHJ'
const pixelName = (v, c) => v.image.flat().length <= 9 ? LATIN[c] : `x${Math.floor(c/v.image[0].length) + 1}${c%v.image[0].length + 1}`
const outputName = (n, r) => n <= 4 ? 'pqrs'[r] : `y${r + 1}`

export function pythonFor(v) {
  const list = (name, x) => `${name} = torch.tensor([${x.map(python).join(',\n' + ' '.repeat(name.length + 17))}])`
  const settings = `stride=${v.stride}, padding=${v.padding}`, bias = v.bias ? ` + ${v.bias < 0 ? `(${v.bias})` : v.bias}` : ''
  return ['import torch', ...v.view === 'matrix' ? [
    'from lesson8lib.conv_matmul import conv_matrix', '', list('image', v.image), list('kernel', v.kernel),
    `matrix = conv_matrix(kernel[None,None], ${python(sizes(v.image)).replaceAll('.', '').replace('[', '(').replace(']', ')')}, ${settings})`, `out = matrix @ image.flatten()${bias}`,
  ] : [
    'from lesson8lib.convolution import im2col', '', list('image', v.image), list('kernel', v.kernel),
    `matrix = im2col(image[None], tuple(kernel.shape), ${settings})`, `out = kernel.flatten() @ matrix${bias}`,
  ], `print(tuple(matrix.shape), out[${v.row}].item())`].join('\n')
}

// ---- The page
const HUES = { light: ['#f3b8b0', '#b9d3f0', '#bfe3c8', '#e6c6ec', '#f5dd9e', '#bce4e4', '#dcd0b8', '#f2bfd6', '#c9cdf2'],
  dark: ['#7a2f25', '#234f7d', '#245a38', '#693173', '#6b5312', '#1f5c5c', '#5a4b2c', '#752f52', '#3d4290'] }
function render({ model, el }) {
  const root = frame(el, 'A convolution as a matrix product')
  const look = theme(root, () => state.draw())
  const state = store(model, SPEC, tidy, draw)
  const set = changes => { state.set(changes) }
  let r = compute(state.values)
  const resize = (x, k, fill) => Array.from({ length: k }, (_, i) => Array.from({ length: k }, (_, j) => x[i]?.[j] ?? fill(i, j)))
  const imageSize = choice('image', [2, 3, 4, 5, 6].map(k => [k, `${k} × ${k}`]), k => set({ image: resize(state.values.image, Number(k), (i, j) => (3*i + 5*j)%10) }))
  const kernelSize = choice('kernel', [1, 2, 3].map(k => [k, `${k} × ${k}`]), k => set({ kernel: resize(state.values.kernel, Number(k), () => 0) }))
  const stride = count('stride', SPEC.stride, value => set({ stride: value }))
  const padding = count('padding', SPEC.padding, value => set({ padding: value }))
  const bias = real('bias', SPEC.bias, value => set({ bias: value }))
  const letters = toggle('letters', value => set({ letters: value }))
  const view = choice('view', [['matrix', 'matrix × image'], ['im2col', 'kernel × columns (im2col)']], value => set({ view: value }))
  const weight = choice('gradient of', [], value => set({ weight: Number(value) }))
  root.append(h('div', { class: 'x-row' }, imageSize.el, kernelSize.el, stride.el, padding.el, bias.el, view.el, weight.el, letters.el))

  const edit = key => (i, j, x) => { if (fits(SPEC[key], [[x]])) set({ [key]: state.values[key].map((row, a) => row.map((w, b) => a === i && b === j ? x : w)) }) }
  const image = numbers('image', { edit: edit('image') }), kernel = numbers('kernel', { edit: edit('kernel') })
  const output = numbers('output', { focus: (i, j) => set({ row: i*r.ow + j }) })
  const matrix = numbers('matrix: a row for each output, a column for each pixel', { focus: i => set({ row: i }) })
  const columns = numbers('columns: the pixels of each window', { focus: (_, j) => set({ row: j }) })
  const boxes = [matrix, columns].map(t => h('div', { class: 'x-wide' }, t.el)), read = readout(), gradient = h('p', { class: 'x-facts' }), facts = h('p', { class: 'x-facts' })
  const code = pythonButton(() => pythonFor(state.values))
  root.append(h('div', { class: 'x-sum' }, image.el, kernel.el, output.el), read.el, ...boxes, gradient, facts, code.el)

  function draw() {
    if (!look.colors.zero) return
    const v = state.values, n = v.kernel.flat().length, kw = v.kernel[0].length
    r = compute(v)
    imageSize.show(v.image.length === v.image[0].length ? v.image.length : '')
    kernelSize.show(v.kernel.length === kw ? v.kernel.length : '')
    for (const [control, value] of [[stride, v.stride], [padding, v.padding], [bias, v.bias], [letters, v.letters], [view, v.view]]) control.show(value)
    const names = [[-1, 'none'], ...v.kernel.flat().map((x, k) => [k, v.letters ? GREEK[k] : `${GREEK[k]} = ${short(x)}`])]
    weight.control.replaceChildren(...names.map(([value, text]) => h('option', { value }, text)))
    weight.show(v.weight)
    for (const element of [output.el, ...boxes]) element.hidden = false
    boxes[0].style.display = r.error || v.view !== 'matrix' ? 'none' : ''
    boxes[1].style.display = r.error || v.view !== 'im2col' ? 'none' : ''
    output.el.style.display = r.error ? 'none' : ''
    const hues = HUES[root.dataset.theme].map(channels), plain = look.colors.zero, gray = blend(plain, look.colors.line, .22), on = look.on
    const hue = k => k < 0 ? gray : hues[k], connected = r.places[v.row] ?? []
    kernel.draw(v.kernel, (_, i, j) => hues[i*kw + j], on, (x, i, j) => v.letters ? GREEK[i*kw + j] : short(x))
    image.draw(v.image, (_, i, j) => { const k = connected[i*v.image[0].length + j] ?? -1; return k < 0 ? plain : hues[k] }, on, (x, i, j) => v.letters ? pixelName(v, i*v.image[0].length + j) : short(x))
    code.draw()
    if (r.error) { read.say(r.error); gradient.textContent = facts.textContent = ''; return }
    const rows = Array.from({ length: r.out.length/r.ow }, (_, i) => r.out.slice(i*r.ow, (i + 1)*r.ow))
    output.draw(rows, () => plain, on, (x, i, j) => v.letters ? outputName(r.out.length, i*r.ow + j) : short(x, 2))
    const entry = k => k < 0 ? '0' : v.letters ? GREEK[k] : short(r.weights[k])
    const mark = (table, chosen, ringed) => table.cells().forEach((row, i) => row.forEach((cell, j) => {
      cell.classList.toggle('x-marked', chosen(i, j))
      cell.classList.toggle('x-ringed', ringed(i, j))
    }))
    mark(output, (i, j) => i*r.ow + j === v.row, () => false)
    if (v.view === 'matrix') {
      matrix.draw(r.places, hue, on, entry)
      const tall = r.places.length > 16
      Object.assign(boxes[0].style, { maxHeight: tall ? '28rem' : '', overflow: tall ? 'auto' : '' })
      if (tall && !boxes[0].matches(':hover')) {  // the chosen row is seen
        const line = matrix.cells()[v.row][0].getBoundingClientRect(), box = boxes[0].getBoundingClientRect()
        boxes[0].scrollTop += Math.min(0, line.top - box.top) + Math.max(0, line.bottom - box.bottom + 16)
      }
      mark(matrix, i => i === v.row, (i, j) => v.weight >= 0 && r.places[i][j] === v.weight)
    } else {
      const named = im2col(v.image.map((row, i) => row.map((_, j) => i*v.image[0].length + j + 1)), sizes(v.kernel), v.stride, v.padding), values = im2col(v.image, sizes(v.kernel), v.stride, v.padding)
      columns.draw(values, (_, i, j) => named[i][j] ? hues[i] : gray, on, (x, i, j) => v.letters ? (named[i][j] ? pixelName(v, named[i][j] - 1) : '0') : short(x))
      mark(columns, (_, j) => j === v.row, i => i === v.weight)
    }
    const cells = connected.map((k, c) => [k, c]).filter(([k]) => k >= 0), factor = x => x < 0 ? `(${short(x)})` : short(x)
    const asLetters = [...cells.map(([k, c]) => `${GREEK[k]}·${pixelName(v, c)}`), 'b'].join(' + '), asNumbers = [...cells.map(([k, c]) => `${factor(r.weights[k])}·${factor(r.x[c])}`), factor(v.bias)].join(' + ')
    read.say(`Output ${outputName(r.out.length, v.row)} = ${asLetters} = ${asNumbers} = ${short(r.out[v.row], 2)}.`)
    const own = v.weight < 0 ? [] : r.places.flatMap(row => row.map((k, c) => [k, c]).filter(([k]) => k === v.weight).map(([, c]) => c))
    gradient.textContent = v.weight < 0 ? '' : `The gradient of the sum of all outputs with respect to ${GREEK[v.weight]} is a sum over its ${own.length} ${own.length === 1 ? 'entry' : 'entries'}: `
      + `${own.map(c => pixelName(v, c)).join(' + ') || '0'} = ${own.map(c => factor(r.x[c])).join(' + ') || '0'} = ${short(gradients(r.places, r.x, n)[v.weight], 2)}.`
    const total = r.places.flat().length, used = r.places.flat().filter(k => k >= 0).length
    facts.textContent = `Matrix: ${r.places.length} × ${r.x.length} = ${total} entries; ${total - used} are fixed at zero (gray), the other ${used} ${used === 1 ? 'holds' : 'hold'} the ${n === 1 ? 'weight' : `${n} weights, one color per weight`}.`
  }
  look.start()
  return () => { look.stop(); state.stop() }
}
export default { render }
