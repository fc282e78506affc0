// Films ranked by bias, by mean rating and by shrunken mean: `lesson8lib.interpret`'s `bias_table`, `top_bias` and `bottom_bias`
// uses points.js
const SPEC = {
  "titles": {"value": ["Alien (1979)", "Aliens (1986)", "Clue (1985)", "Emma (1996)", "Psycho (1960)", "Sabrina (1995)"], "fixed": true},
  "ratings": {"value": [400, 120, 9, 60, 3, 1], "fixed": true},
  "means": {"value": [4.2, 3.6, 4.4, 3.1, 5, 1], "fixed": true},
  "biases": {"value": [0.5, 0.1, 0.2, -0.3, 0.05, -0.02], "fixed": true},
  "mu": {"value": 3.5, "real": true, "fixed": true},
  "setup": {"value": "", "fixed": true},
  "film": {"value": 0, "low": 0, "high": 9999},
  "min_ratings": {"value": 0, "low": 0, "high": 500},
  "shrink": {"value": 0, "low": 0, "high": 500},
  "sort": {"value": "bias", "choices": ["bias", "residual", "ratings", "mean", "shrunken"]},
  "descending": {"value": true}
}

// ---- Maths: pure functions, tested against `lesson8lib.interpret` and pandas
export const shrunken = (mean, n, mu, k) => k ? (n*mean + k*mu)/(n + k) : mean  // as if k more ratings were average
export function line(x, y) {  // least squares: slope, intercept and the correlation
  const [mx, my] = [x, y].map(v => v.reduce((a, b) => a + b, 0)/v.length)
  const product = (a, b, ma, mb) => a.reduce((sum, v, i) => sum + (v - ma)*(b[i] - mb), 0)
  const xx = product(x, x, mx, mx), yy = product(y, y, my, my), xy = product(x, y, mx, my), slope = xx ? xy/xx : 0
  return { slope, intercept: my - slope*mx, correlation: xx && yy ? xy/Math.sqrt(xx*yy) : NaN }
}
export function enough(ratings, least) {  // the films with at least so many ratings, or an error
  const kept = ratings.map((_, i) => i).filter(i => ratings[i] >= least), most = Math.max(...ratings)
  if (!kept.length) throw new RangeError(`\`min_ratings\` must leave at least one item, got ${least} where no item has more than ${most}`)
  return kept
}
export const ranked = (values, descending) => values.map((_, i) => i).sort((i, j) => (descending ? values[j] - values[i] : values[i] - values[j]) || i - j)
export function compute(v) {
  try {
    const kept = enough(v.ratings, v.min_ratings), shrunk = kept.map(i => shrunken(v.means[i], v.ratings[i], v.mu, v.shrink)), bias = kept.map(i => v.biases[i])
    const fit = line(shrunk, bias), films = kept.map((film, i) => ({
      film, bias: bias[i], residual: bias[i] - fit.slope*shrunk[i] - fit.intercept, ratings: v.ratings[film], mean: v.means[film], shrunken: shrunk[i],
    }))
    const order = (key, descending = true) => ranked(films.map(f => f[key]), descending).map(i => films[i])
    return { films, order: order(v.sort, v.descending), byBias: order('bias'), byShrunken: order('shrunken'), fit, error: null }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return { films: [], order: [], byBias: [], byShrunken: [], fit: null, error: error.message }
  }
}
export function tidy(v) {
  return { ...v, film: Math.min(v.film, v.titles.length - 1), min_ratings: Math.max(v.min_ratings, Math.min(...v.ratings)) }
}

