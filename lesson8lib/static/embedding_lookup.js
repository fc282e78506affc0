// From words, or users and items, to the rows of an embedding: `text.tokenize`, `text.numericalize`, `embedding.one_hot`, and the prediction of `collab.DotProductBias`
const SPEC = {
  "left_words": {"value": ["#na#", "Ann", "Dan"], "fixed": true},
  "right_words": {"value": ["#na#", "Alien", "Casablanca"], "fixed": true},
  "left_kind": {"value": "user", "fixed": true},
  "right_kind": {"value": "film", "fixed": true},
  "left": {"value": [[0, 0, 0], [0.9, 0.8, -0.5], [-0.7, -0.2, 0.9]], "fixed": true},
  "right": {"value": [[0, 0, 0], [1, 0.6, -0.1], [-1, -0.3, 0.9]], "fixed": true},
  "left_bias": {"value": [0, 0.2, -0.3], "fixed": true},
  "right_bias": {"value": [0, 3.3, 3.4], "fixed": true},
  "low": {"value": 0, "real": true, "fixed": true},
  "high": {"value": 5.5, "real": true, "fixed": true},
  "of": {"value": "rating", "fixed": true},
  "text": {"value": ""},
  "first": {"value": 1, "low": 0, "high": 9999},
  "second": {"value": 1, "low": 0, "high": 9999},
  "range": {"value": false}
}

