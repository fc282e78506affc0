// A spreadsheet of ratings, alive: `collab.DotProduct` and `collab.DotProductBias`, and steps of gradient descent on all of their parameters
const SPEC = {
  "people": {"value": ["Ann", "Dan"], "fixed": true},
  "films": {"value": ["Alien", "Casablanca"], "fixed": true},
  "ratings": {"value": [[5, 2], [0, 5]], "kind": "matrix", "size": 20, "low": 0, "high": 5},
  "users": {"value": [[0.9, 0.8, -0.5], [-0.7, -0.2, 0.9]], "kind": "matrix", "size": 20, "low": -99, "high": 99},
  "items": {"value": [[1, 0.6, -0.1], [-1, -0.3, 0.9]], "kind": "matrix", "size": 20, "low": -99, "high": 99},
  "user_bias": {"value": [[0.2, -0.3]], "kind": "matrix", "size": 20, "low": -99, "high": 99},
  "item_bias": {"value": [[3.3, 3.4]], "kind": "matrix", "size": 20, "low": -99, "high": 99},
  "factors": {"value": 5, "low": 1, "high": 5},
  "biases": {"value": true},
  "range": {"value": false},
  "lr": {"value": 0.1, "real": true, "low": 0, "high": 100},
  "steps": {"value": 0, "low": 0, "high": 500},
  "row": {"value": 0, "low": 0, "high": 19},
  "col": {"value": 0, "low": 0, "high": 19},
  "show": {"value": "predictions", "choices": ["predictions", "ratings", "errors"]}
}
const RANGE = [0, 5.5], HUGE = 1e6  // an RMSE above it has diverged

// ---- Maths: pure functions, tested against the library's models and `training.sgd_step`
const resize = (x, rows, cols) => Array.from({ length: rows }, (_, i) => Array.from({ length: cols }, (_, j) => x[i]?.[j] ?? 0))
const total = x => x.reduce((sum, v) => sum + v, 0)
export function dot(a, b) { let sum = 0; for (let f = 0; f < a.length; f++) sum += a[f]*b[f]; return sum }
const inRange = z => RANGE[0] + (RANGE[1] - RANGE[0])/(1 + Math.exp(-z))
export function predictions({ users, items, userBias, itemBias }, range) {  // a row for each user, a column for each item
  return users.map((u, i) => items.map((w, j) => { const z = dot(u, w) + (userBias ? userBias[i] + itemBias[j] : 0); return range ? inRange(z) : z }))
}
const known = ratings => ratings.flatMap((row, i) => row.flatMap((r, j) => r ? [[i, j]] : []))
export function rmse(predicted, ratings) {
  const pairs = known(ratings)
  return Math.sqrt(total(pairs.map(([i, j]) => (predicted[i][j] - ratings[i][j])**2))/pairs.length)
}
// One step of gradient descent on the MSE of the known ratings
export function step(model, ratings, range, lr) {
  const predicted = predictions(model, range), n = known(ratings).length, [low, high] = RANGE
  // of the loss, with respect to each sum before the sigmoid; a gap has none
  const gradient = predicted.map((row, i) => row.map((p, j) => ratings[i][j] ? 2*(p - ratings[i][j])/n*(range ? (p - low)*(high - p)/(high - low) : 1) : 0))
  const ofItems = ratings[0].map((_, j) => gradient.map(row => row[j])), { users, items, userBias, itemBias } = model
  const move = (own, others, gradients) => own.map((vector, i) => vector.map((w, f) => { let g = 0; for (let j = 0; j < others.length; j++) g += gradients[i][j]*others[j][f]; return w - lr*g }))
  const shift = (bias, gradients) => bias && bias.map((b, i) => b - lr*total(gradients[i]))
  return { users: move(users, items, gradient), items: move(items, users, ofItems), userBias: shift(userBias, gradient), itemBias: shift(itemBias, ofItems) }
}
// All that is shown, from the state
export function compute(v) {
  if (v.steps && v.lr <= 0) return { error: `\`lr\` must be a finite number greater than 0, got ${v.lr}` }
  const used = rows => rows.map(row => row.slice(0, v.factors))
  let model = { users: used(v.users), items: used(v.items), userBias: v.biases ? v.user_bias[0] : null, itemBias: v.biases ? v.item_bias[0] : null }
  const first = rmse(predictions(model, v.range), v.ratings)
  for (let i = 0; i < v.steps; i++) model = step(model, v.ratings, v.range, v.lr)
  const predicted = predictions(model, v.range)
  const now = rmse(predicted, v.ratings)  // without ratings there is none
  return { model, predicted, first, rmse: now, diverged: now > HUGE || !predicted.flat().every(Number.isFinite), error: null }
}
function tidy(v) {  // every matrix has the sizes of the lists of names
  const n = v.people.length, m = v.films.length, width = v.users[0].length
  return { ...v, ratings: resize(v.ratings, n, m), users: resize(v.users, n, width), items: resize(v.items, m, width), user_bias: resize(v.user_bias, 1, n), item_bias: resize(v.item_bias, 1, m),
    factors: Math.min(v.factors, width), row: clamp(v.row, 0, n - 1), col: clamp(v.col, 0, m - 1) }
}

