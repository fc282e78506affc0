// Dropout, step by step: activations, random numbers, mask, output
const SPEC = {
  "activations": {"value": [], "fixed": true},
  "index": {"value": -1, "low": -1, "high": 100000, "fixed": true},
  "source": {"value": "four", "choices": ["digit", "four"]},
  "p": {"value": 0.4, "real": true, "low": 0, "high": 0.95},
  "seed": {"value": 27, "low": 0, "high": 9999},
  "rescale": {"value": true},
  "training": {"value": true},
  "row": {"value": 0, "low": 0, "high": 99},
  "col": {"value": 0, "low": 0, "high": 99}
}
const FOUR = [[2, 0.5, -1, 4]], SEEDS = 100

// ---- Maths: pure functions, tested against PyTorch and `lesson8lib.dropout`
// `torch.rand(n, generator=torch.Generator().manual_seed(seed))`: the Mersenne Twister, 24 bits of each number
export function rand(n, seed) {
  const state = new Uint32Array(624), out = new Float64Array(n)
  state[0] = seed
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ state[i - 1] >>> 30) + i
  for (let k = 0, at = 624; k < n; k++, at++) {
    if (at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = state[i] & 2**31 | state[(i + 1)%624] & 2**31 - 1
        state[i] = state[(i + 397)%624] ^ y >>> 1 ^ (y & 1 ? 2567483615 : 0)
      }
      at = 0
    }
    let y = state[at]
    y ^= y >>> 11
    y ^= y << 7 & 2636928640
    y ^= y << 15 & 4022730752
    y ^= y >>> 18
    out[k] = (y & 2**24 - 1)/2**24
  }
  return out
}
export const keeps = (u, p) => u > Math.fround(p)  // PyTorch compares in single precision
export const drop = (x, mask, p, { training = true, rescale = true } = {}) => !training ? x : x.map((row, i) => row.map((v, j) => v*mask[i][j]/(rescale ? 1 - p : 1)))
const xOf = v => v.source === 'digit' ? v.activations : FOUR
const total = x => x.flat().reduce((a, b) => a + b, 0)
const like = (x, numbers) => x.map((row, i) => row.map((_, j) => numbers[i*row.length + j]))
const meanOf = x => total(x)/x.flat().length
const drawn = new Map()  // random numbers by size and seed: 100 seeds are needed for each move of the slider
function numbersOf(n, seed) {
  const key = `${n}:${seed}`
  if (drawn.size > 1000) drawn.clear()
  if (!drawn.has(key)) drawn.set(key, rand(n, seed))
  return drawn.get(key)
}
export function compute(v) {
  const x = xOf(v), flat = x.flat(), noise = like(x, numbersOf(flat.length, v.seed)), mask = noise.map(row => row.map(u => Number(keeps(u, v.p)))), out = drop(x, mask, v.p, v)
  const factor = v.rescale ? 1/(1 - v.p) : 1, means = Array.from({ length: SEEDS }, (_, k) => {
    const numbers = numbersOf(flat.length, v.seed + k)
    return flat.reduce((sum, y, i) => sum + (keeps(numbers[i], v.p) ? y*factor : 0), 0)/flat.length
  })
  return { x, noise, mask, out, kept: total(mask), mean: meanOf(x), meanOut: meanOf(out), meanOfSeeds: v.training ? means.reduce((a, b) => a + b)/SEEDS : meanOf(x) }
}
export function tidy(v) {  // keys that depend on one another
  const source = v.activations.length && v.index >= 0 ? v.source : 'four', x = xOf({ ...v, source })
  return { ...v, source, row: Math.min(v.row, x.length - 1), col: Math.min(v.col, x[0].length - 1) }
}

// ---- The same in Python
export function pythonFor(v) {
  const isDigit = v.source === 'digit'
  return ['import torch', ...isDigit ? ['from lesson8lib.convolution import conv2d', 'from lesson8lib.data import load_mnist'] : [],
    v.training ? 'from lesson8lib.training import new_generator' : 'from lesson8lib.dropout import dropout', '',
    ...isDigit ? ['top = torch.tensor([[1., 1, 1], [0, 0, 0], [-1, -1, -1]])', `seven = load_mnist().images[${v.index}]`, 'x = conv2d(seven[None], top[None,None])[0].relu()', 'x = x/x.max()']
      : [`x = torch.tensor(${python(FOUR)})`],
    ...v.training ? [`noise = torch.rand(x.shape, generator=new_generator(${v.seed}))`, `mask = (noise>${v.p}).float()`, `out = x*mask${v.rescale ? `/(1-${v.p})` : ''}`]
      : [`out = dropout(x, ${v.p}, training=False)`],
    `print(out[${v.row},${v.col}].item(), x.mean().item(), out.mean().item())`].join('\n')
}