// ---- Maths: pure functions, tested against the library
const WORD = /[\p{L}\p{Nl}\p{No}]+(?:'[\p{L}\p{Nl}\p{No}]+)*/gu
export const tokenize = text => (text.normalize('NFC').replaceAll('’', "'").match(WORD) ?? []).map(word => word.toLowerCase())
export const numericalize = (tokens, words) => tokens.map(token => Math.max(0, words.indexOf(token)))  // 0 is #na#, for unknown words
export const oneHot = (index, n) => Array.from({ length: n }, (_, i) => Number(i === index))
export const product = (vector, matrix) => matrix[0].map((_, f) => vector.reduce((sum, x, i) => sum + x*matrix[i][f], 0))
export const sigmoidRange = (x, low, high) => low + (high - low)/(1 + Math.exp(-x))
const isText = v => same(v.left_words, v.right_words)  // words and their neighbors, not users and items
// All that is shown, from the state
export function compute(v) {
  const tokens = isText(v) ? tokenize(v.text) : [], ids = numericalize(tokens, v.right_words), code = oneHot(v.second, v.right_words.length)
  const a = v.left[v.first], b = v.right[v.second], products = a.map((x, f) => x*b[f]), dot = products.reduce((sum, x) => sum + x, 0), z = dot + v.left_bias[v.first] + v.right_bias[v.second]
  return { tokens, ids, code, row: product(code, v.right), a, b, products, dot, z, prediction: v.range ? sigmoidRange(z, v.low, v.high) : z }
}
function tidy(v) {
  return { ...v, text: v.text.slice(0, 200), first: clamp(v.first, 0, v.left_words.length - 1), second: clamp(v.second, 0, v.right_words.length - 1) }
}

// ---- The same in Python
function inLines(name, items, end) {  // a list in lines of at most 88 characters
  const indent = ' '.repeat(name.length + 1), lines = [`${name}[`]
  items.forEach((item, i) => {
    const text = item + (i < items.length - 1 ? ', ' : '')
    if (lines.at(-1).length + text.trimEnd().length + (i === items.length - 1 ? end.length + 1 : 0) > 88) lines.push(indent)
    lines.push(lines.pop() + text)
  })
  return lines.map(line => line.trimEnd()).join('\n') + ']' + end
}
export function pythonFor(v) {
  const rows = (name, x) => `${name} = torch.tensor([\n${x.map(row => `    ${python(row)},`).join('\n')}\n])`, quoted = x => x.slice(1).map(word => JSON.stringify(word))
  const text = isText(v), sizes = `${v.left_words.length}, ${v.right_words.length}, ${v.left[0].length}`
  return ['import torch', 'from lesson8lib.collab import DotProductBias', 'from lesson8lib.data import Vocab', ...text ? ['from lesson8lib.text import numericalize, tokenize'] : [], '',
    ...text ? [inLines('vocab = Vocab(', quoted(v.right_words), ", 'word')"), `ids = numericalize(tokenize(${JSON.stringify(v.text)}), vocab)`, 'print(ids.tolist())', `pair = torch.tensor([[${v.first}, ${v.second}]])`]
      : [inLines('lefts = Vocab(', quoted(v.left_words), `, '${v.left_kind}')`), inLines('rights = Vocab(', quoted(v.right_words), `, '${v.right_kind}')`),
        `pair = torch.stack([lefts.index([${JSON.stringify(v.left_words[v.first])}]), rights.index([${JSON.stringify(v.right_words[v.second])}])], 1)`],
    `model = DotProductBias(${sizes}, y_range=${v.range ? `(${v.low}, ${v.high})` : 'None'})`,
    rows('model.user_factors.data', v.left), rows('model.item_factors.data', v.right), inLines('model.user_bias.data = torch.tensor(', v.left_bias.map(python), ')'), inLines('model.item_bias.data = torch.tensor(', v.right_bias.map(python), ')'),
    'print(model.item_factors[pair[0,1]].tolist(), model(pair).item())'].join('\n')
}

// ---- The page
const STYLE = `
.x-app .x-lookup-text { width: min(28rem, 70vw); }
.x-tokens { display: flex; flex-wrap: wrap; gap: .35rem; margin: .2rem 0 .7rem; }
.x-app .x-tokens button { text-align: center; line-height: 1.15; padding: .15rem .5rem; }
.x-tokens small { display: block; color: var(--x-muted); font-variant-numeric: tabular-nums; }
.x-app .x-tokens .x-unknown { border-style: dashed; }
.x-lookup { display: grid; grid-template-columns: minmax(0, auto) minmax(0, 1fr); gap: .5rem 1.6rem; align-items: start; }
@media (max-width: 640px) { .x-lookup { grid-template-columns: minmax(0, 1fr); } }
.x-scroll { max-height: 40rem; overflow: auto; padding: 3px; }
.x-app.x-app table.x-rows :is(td, th) { width: auto; min-width: 0; height: 23px; padding: 0 .4rem; font-size: 12px; border: 0; color: var(--x-text); background: none; text-align: right; font-weight: 400; white-space: nowrap; }
.x-app.x-app table.x-rows tbody th { white-space: normal; }
.x-app.x-app table.x-rows td.x-cell { min-width: 40px; border: 1px solid var(--x-line); color: var(--x-ink); }
@media (max-width: 500px) { .x-app.x-app table.x-rows :is(td, th) { padding: 0 .2rem; font-size: 11.5px; } .x-app.x-app table.x-rows td.x-cell { min-width: 34px; } }
.x-app.x-app table.x-rows thead th { color: var(--x-muted); font-size: 11.5px; white-space: normal; }
.x-app.x-app table.x-rows [tabindex] { cursor: pointer; }
.x-app.x-app table.x-rows tr.x-chosen :is(th, td) { font-weight: 700; }
.x-app.x-app table.x-rows tr.x-chosen td.x-cell { box-shadow: inset 0 2px var(--x-focus), inset 0 -2px var(--x-focus); }
.x-app.x-app table.x-rows tr.x-sum-row td { border-top: 2px solid var(--x-ink); }
`
function render({ model: anywidget, el }) {
  const root = frame(el, 'From a word to its embedding vector')
  root.append(h('style', {}, STYLE))
  const look = theme(root, () => state.draw()), state = store(anywidget, SPEC, tidy, draw), set = changes => state.set(changes)
  let r = compute(state.values), built = '', lines = []
  const text = h('input', { type: 'text', class: 'x-lookup-text', maxlength: 200, autocomplete: 'off', spellcheck: 'false', oninput: () => {
    const ids = numericalize(tokenize(text.value), state.values.right_words)
    set({ text: text.value, ...ids.length ? { second: ids.at(-1) } : {} })  // the last word is looked up
  } })
  const typed = labeled('text', text), tokens = h('div', { class: 'x-tokens' })
  const first = choice('', [], value => set({ first: Number(value) })), second = choice('', [], value => set({ second: Number(value) })), range = toggle('sigmoid', value => set({ range: value }))
  const matrix = h('div', { class: 'x-scroll' }), dots = h('div', { class: 'x-wide' }), two = h('p', { class: 'x-facts' }), read = readout(), spelled = h('p', { class: 'x-spelled' }), code = pythonButton(() => pythonFor(state.values))
  const title = words => h('p', { class: 'x-title' }, words), lookupTitle = title(''), dotTitle = title('')
  root.append(h('div', { class: 'x-row' }, typed), tokens, h('div', { class: 'x-row' }, second.el, first.el, range.el),
    h('div', { class: 'x-lookup' }, h('div', {}, lookupTitle, matrix), h('div', {}, dotTitle, dots, spelled, two)), read.el, code.el)
  const cell = x => {
    const back = look.signed(x/2)
    return h('td', { class: 'x-cell', style: `background: ${rgb(back)}; color: ${rgb(look.on(back))}` }, fmt(x))
  }

  function build(v) {  // the matrix, a row for each word
    const name = word => h('td', { 'aria-label': `look up ${word}` }, word)
    const names = v.right_words.map(name)
    lines = v.right_words.map((_, i) => ({ code: h('td'), el: h('tr', { onclick: () => set({ second: i }) }) }))
    lines.forEach((line, i) => line.el.append(names[i], h('td', {}, String(i)), line.code, ...v.right[i].map(cell)))
    const sum = h('tr', { class: 'x-sum-row' })
    const head = h('tr', {}, [v.right_kind, 'ID', 'one-hot', ...v.right[0].map((_, f) => `factor ${f}`)].map(words => h('th', { scope: 'col' }, words)))
    matrix.replaceChildren(h('table', { class: 'x-rows' }, h('thead', {}, head), h('tbody', {}, lines.map(line => line.el), sum)))
    roving(names.map(td => [td]), i => set({ second: i }))
    lines.sum = sum
    for (const [control, words] of [[first, v.left_words], [second, v.right_words]]) control.control.replaceChildren(...words.map((word, i) => h('option', { value: i }, word)))
    first.el.firstChild.textContent = v.left_kind
    second.el.firstChild.textContent = v.right_kind
    range.el.lastChild.textContent = `sigmoid, ${v.low} to ${v.high}`
    two.textContent = isText(v) ? `A word has a second vector, as a ${v.left_kind}, from another embedding matrix.` : ''
    typed.style.display = tokens.style.display = isText(v) ? '' : 'none'
  }
  function draw() {
    if (!look.colors.zero) return
    const v = state.values, shape = JSON.stringify([v.right_words, v.left_words, root.dataset.theme])
    r = compute(v)
    if (shape !== built) { build(v); built = shape }
    if (document.activeElement !== text) text.value = v.text
    first.show(v.first)
    second.show(v.second)
    range.show(v.range)
    while (tokens.children.length > r.tokens.length) tokens.lastChild.remove()
    r.tokens.forEach((token, i) => {  // a button that is there stays, with the focus
      const id = r.ids[i], button = tokens.children[i] ?? tokens.appendChild(h('button', { type: 'button', onclick: () => set({ second: r.ids[i] }) }))
      button.className = id ? '' : 'x-unknown'
      button.setAttribute('aria-pressed', String(id === v.second))
      button.replaceChildren(token, h('small', {}, id ? `ID ${id}` : `ID 0, ${v.right_words[0]}`))
    })
    lines.forEach((line, i) => {
      line.code.textContent = r.code[i]
      line.el.className = i === v.second ? 'x-chosen' : ''
    })
    lines.sum.replaceChildren(h('td', { colspan: 3 }, 'one-hot @ embedding'), ...r.row.map(cell))
    lookupTitle.textContent = `embedding matrix, ${v.right.length} × ${v.right[0].length}: row ${v.second} belongs to “${v.right_words[v.second]}”`
    const [left, right] = [v.left_words[v.first], v.right_words[v.second]], [leftBias, rightBias] = [v.left_bias[v.first], v.right_bias[v.second]], long = x => short(x, 4), factor = x => long(x).startsWith('−') ? `(${long(x)})` : long(x)
    const bare = isText(v) && !v.range  // a number of occurrences is not below 0
    dotTitle.textContent = `the ${bare ? 'sum before the sigmoid' : 'prediction'} for “${left}” and “${right}”`
    const row = (label, x, className) => h('tr', { class: className ?? '' }, h('th', { scope: 'row' }, label), x.map(cell))
    dots.replaceChildren(h('table', { class: 'x-rows' }, h('tbody', {}, row(isText(v) ? `${left}, as ${v.left_kind}` : left, r.a), row(right, r.b), row('products', r.products, 'x-sum-row'))))
    spelled.replaceChildren(...[`dot product: ${r.products.map(factor).join(' + ')} = ${long(r.dot)}`, `with both biases: ${long(r.dot)} + ${factor(leftBias)} + ${factor(rightBias)} = ${long(r.z)}`,
      ...v.range ? [`scaled to the range: ${v.low} + ${v.high - v.low}·sigmoid(${long(r.z)}) = ${long(r.prediction)}`] : []].map(line => h('span', {}, line)))
    const unknown = r.tokens.filter((_, i) => !r.ids[i])
    read.say(`${unknown.length ? `Not in the vocabulary, so ID 0: ${unknown.map(word => `“${word}”`).join(', ')}. ` : ''}“${right}” has ID ${v.second}; its embedding vector is row ${v.second} of the matrix: ${r.b.map(x => fmt(x)).join(', ')}. ${bare ? `The sum before the sigmoid is ${fmt(r.z)}.` : `Predicted ${v.of} ${isText(v) ? 'of' : 'for'} “${left}” and “${right}”: ${fmt(r.prediction)}.`}`)
    code.draw()
  }
  look.start()
  return () => { look.stop(); state.stop() }
}
export default { render }