// ---- The same in Python
export function pythonFor(v) {
  const lines = row => Array.from({ length: Math.ceil(row.length/8) }, (_, i) => row.slice(8*i, 8*i + 8).join(', ')).join(',\n     ')
  const rows = x => `torch.tensor([\n${x.map(row => `    [${row.every(Number.isInteger) ? row.join(', ') : lines(row)}],`).join('\n')}\n], dtype=torch.float64)`
  const name = v.biases ? 'DotProductBias' : 'DotProduct', used = x => x.map(row => row.slice(0, v.factors))
  return ['import torch', `from lesson8lib.collab import ${name}`, 'from lesson8lib.training import sgd_step', '',
    `ratings = ${rows(v.ratings)}`, 'x, y = ratings.nonzero(), ratings[ratings > 0]  # 0 is a gap', `sizes = ${v.people.length}, ${v.films.length}, ${v.factors}`,
    `model = ${name}(*sizes, y_range=${v.range ? `(${RANGE.join(', ')})` : 'None'}).double()`,
    `model.user_factors.data = ${rows(used(v.users))}`, `model.item_factors.data = ${rows(used(v.items))}`,
    ...v.biases ? [`model.user_bias.data = ${rows(v.user_bias)}[0]`, `model.item_bias.data = ${rows(v.item_bias)}[0]`] : [],
    `for _ in range(${v.steps}):`, '    (model(x) - y).square().mean().backward()', `    sgd_step(model.parameters(), lr=${v.lr})`,
    `pair = torch.tensor([[${v.row}, ${v.col}]])  # ${v.people[v.row]}, ${v.films[v.col]}`, 'print((model(x) - y).square().mean().sqrt().item(), model(pair).item())'].join('\n')
}

