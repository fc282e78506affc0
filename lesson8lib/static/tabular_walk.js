// A table row passing through `tabular.TabularModel`: IDs, embeddings, concatenation, batch normalization, layers, prediction
const SPEC = {
  "cat_names": {"value": [], "fixed": true},
  "vocabs": {"value": [], "fixed": true},
  "dims": {"value": [], "fixed": true},
  "cont_names": {"value": [], "fixed": true},
  "means": {"value": [], "fixed": true},
  "stds": {"value": [], "fixed": true},
  "layers": {"value": [], "fixed": true},
  "weights": {"value": "", "fixed": true},
  "rows": {"value": [], "fixed": true},
  "names": {"value": [], "fixed": true},
  "indices": {"value": [], "fixed": true},
  "target": {"value": "target", "fixed": true},
  "count_of": {"value": "", "fixed": true},
  "setup": {"value": "", "fixed": true},
  "source": {"value": 0, "low": 0, "high": 99},
  "edited": {"value": false},
  "cats": {"value": [[0]], "kind": "matrix", "size": 50, "low": 0, "high": 1000000},
  "conts": {"value": [[0]], "kind": "matrix", "size": 50, "low": -1000000, "high": 1000000},
  "layer": {"value": 1, "low": 1, "high": 9},
  "unit": {"value": 0, "low": 0, "high": 9999}
}

// ---- Maths: pure functions, tested against `tabular.TabularModel` and `tabular.TableData`
const EPS = 1e-5  // PyTorch's, of batch normalization
// The weights in the order of the model's `state_dict`: embeddings, batch normalization of the numbers, hidden layers, last layer
export function unpackModel({ weights, vocabs, dims, cont_names, layers }) {
  const all = floats(weights)
  let at = 0
  const take = n => all.subarray(at, at += n), matrix = (rows, cols) => Array.from({ length: rows }, () => take(cols))
  const norm = n => ({ weight: take(n), bias: take(n), mean: take(n), variance: take(n) })
  const embeds = dims.map((dim, k) => matrix(vocabs[k].length + 1, dim)), normCont = cont_names.length ? norm(cont_names.length) : null
  const sizes = [dims.reduce((sum, d) => sum + d, 0) + cont_names.length, ...layers]
  const hidden = layers.map((n, k) => ({ weight: matrix(n, sizes[k]), norm: norm(n) }))
  return { embeds, normCont, hidden, last: { weight: take(sizes.at(-1)), bias: take(1)[0] } }
}
export const normalize = (x, { weight, bias, mean, variance }) => Array.from(x, (v, i) => (v - mean[i])/Math.sqrt(variance[i] + EPS)*weight[i] + bias[i])
const dot = (a, b) => { let sum = 0; for (let i = 0; i < a.length; i++) sum += a[i]*b[i]; return sum }
export function forward(model, cats, scaled) {
  const embedded = cats.map((id, k) => Array.from(model.embeds[k][id])), numbers = model.normCont ? normalize(scaled, model.normCont) : []
  const input = [...embedded.flat(), ...numbers], hidden = []
  for (const { weight, norm } of model.hidden) {
    const x = hidden.at(-1)?.out ?? input, sums = weight.map(row => dot(row, x))
    hidden.push({ x, sums, out: normalize(sums.map(z => Math.max(z, 0)), norm) })
  }
  return { embedded, numbers, input, hidden, prediction: dot(model.last.weight, hidden.at(-1)?.out ?? input) + model.last.bias }
}
let latest = { weights: null }  // the last model, as long as its weights are the same
function modelOf(v) {
  if (latest.weights !== v.weights) latest = { weights: v.weights, model: unpackModel(v) }
  return latest.model
}
const scale = (v, conts) => conts.map((x, k) => (x - v.means[k])/v.stds[k])
function shown(v) {  // until something is edited, the values of the chosen row
  const own = { cats: v.cats[0].slice(0, v.cat_names.length), conts: v.conts[0].slice(0, v.cont_names.length) }, row = v.rows[v.source]
  return v.edited || !row ? own : { cats: row[0], conts: row[1] }
}
export function compute(v) {
  if (!v.weights) return { error: '`weights` must hold a model' }
  const model = modelOf(v), { cats: ids, conts: numbers } = shown(v), scaled = scale(v, numbers)
  const [cats, conts, actual] = v.rows[v.source] ?? [ids, numbers, NaN]
  return { model, scaled, ...forward(model, ids, scaled), before: forward(model, cats, scale(v, conts)).prediction, now: { cats: ids, conts: numbers }, row: { cats, conts }, actual, error: null }
}
function tidy(v) {  // until something is edited, no values of a row stand in the state, and so in the address
  const source = clamp(v.source, 0, Math.max(0, v.rows.length - 1)), [cats, conts] = v.rows[source] ?? [[], []], layer = clamp(v.layer, 1, Math.max(1, v.layers.length))
  const isId = (x, k) => Number.isInteger(x) && x <= v.vocabs[k].length, given = (own, row, fit) => row.map((x, k) => fit(own[k], k) ? own[k] : x)
  return { ...v, source, layer, unit: clamp(v.unit, 0, Math.max(0, (v.layers[layer - 1] ?? 1) - 1)),
    cats: !v.edited ? SPEC.cats.value : cats.length ? [given(v.cats[0], cats, isId)] : v.cats, conts: !v.edited ? SPEC.conts.value : conts.length ? [given(v.conts[0], conts, Number.isFinite)] : v.conts }
}