// ---- The page
const STYLE = `
.x-app input[type=range] { width: 12rem; max-width: 100%; padding: 0; accent-color: var(--x-focus); }
`
function render({ model, el }) {
  const root = frame(el, 'Dropout: activations, random numbers, mask and output')
  const look = theme(root, () => state.draw())
  const state = store(model, SPEC, tidy, draw)
  const set = changes => { state.set(changes) }
  root.append(h('style', {}, STYLE))

  // controls
  const source = choice('activations', [['digit', 'of a 7'], ['four', 'the four by hand']], value => {
    const at = state.values.activations.flat().reduce((best, x, i, all) => x > all[best] ? i : best, 0), width = state.values.activations[0].length  // the largest
    set(value === 'digit' ? { source: value, row: Math.floor(at/width), col: at%width } : { source: value, row: 0, col: 0, p: SPEC.p.value, seed: SPEC.seed.value })
  })
  const p = h('input', { type: 'range', min: 0, max: 0.95, step: 0.05, oninput: () => set({ p: Number(p.value) }) }), field = labeled('', p)
  const seed = count('seed', SPEC.seed, value => set({ seed: value }))
  const again = h('button', { type: 'button', onclick: () => set({ seed: (state.values.seed + 1)%(SPEC.seed.high + 1) }) }, 'New mask')
  const training = toggle('training', value => set({ training: value })), rescale = toggle('divide by 1 − p', value => set({ rescale: value }))
  root.append(h('div', { class: 'x-row' }, source.el, field, seed.el, again, training.el, rescale.el))

  // four pictures, or four rows of numbers, of which one cell is chosen in all
  const choose = (row, col) => set({ row, col })
  const key = event => { const x = xOf(state.values), to = moved(event, [state.values.row, state.values.col], x.length, x[0].length); if (to) choose(...to) }
  const titles = ['activations', 'random numbers', 'mask (1 = kept)', 'output']
  const pictures = titles.map(title => heatmap(title, { point: choose, key })), tables = titles.map(title => numbers(title, { focus: choose }))
  const images = h('div', { class: 'x-maps' }, pictures.map(x => x.el)), rows = h('div', {}, tables.map(x => x.el))
  const read = readout(), facts = h('p', { class: 'x-facts' }), code = pythonButton(() => pythonFor(state.values))
  root.append(images, rows, read.el, facts, code.el)

  function draw() {
    if (!look.colors.zero) return
    const v = state.values, r = compute(v), isDigit = v.source === 'digit', { row, col } = v
    source.el.style.display = v.activations.length && v.index >= 0 ? '' : 'none'
    for (const [control, value] of [[source, v.source], [seed, v.seed], [training, v.training], [rescale, v.rescale]]) control.show(value)
    field.firstChild.textContent = `p = ${fmt(v.p)}, the probability of dropping`
    p.value = v.p
    rescale.control.disabled = !v.training
    images.style.display = isDigit ? '' : 'none'
    rows.style.display = isDigit ? 'none' : ''
    // one scale for activations and output, so that what is divided by 1 − p is seen to be larger
    const most = Math.max(...[...r.x, ...r.out].flat().map(Math.abs)) || 1, parts = [r.x, r.noise, r.mask, r.out]
    parts.forEach((x, k) => {
      const unused = !v.training && (k === 1 || k === 2), color = y => k === 1 || k === 2 ? look.ink(isDigit ? y : y*.4) : isDigit ? look.ink(y/most) : look.signed(y/most*.75)
      for (const it of [pictures[k], tables[k]]) it.el.style.display = unused ? 'none' : ''
      if (isDigit) pictures[k].draw(x, color, { label: `${titles[k]}, ${x.length} by ${x[0].length}. Arrow keys select an activation`, frames: [[row, col, 1, 1]], colors: look.colors })
      else {
        tables[k].draw(x, color, look.on, y => k === 2 ? short(y) : fmt(y))
        tables[k].cells()[0].forEach((cell, j) => cell.classList.toggle('x-marked', j === col))
      }
    })
    // words
    const at = isDigit ? `Row ${row + 1}, column ${col + 1}` : `Activation ${col + 1}`, [x, u, y] = [[r.x, 3], [r.noise, 2], [r.out, 3]].map(([a, digits]) => fmt(a[row][col], digits)), kept = r.mask[row][col] === 1
    const n = r.x.flat().length, above = r.x.flat().filter(a => a > 0).length, left = r.x.flat().filter((a, i) => a > 0 && r.mask.flat()[i]).length
    const fate = kept ? `is greater than p, so ${x} is kept${v.rescale ? `; divided by ${fmt(1 - v.p)}, it becomes ${y}` : ''}` : `is not greater than p, so ${x} becomes 0`
    read.say(v.training ? `${r.kept} of ${n} activations are kept${isDigit ? `, including ${left} of the ${above} positive ones` : ''}. ${at}: the random number ${u} ${fate}.`
      : `In evaluation mode, nothing is dropped or rescaled. ${at}: ${x} stays ${y}.`)
    facts.textContent = `Mean of the activations: ${fmt(r.mean, 3)}. Mean of the output: ${fmt(r.meanOut, 3)}${v.training ? `; averaged over seeds ${v.seed} to ${v.seed + SEEDS - 1}: ${fmt(r.meanOfSeeds, 3)}` : ''}.`
    code.draw()
  }
  look.start()
  return () => { look.stop(); state.stop() }
}
export default { render }