// ---- The same in Python
function invented(v) {
  const column = (name, values) => `    '${name}': [${wrapped(values.map(String), name.length + 9)}]`
  return ['import pandas as pd', '', `titles = [${wrapped(v.titles.map(quoted), 10)}]`,
    'table = pd.DataFrame({', `${[column('bias', v.biases), column('ratings', v.ratings), column('mean', v.means)].join(',\n')}}, titles)`, `mu = ${v.mu}`].join('\n')
}
export function pythonFor(v) {
  const library = v.setup && v.sort === 'bias', pick = v.descending ? 'top_bias' : 'bottom_bias'
  return [v.setup || invented(v), ...library ? [`from lesson8lib.interpret import ${pick}`] : [], 'import numpy as np', '', `table = table[table.ratings >= ${v.min_ratings}]`,
    `k = ${v.shrink}`, "shrunken = (table.ratings*table['mean'] + k*mu)/(table.ratings + k)",
    'slope, intercept = np.polyfit(shrunken, table.bias, 1)', 'residual = table.bias - slope*shrunken - intercept',
    'table = table.assign(shrunken=shrunken, residual=residual)', 'print(table.bias.corr(table.shrunken))',
    ...library ? [`print(${pick}(model, data, n=10, min_ratings=${v.min_ratings}))`] : [`print(table.${v.descending ? 'nlargest' : 'nsmallest'}(10, '${v.sort}').to_string())`],
    ...v.ratings[v.film] >= v.min_ratings ? [`print(table.loc[${quoted(v.titles[v.film])}])`] : []].join('\n')
}