// ---- The same in Python: the page's own model, and the row with its changes
const literal = x => typeof x === 'string' ? JSON.stringify(x) : typeof x === 'boolean' ? (x ? 'True' : 'False') : x === undefined ? 'None' : String(x)
export function pythonFor(v) {
  const [cats, conts] = v.rows[v.source] ?? [[], []], index = v.indices[v.source] ?? 0, now = shown(v)
  const changes = [...v.cat_names.flatMap((name, k) => now.cats[k] === cats[k] ? [] : [`row['${name}'] = ${literal(v.vocabs[k][now.cats[k] - 1])}`]),
    ...v.cont_names.flatMap((name, k) => now.conts[k] === conts[k] ? [] : [`row['${name}'] = ${python(now.conts[k])}`])]
  return [v.setup, `row = table[${index}:${index + 1}].copy()`, ...changes, 'print(data.predict(model, row).to_numpy())'].join('\n')
}

// ---- The page
const STYLE = `
.x-app.x-app table.x-walk { width: 100%; }
.x-app.x-app table.x-walk :is(td, th) { width: auto; min-width: 0; height: 30px; padding: 1px 6px; border: 0; font-size: 12.5px; text-align: left; color: var(--x-text); background: none; font-weight: 400; white-space: nowrap; }
.x-app.x-app table.x-walk thead th { color: var(--x-muted); font-size: 12px; white-space: normal; }
.x-app.x-app table.x-walk :is(td select, td input) { width: 8.2rem; min-height: 1.7rem; height: 1.7rem; text-align: left; border: 1px solid var(--x-line); border-radius: .3rem; background: var(--x-soft); color: var(--x-text); padding: 0 .3rem; font-size: 12.5px; }
.x-app.x-app table.x-walk tr.x-changed :is(th, td select, td input) { font-weight: 700; border-color: var(--x-focus); }
@media (max-width: 500px) { .x-app.x-app table.x-walk thead { display: none; } .x-app.x-app table.x-walk tr { display: grid; grid-template-columns: 5.6rem auto 1fr; align-items: center; margin-bottom: .35rem; }
.x-app.x-app table.x-walk :is(td, th) { height: auto; min-height: 30px; }
.x-app.x-app table.x-walk td:last-child { grid-column: 1 / -1; } }
.x-app table.x-walk .x-wrong { white-space: normal; }
.x-app table.x-walk .x-field span:empty { display: none; }
.x-vector { display: inline-flex; flex-wrap: wrap; row-gap: 1px; }
.x-vector span { min-width: 30px; padding: 3px 1px; text-align: center; font-size: 10.5px; font-variant-numeric: tabular-nums; border: 1px solid var(--x-line); margin-left: -1px; }
.x-flow { display: grid; grid-template-columns: 1fr; gap: .6rem; margin: .6rem 0; }
.x-flow canvas { touch-action: pan-y; }
`
const COLUMNS = 25  // units in a row of a layer's picture
function render({ model: anywidget, el }) {
  const root = frame(el, 'A table row passing through a network')
  root.append(h('style', {}, STYLE))
  const look = theme(root, () => state.draw()), state = store(anywidget, SPEC, tidy, draw), set = changes => state.set(changes)
  let r = compute(state.values), built = ''
  const source = choice('row of the table', [], value => set({ source: Number(value), edited: false }))
  const back = h('button', { type: 'button', onclick: () => set({ edited: false }) }, 'Undo all changes')
  const table = h('div', { class: 'x-wide' }), read = readout(), spelled = h('p', { class: 'x-spelled' }), facts = h('p', { class: 'x-facts' }), code = pythonButton(() => pythonFor(state.values))
  const flow = h('div', { class: 'x-flow' })
  root.append(h('div', { class: 'x-row' }, source.el, back), table, read.el, flow, spelled, facts, code.el)
  let lines = [], input, maps = []
  const put = (key, k, value) => {
    const { cats, conts } = shown(state.values), now = { cats: cats.length ? [cats] : [[0]], conts: conts.length ? [conts] : [[0]] }
    set({ ...now, edited: true, [key]: [now[key][0].map((x, i) => i === k ? value : x)] })
  }
  const rowsOf = x => Array.from({ length: Math.ceil(x.length/COLUMNS) }, (_, i) => Array.from({ length: Math.min(COLUMNS, x.length) }, (_, j) => x[i*COLUMNS + j] ?? 0))

  function build(v) {
    const cats = v.cat_names.map((name, k) => {
      const control = h('select', { 'aria-label': name, onchange: () => put('cats', k, Number(control.value)) }, ['#na#', ...v.vocabs[k]].map((level, id) => h('option', { value: id }, String(level))))
      return { name, k, kind: 'cats', control, set: id => { control.value = id } }
    })
    const conts = v.cont_names.map((name, k) => {
      const box = numberBox('', { ...SPEC.conts, real: true }, x => put('conts', k, x), { type: 'text', inputmode: 'decimal', autocomplete: 'off', 'aria-label': name })
      return { name, k, kind: 'conts', control: box.el, set: box.show }
    })
    lines = [...cats, ...conts].map(line => ({ ...line, as: h('td'), vector: h('td') }))
    for (const line of lines) line.el = h('tr', {}, h('th', { scope: 'row' }, line.name), h('td', {}, line.control), line.as, line.vector)
    table.replaceChildren(h('table', { class: 'x-walk' }, h('thead', {}, h('tr', {}, ['column', 'value', 'ID or standardized value', 'embedding vector, or value after batch normalization'].map(text => h('th', { scope: 'col' }, text)))), h('tbody', {}, lines.map(line => line.el))))
    input = heatmap('input', { point: () => {}, key: () => {} })
    maps = v.layers.map((n, k) => heatmap(`layer ${k + 1}`, {
      point: (row, col) => set({ layer: k + 1, unit: Math.min(n - 1, row*COLUMNS + col) }),
      key: event => {
        const { layer, unit } = state.values, now = layer === k + 1 ? unit : 0, to = moved(event, [Math.floor(now/COLUMNS), now%COLUMNS], Math.ceil(n/COLUMNS), Math.min(COLUMNS, n))
        if (to) set({ layer: k + 1, unit: Math.min(n - 1, to[0]*COLUMNS + to[1]) })
      },
    }))
    flow.replaceChildren(input.el, ...maps.map(map => map.el))
    input.canvas.tabIndex = -1
    input.canvas.setAttribute('role', 'img')
  }
  const vector = (x, range) => h('span', { class: 'x-vector' }, x.map(value => {
    const shade = look.signed(value/range)
    return h('span', { style: `background: ${rgb(shade)}; color: ${rgb(look.on(shade))}` }, fmt(value))
  }))
  function draw() {
    if (!look.colors.zero) return
    const v = state.values, colors = look.colors
    r = compute(v)
    code.draw()
    if (r.error) { read.say(r.error); return }
    const shape = JSON.stringify([v.cat_names, v.cont_names, v.names, v.layers])
    if (shape !== built) { build(v); source.control.replaceChildren(...v.names.map((name, i) => h('option', { value: i }, name))); built = shape }
    source.show(v.source)
    let changed = 0
    for (const line of lines) {
      const { k, kind } = line, value = r.now[kind][k], isChanged = value !== r.row[kind][k]
      line.set(value)
      line.as.textContent = kind === 'cats' ? `ID ${value}` : fmt(r.scaled[k])
      line.vector.replaceChildren(kind === 'cats' ? vector(r.embedded[k], .5) : vector([r.numbers[k]], 2))
      line.el.classList.toggle('x-changed', isChanged)
      changed += isChanged
    }
    back.disabled = !changed
    const top = x => x.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9)
    input.draw([r.input], x => look.signed(x), { label: `The input of the network: ${r.input.length} numbers`, heading: `concatenated: ${v.dims.join(' + ')}${v.dims.length && v.cont_names.length ? ' + ' : ''}${v.cont_names.length || ''} = ${r.input.length} numbers`, colors })
    r.hidden.forEach(({ out }, n) => {
      const most = top(out), own = n + 1 === v.layer
      maps[n].draw(rowsOf(out), x => look.signed(x/most), { label: `Layer ${n + 1}: ${out.length} units after ReLU and batch normalization. Arrow keys select a unit`, heading: `layer ${n + 1}: ${out.length} units, after ReLU and batch normalization`, frames: own ? [[Math.floor(v.unit/COLUMNS), v.unit%COLUMNS, 1, 1]] : [], colors })
    })
    const people = x => v.count_of ? ` (${short(Math.exp(x), 0)} ${v.count_of})` : ''
    read.say(`Predicted ${v.target}: ${fmt(r.prediction)}${people(r.prediction)}${changed ? `. Before your ${changed === 1 ? 'change' : `${changed} changes`}: ${fmt(r.before)}${people(r.before)}` : ''}. In the table: ${fmt(r.actual)}${people(r.actual)}.`)
    const unit = r.hidden[v.layer - 1]
    if (unit) {
      const z = unit.sums[v.unit], norm = r.model.hidden[v.layer - 1].norm, [weight, bias, mean, variance] = ['weight', 'bias', 'mean', 'variance'].map(name => norm[name][v.unit]), long = x => fmt(x, 4), factor = x => long(x).startsWith('−') ? `(${long(x)})` : long(x)
      const products = Array.from(r.model.hidden[v.layer - 1].weight[v.unit], (w, i) => `${factor(w)}·${factor(unit.x[i])}`)
      spelled.replaceChildren(...[`Unit ${v.unit + 1} of layer ${v.layer}, ${unit.x.length} weights times ${unit.x.length} inputs:`, `${products.slice(0, 3).join(' + ')} + … + ${products.at(-1)} = ${long(z)}`, `ReLU: ${long(Math.max(z, 0))}`,
        `batch normalization: (${long(Math.max(z, 0))} − ${factor(mean)})/√(${long(variance)} + 0.00001)·${factor(weight)} + ${factor(bias)} = ${long(unit.out[v.unit])}`].map(line => h('span', {}, line)))
    }
    const sizes = [r.input.length, ...v.layers, 1], weights = sizes.slice(1).reduce((sum, n, i) => sum + n*sizes[i], 0)
    facts.textContent = `${sizes.join(' → ')}: ${weights.toLocaleString('en-US')} weights in the linear layers. The output layer multiplies the ${sizes.at(-2)} units of layer ${v.layers.length} by its weights, sums, and adds ${fmt(r.model.last.bias)}.`
  }
  look.start()
  return () => { look.stop(); state.stop() }
}
export default { render }