// ---- The page
const STYLE = `
.x-app.x-app table.x-ratings :is(td, th) { width: 29px; min-width: 29px; height: 26px; padding: 0; font-size: 11px; font-weight: 400; border: 1px solid var(--x-line); color: var(--x-text); background: none; text-align: center; }
.x-app.x-app table.x-ratings th[scope=row] { width: auto; text-align: right; padding: 0 .35rem; white-space: nowrap; border: 0; }
.x-app.x-app table.x-ratings tbody th { position: sticky; left: -3px; z-index: 1; background: var(--x-zero); }
.x-app.x-app table.x-ratings th[scope=col] { border: 0; vertical-align: bottom; }
.x-app.x-app table.x-ratings .x-film { height: 5.6rem; }
.x-film span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; max-height: 5.5rem; overflow: hidden; }
.x-app.x-app table.x-ratings td.x-none { border: 0; }
.x-app.x-app table.x-ratings td.x-number { width: 37px; min-width: 37px; }
.x-app.x-app table.x-ratings td.x-factor-of-film { min-width: 29px; width: 29px; }
.x-app.x-app table.x-ratings td input { height: 25px; font-size: 10.5px; width: 100%; }
.x-app.x-app table.x-ratings td.x-gap { font-style: italic; border-style: dotted; }
.x-app.x-app table.x-ratings td[tabindex] { cursor: pointer; }
.x-app.x-app table.x-ratings td:focus-visible { outline-offset: -3px; }
`
const tidyNumber = x => Number(x.toPrecision(6))
function render({ model: anywidget, el }) {
  const root = frame(el, 'A table of ratings, its factors and its predictions')
  root.append(h('style', {}, STYLE))
  const look = theme(root, () => state.draw()), state = store(anywidget, SPEC, tidy, draw)
  let r = compute(state.values), timer = null, built = '', cells = {}
  const set = changes => { stop(); state.set(changes) }

  // controls
  const button = (label, onclick) => h('button', { type: 'button', onclick }, label)
  const factors = count('latent factors', SPEC.factors, value => set({ factors: value })), steps = count('step', SPEC.steps, value => set({ steps: value }))
  const biases = toggle('biases', value => set({ biases: value })), range = toggle('sigmoid, 0 to 5.5', value => set({ range: value }))
  const lr = real('learning rate', SPEC.lr, value => set({ lr: value }))
  const show = choice('show', SPEC.show.choices.map(c => [c, c]), value => set({ show: value }))
  const rate = choice('rating of the selected pair', [[0, 'none'], ...[1, 2, 3, 4, 5].map(n => [n, n])], value => rating(Number(value)))
  const play = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => timer ? stop() : go() }, 'Run')
  const forward = () => { if (state.values.steps < SPEC.steps.high && !r.error && !r.diverged) state.set({ steps: state.values.steps + 1 }); else stop() }
  function go() { timer = setInterval(() => { if (root.isConnected) forward(); else stop() }, calm() ? 500 : 80); pressed() }
  function stop() { clearInterval(timer); timer = null; pressed() }
  function pressed() { play.textContent = timer ? 'Pause' : 'Run'; play.setAttribute('aria-pressed', String(Boolean(timer))) }
  const place = h('div', { class: 'x-wide' }), read = readout(), facts = h('p', { class: 'x-facts' }), spelled = h('p', { class: 'x-spelled' }), code = pythonButton(() => pythonFor(state.values))
  root.append(h('div', { class: 'x-row' }, factors.el, biases.el, range.el, lr.el, show.el, rate.el),
    h('div', { class: 'x-row' }, steps.el, button('Step', () => { stop(); forward() }), play, button('Back to step 0', () => set({ steps: 0 }))), place, read.el, spelled, facts, code.el)

  // changes: of a rating, or of a factor or bias, from which gradient descent then starts anew
  const changed = (x, i, j, value) => x.map((row, a) => row.map((w, b) => a === i && b === j ? value : w))
  function rating(value) { const { ratings, row, col } = state.values; set({ ratings: changed(ratings, row, col, value) }) }
  function edit(key, i, j, value) {
    if (!fits(SPEC[key], [[value]]) || r.error) return
    const { values } = state, { users, items, userBias, itemBias } = r.model
    const now = (before, x) => r.diverged ? before : before.map((row, a) => row.map((w, f) => clamp(tidyNumber(x[a][f] ?? w), -99, 99)))
    const start = { users: now(values.users, users), items: now(values.items, items), ...userBias && { user_bias: now(values.user_bias, [userBias]), item_bias: now(values.item_bias, [itemBias]) } }
    set({ ...start, [key]: changed(start[key], i, j, value), steps: 0 })
  }

  // the table: film factors above, user factors on the left, a cell for each pair
  function build(v) {
    const k = v.factors, width = k + Number(v.biases), names = [...Array.from({ length: k }, (_, f) => `factor ${f}`), ...v.biases ? ['bias'] : []]
    const box = (label, change) => {
      const input = h('input', { type: 'text', inputmode: 'decimal', autocomplete: 'off', 'aria-label': label })
      input.addEventListener('input', () => { const x = readNumber(input.value); if (Number.isFinite(x)) change(x) })
      input.addEventListener('blur', () => { input.value = input.dataset.now })
      return input
    }
    const films = names.map((name, f) => v.films.map((film, j) => box(`${film}, ${name}`, x => f < k ? edit('items', j, f, x) : edit('item_bias', 0, j, x))))
    const people = v.people.map((person, i) => names.map((name, f) => box(`${person}, ${name}`, x => f < k ? edit('users', i, f, x) : edit('user_bias', 0, i, x))))
    const pairs = v.people.map((_, i) => v.films.map((_, j) => h('td', {
      onclick: event => { event.currentTarget.focus(); state.set({ row: i, col: j }) },
      onkeydown: event => {
        if (event.ctrlKey || event.metaKey || event.altKey || !(/^[0-5]$/.test(event.key) || ['Delete', 'Backspace'].includes(event.key))) return
        event.preventDefault()
        state.set({ row: i, col: j })
        rating(Number(event.key) || 0)
      },
    })))
    const none = n => n ? [h('td', { class: 'x-none', colspan: n })] : [], head = text => h('th', { scope: 'row' }, text)
    place.replaceChildren(h('table', { class: 'x-ratings' },
      h('thead', {}, h('tr', {}, none(1 + width), v.films.map(film => h('th', { scope: 'col', class: 'x-film' }, h('span', {}, film)))),
        films.map((row, f) => h('tr', {}, none(width - 1), h('th', { scope: 'row', colspan: 2 }, names[f]), row.map(input => h('td', { class: 'x-factor-of-film' }, input)))),
        h('tr', {}, none(1), names.map(name => h('th', { scope: 'col' }, name)), none(v.films.length))),
      h('tbody', {}, people.map((row, i) => h('tr', {}, head(v.people[i]), row.map(input => h('td', { class: 'x-number' }, input)), pairs[i])))))
    roving(films)
    roving(people)
    roving(pairs, (i, j) => state.set({ row: i, col: j }))  // while it runs, too
    cells = { films, people, pairs }
  }
  function put(input, value) {
    const back = r.diverged ? look.colors.zero : look.signed(value/2.5), text = r.diverged ? '' : fmt(value, Math.abs(value) < .995 ? 2 : 1).replace(/^(−?)0\./, '$1.')
    input.dataset.now = text
    if (document.activeElement !== input || Math.abs(readNumber(input.value) - value) > 5e-7) input.value = text
    input.parentElement.style.background = rgb(back)
    input.style.color = rgb(look.on(back))
  }
  function draw() {
    if (!look.colors.zero) return
    const v = state.values
    r = compute(v)
    for (const [control, value] of [[factors, v.factors], [steps, v.steps], [lr, v.lr], [biases, v.biases], [range, v.range], [show, v.show], [rate, v.ratings[v.row][v.col]]]) control.show(value)
    code.draw()
    if (r.error) { stop(); read.say(r.error); spelled.textContent = facts.textContent = ''; return }
    const shape = `${v.factors} ${v.biases} ${v.people.length} ${v.films.length}`
    if (shape !== built) { build(v); built = shape }
    const { users, items, userBias, itemBias } = r.model
    cells.films.forEach((row, f) => row.forEach((input, j) => put(input, f < v.factors ? items[j][f] : itemBias[j])))
    cells.people.forEach((row, i) => row.forEach((input, f) => put(input, f < v.factors ? users[i][f] : userBias[i])))
    cells.pairs.forEach((row, i) => row.forEach((cell, j) => {
      const rated = v.ratings[i][j], p = r.predicted[i][j], value = r.diverged && v.show !== 'ratings' ? null : v.show === 'predictions' ? p : !rated ? null : v.show === 'ratings' ? rated : p - rated
      const back = value === null ? look.colors.zero : look.signed(v.show === 'errors' ? value/2.5 : (value - 3)/3)
      Object.assign(cell.style, { background: rgb(back), color: rgb(look.on(back)) })
      cell.textContent = value === null ? '' : v.show === 'ratings' ? short(value) : fmt(value, 1)
      cell.className = `${rated ? '' : 'x-gap'}${i === v.row && j === v.col ? ' x-marked' : ''}`
      cell.setAttribute('aria-label', `${v.people[i]}, ${v.films[j]}: ${r.diverged ? '' : `predicted ${fmt(p, 1)}, `}${rated ? `rated ${short(rated)}` : 'not rated'}`)
    }))
    const { row, col } = v, n = known(v.ratings).length, rated = v.ratings[row][col], p = r.predicted[row][col], factor = x => x < 0 ? `(${fmt(x)})` : fmt(x)
    if (r.diverged) { stop(); read.say('The loss has diverged: use a smaller learning rate.'); spelled.textContent = '' }
    else {
      read.say(`Step ${v.steps}: ${n ? `the RMSE on ${n} ratings is ${fmt(r.rmse, 3)}${v.steps ? ` (${fmt(r.first, 3)} at step 0)` : ''}` : 'there are no ratings'}. ${v.people[row]}, ${v.films[col]}: predicted ${fmt(p)}, ${rated ? `rated ${short(rated)}, error ${fmt(p - rated)}` : 'not rated'}.`, Boolean(timer))
      const z = dot(users[row], items[col]) + (userBias ? userBias[row] + itemBias[col] : 0), sum = users[row].map((u, f) => `${factor(u)}·${factor(items[col][f])}`).join(' + ') + (userBias ? ` + ${factor(userBias[row])} + ${factor(itemBias[col])}` : '')
      spelled.replaceChildren(h('span', {}, `${sum} = ${fmt(z)}`), ...v.range ? [h('span', {}, `0 + 5.5·sigmoid(${fmt(z)}) = ${fmt(p)}`)] : [])
    }
    const pairs = v.people.length*v.films.length, size = (v.people.length + v.films.length)*(v.factors + Number(v.biases))
    facts.textContent = `${size} parameters, ${n} ratings. ${n < pairs ? `The ${pairs - n} of ${pairs} pairs without a rating (dotted, italic) do not affect the loss. ` : ''}In a cell, type 1 to 5 to rate, 0 to clear.`
  }
  look.start()
  return () => { clearInterval(timer); look.stop(); state.stop() }
}
export default { render }