// ---- The page
const STYLE = `
.x-app .x-bias_ranking-slider input { width: 11rem; padding: 0; accent-color: var(--x-focus); }
.x-app.x-app .x-bias_ranking-list th button { background: none; border-color: transparent; padding: 0 .1rem; font-size: inherit; font-weight: 600; text-align: right; min-height: 1.75rem; text-decoration: underline dotted; text-underline-offset: .2em; }
.x-app.x-app .x-bias_ranking-plain :is(th, td):last-child { display: none; }
.x-app.x-app .x-bias_ranking-list th button:hover { border-color: var(--x-line); }
`
function slider(label, low, high, change) {
  const input = h('input', { type: 'range', min: low, max: high, step: 1, oninput: () => change(Number(input.value)) }), now = h('span')
  return { el: h('label', { class: 'x-field x-bias_ranking-slider' }, h('span', {}, `${label}: `, now), input), show: value => { input.value = value; now.textContent = value } }
}
const COLUMNS = [['bias', 'bias'], ['residual', 'residual'], ['ratings', 'ratings'], ['mean', 'mean'], ['shrunken', 'shrunken']]
function render({ model, el }) {
  const root = frame(el, 'Films by bias and by mean rating')
  root.append(h('style', {}, POINTS_STYLE + STYLE))
  const look = theme(root, () => state.draw())
  const state = store(model, SPEC, tidy, draw)
  const set = changes => { state.set(changes) }
  let r = compute(state.values)
  const { titles, ratings, means, biases } = state.values

  const find = search('find a film', titles, film => set({ film }))
  const least = slider('minimum number of ratings', Math.min(...ratings), Math.max(...ratings), value => set({ min_ratings: value }))
  const shrink = slider('average ratings added (shrinkage)', 0, SPEC.shrink.high, value => set({ shrink: value }))
  root.append(h('div', { class: 'x-row' }, find.el, least.el, shrink.el))

  const plot = pointPlot('Bias against mean rating', i => set({ film: r.films[i].film }), () => state.draw()), read = readout(), facts = h('p', { class: 'x-facts' })
  const sorts = COLUMNS.map(([key, text]) => h('button', { type: 'button', onclick: () => set(state.values.sort === key ? { descending: !state.values.descending } : { sort: key, descending: true }) }, text))
  const list = listing('', ['film', ...sorts], i => set({ film: shown()[i].film })), code = pythonButton(() => pythonFor(state.values))
  list.el.classList.add('x-bias_ranking-list')
  root.append(plot.el, read.el, facts, list.el, code.el)

  const rankIn = (order, film) => order.findIndex(f => f.film === film) + 1
  function shown() {  // the first ten, and the chosen film
    const first = r.order.slice(0, 10), own = r.order.find(f => f.film === state.values.film)
    return !own || first.includes(own) ? first : [...first, own]
  }
  const ends = values => [Math.min(...values), Math.max(...values)]
  function draw() {
    if (!look.colors.zero) return
    const v = state.values
    r = compute(v)
    for (const [control, value] of [[find, v.film], [least, v.min_ratings], [shrink, v.shrink]]) control.show(value)
    sorts.forEach((button, i) => {
      const [key, text] = COLUMNS[i], own = key === v.sort
      button.textContent = own ? `${text} ${v.descending ? '▼' : '▲'}` : text
      button.setAttribute('aria-label', `${text}: sort by ${key === 'shrunken' ? 'the shrunken mean' : key === 'residual' ? 'the height above the line' : text}`)
      button.parentElement.setAttribute('aria-sort', own ? (v.descending ? 'descending' : 'ascending') : 'none')
    })
    const rows = shown(), at = r.films.findIndex(f => f.film === v.film), bounds = [ends(means), ends(biases)]
    const across = ends(r.films.map(f => f.shrunken))
    plot.draw({
      points: r.films.map(f => [f.shrunken, f.bias, 'x-dot', 2 + Math.sqrt(f.ratings)/4]), names: r.films.map(f => titles[f.film]), chosen: at, bounds,
      rings: [...rows.filter(f => f.film !== v.film).map(f => [r.films.indexOf(f), 'x-near']), ...at < 0 ? [] : [[at, 'x-here']]],
      labels: [...at < 0 ? [] : [[at, plain(titles[v.film]), 'x-strong']], ...rows.filter(f => f.film !== v.film).map(f => [r.films.indexOf(f), plain(titles[f.film]), ''])],
      lines: r.fit ? [[...across.flatMap(x => [x, r.fit.slope*x + r.fit.intercept]), 'x-fit']] : [],
      titles: [v.shrink ? `shrunken mean rating, ${v.shrink} average ratings added` : 'mean rating', 'bias'],
      describe: `${r.films.length} films. Arrow keys select the nearest film in that direction`,
    })
    code.draw()
    list.el.classList.toggle('x-bias_ranking-plain', !v.shrink && v.sort !== 'shrunken')  // the shrunken mean is the mean
    list.draw(rows.map(f => [`${rankIn(r.order, f.film)}. ${titles[f.film]}`, fmt(f.bias), fmt(f.residual), String(f.ratings), fmt(f.mean), fmt(f.shrunken)]), {
      heading: `Sorted by ${v.sort === 'shrunken' ? 'shrunken mean' : v.sort === 'mean' ? 'mean rating' : v.sort === 'ratings' ? 'number of ratings' : v.sort}, ${v.descending ? 'highest' : 'lowest'} first`, chosen: i => rows[i].film === v.film })
    if (r.error) { read.say(r.error); facts.textContent = ''; return }
    const own = r.films[at], of = ` of ${r.films.length}`
    read.say(own ? `${titles[v.film]}: bias ${fmt(own.bias)}, rank ${rankIn(r.byBias, v.film)}${of}; `
      + `${v.shrink ? 'shrunken mean' : 'mean rating'} ${fmt(own.shrunken)}, rank ${rankIn(r.byShrunken, v.film)}${of}.` : `${titles[v.film]} has only ${v.ratings[v.film]} ratings.`)
    facts.textContent = `${r.films.length} films; the correlation between bias and ${v.shrink ? 'shrunken mean' : 'mean rating'} is ${Number.isNaN(r.fit.correlation) ? 'not defined' : fmt(r.fit.correlation, 3)}. `
      + (own ? `${plain(titles[v.film])} is ${fmt(Math.abs(own.residual))} ${own.residual < 0 ? 'below' : 'above'} the regression line.` : '')
  }
  look.start()
  return () => { look.stop(); state.stop(); plot.stop() }
}
export default { render }
