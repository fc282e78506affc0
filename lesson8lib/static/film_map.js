// A map of films by the principal components of their factors, and the neighbors of one: `lesson8lib.interpret`'s `pca` and `nearest`
// uses points.js
const SPEC = {
  "titles": {"value": ["Alien (1979)", "Aliens (1986)", "Clue (1985)", "Emma (1996)", "Psycho (1960)", "Sabrina (1995)"], "fixed": true},
  "ratings": {"value": [0, 0, 0, 0, 0, 0], "fixed": true},
  "means": {"value": [], "fixed": true},
  "genres": {"value": [], "fixed": true},
  "genres_of": {"value": [], "fixed": true},
  "factors": {"value": "f16:2x6x3:MzsAOAC0ADoANAC4ALgAOgA0ALoAOAA4ADQAvAAwALQAugC4ADgAuwA0ADQAugA4ADoAOAC0ADgAOgC5ALwAMAAAALoAtAA4", "kind": "array", "bits": 16, "fixed": true},
  "min_ratings": {"value": 0, "low": 0, "high": 9999, "fixed": true},
  "setup": {"value": "", "fixed": true},
  "film": {"value": 0, "low": 0, "high": 9999},
  "x": {"value": 1, "low": 1, "high": 10},
  "y": {"value": 2, "low": 1, "high": 10},
  "run": {"value": 0, "low": 0, "high": 9},
  "metric": {"value": "cosine", "choices": ["cosine", "euclidean"]},
  "n": {"value": 8, "low": 1, "high": 15},
  "color": {"value": "nothing"}
}

// ---- Maths: pure functions, tested against `lesson8lib.interpret`
const dot = (a, b) => a.reduce((sum, x, i) => sum + x*b[i], 0)
const norm = a => Math.sqrt(dot(a, a))
const average = x => x.reduce((sum, v) => sum + v, 0)/x.length
const columnMeans = rows => rows[0].map((_, j) => average(rows.map(row => row[j])))
// Eigenvalues and eigenvectors (rows) of a symmetric matrix, by Jacobi's rotations: each makes one pair of entries zero
function rotate(x, y, c, s) {  // two rows, in place
  for (let k = 0; k < x.length; k++) {
    const u = x[k], v = y[k]
    x[k] = c*u - s*v
    y[k] = s*u + c*v
  }
}
export function eigen(matrix) {
  const d = matrix.length, a = matrix.map(row => Float64Array.from(row)), vectors = a.map((_, i) => Float64Array.from(a, (_, j) => Number(i === j)))
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0, on = 0
    for (let p = 0; p < d; p++) for (let q = p; q < d; q++) if (p === q) on += a[p][q]**2; else off += a[p][q]**2
    if (off <= 1e-30*on) break
    for (let p = 0; p < d; p++) for (let q = p + 1; q < d; q++) {
      if (!a[p][q]) continue
      const theta = (a[q][q] - a[p][p])/(2*a[p][q]), t = (theta < 0 ? -1 : 1)/(Math.abs(theta) + Math.sqrt(theta**2 + 1)), c = 1/Math.sqrt(t**2 + 1), s = t*c
      rotate(a[p], a[q], c, s)
      for (const row of a) {  // and its columns
        const u = row[p], v = row[q]
        row[p] = c*u - s*v
        row[q] = s*u + c*v
      }
      rotate(vectors[p], vectors[q], c, s)
    }
  }
  const order = a.map((_, i) => i).sort((i, j) => a[j][j] - a[i][i])
  return { values: order.map(i => Math.max(0, a[i][i])), vectors: order.map(i => [...vectors[i]]) }
}
export function pca(x, k) {  // as in the library, the largest entry of each axis, in size, is positive
  const most = Math.min(x.length, x[0].length)
  if (!Number.isInteger(k) || k < 1 || k > most) throw new RangeError(`\`k\` must be an integer in [1, ${most}], got ${k}`)
  const mean = columnMeans(x), centered = x.map(row => row.map((v, j) => v - mean[j]))
  const largest = Math.max(...x.flat().map(Math.abs))
  const squares = mean.map(() => new Float64Array(mean.length))
  for (const row of centered) for (let i = 0; i < row.length; i++) for (let j = 0; j < row.length; j++) squares[i][j] += row[i]*row[j]
  const { values, vectors } = eigen(squares), all = values.reduce((a, b) => a + b)
  if (Math.sqrt(values[0]) <= largest*Math.max(x.length, mean.length)*2**-52) throw new RangeError('`x` must have rows that differ, got rows that are all equal')
  const axes = vectors.slice(0, k).map(axis => { const sign = Math.sign(axis.reduce((a, b) => Math.abs(b) > Math.abs(a) ? b : a)); return axis.map(v => v*sign) })
  return { points: centered.map(row => axes.map(axis => dot(row, axis))), axes, explained: values.slice(0, k).map(v => v/all), mean }
}
const closeness = {
  cosine: (a, b) => dot(a, b)/Math.max(norm(a)*norm(b), 1e-8),
  euclidean: (a, b) => -norm(a.map((v, i) => v - b[i])),
}
const best = (values, n) => values.map((_, i) => i).sort((i, j) => values[j] - values[i] || i - j).slice(0, n)
// The nearest films by the mean over the runs; `agree` counts the runs that have a film among their own n nearest
export function nearest(runs, film, n, metric = 'cosine') {
  const others = runs[0].map((_, i) => i).filter(i => i !== film)
  const near = runs.map(factors => others.map(i => closeness[metric](factors[i], factors[film])))
  const top = near.map(values => new Set(best(values, n))), mean = columnMeans(near)
  return best(mean, n).map(i => ({ film: others[i], value: metric === 'euclidean' ? Math.abs(mean[i]) : mean[i], agree: top.filter(set => set.has(i)).length }))
}
export function correlation(a, b) {
  const [x, y] = [a, b].map(v => { const m = average(v); return v.map(z => z - m) })
  return dot(x, y)/(norm(x)*norm(y) || 1)
}

// What a reader may color the films by, and its value for each film
const yearOf = title => Number(/\((\d{4})\)/.exec(title)?.[1] ?? NaN)
function properties(v) {
  const years = v.titles.map(yearOf)
  return {
    ...v.means.length ? { 'mean rating': v.means } : {}, ...v.ratings.some(Boolean) ? { 'number of ratings': v.ratings.map(Math.log) } : {},
    ...years.every(Number.isFinite) ? { year: years } : {},
    ...Object.fromEntries(v.genres.map((genre, g) => [genre, v.genres_of.map(bits => bits >> g & 1)])),
  }
}
// The runs and their components stay the same while a reader looks around: they are computed once
export const runsOf = v => unpackNumbers(v.factors)
let known = { text: null }
function learned(v) {
  if (known.text !== v.factors) {
    const runs = runsOf(v), k = Math.min(10, runs[0].length, runs[0][0].length)
    known = { text: v.factors, runs, k, maps: runs.map(factors => pca(factors, k)) }
  }
  return known
}
export function compute(v) {
  const { runs, maps } = learned(v), axes = [v.x - 1, v.y - 1], map = maps[v.run], column = (m, a) => m.points.map(p => p[a])
  const same = axes.map(a => maps.map(m => correlation(column(map, a), column(m, a))))  // with the same component of every run
  const signs = same.map(r => r[0] < 0 ? -1 : 1)  // an axis points as in the first run
  const others = same.map(r => r.filter((_, i) => i !== v.run).map(Math.abs)), property = properties(v)[v.color]
  const points = map.points.map(p => axes.map((a, i) => p[a]*signs[i]))
  return {
    points, signs, explained: map.explained, shown: axes.map(a => map.explained[a]), again: others.map(r => r.length ? average(r) : null),
    property, correlations: property ? [0, 1].map(i => correlation(points.map(p => p[i]), property)) : null, runs: runs.length, near: nearest(runs, v.film, v.n, v.metric),
  }
}
export function tidy(v) {
  const { k, runs } = learned(v), last = runs[0].length - 1
  return { ...v, film: Math.min(v.film, last), x: Math.min(v.x, k), y: Math.min(v.y, k), run: Math.min(v.run, runs.length - 1), n: Math.min(v.n, last),
    color: v.color in properties(v) ? v.color : 'nothing' }
}

// ---- The same in Python
function invented(v) {  // models that hold the factors of a few films
  const runs = runsOf(v), [films, width] = [runs[0].length, runs[0][0].length]
  return ['from lesson8lib.collab import DotProductBias, RatingsData', 'from lesson8lib.data import Vocab', '',
    `titles = [${wrapped(v.titles.map(quoted), 10)}]`, 'none = torch.zeros(0, 2, dtype=torch.long), torch.zeros(0)',
    "data = RatingsData(Vocab(['you'], 'user'), Vocab(titles, sort=False), none, None)",
    `runs = torch.tensor([${wrapped(runs.flat(2).map(x => String(x)), 21)}])`, 'models = []', `for factors in runs.view(${runs.length}, ${films}, ${width}):`,
    `    models.append(DotProductBias(2, ${films + 1}, ${width}))`, '    models[-1].item_factors.data[1:] = factors'].join('\n')
}
function propertyFor(v) {
  if (v.color === 'mean rating') return ["values = table['mean']"]
  if (v.color === 'number of ratings') return ['values = table.ratings.transform(math.log)']
  if (v.color === 'year') return [String.raw`values = films.str.extract(r'\((\d{4})\)')[0].astype(int)`]
  return ["about = movielens.items.drop_duplicates('title').set_index('title').loc[films]", `values = about.genres.str.split('|').map(lambda names: ${quoted(v.color)} in names)`]
}
export function pythonFor(v) {
  const r = compute(v), k = Math.max(v.x, v.y), colored = v.color !== 'nothing', axes = `[${v.x - 1}, ${v.y - 1}]`
  return [...colored ? ['import math'] : [], 'import torch', v.setup || invented(v), 'from lesson8lib.interpret import bias_table, nearest, pca', '',
    'table = bias_table(models[0], data)', `table = table[table.ratings >= ${v.min_ratings}]`, 'films = table.index',
    `factors = models[${v.run}].item_factors.detach()[data.items.index(films)]`, `found = pca(factors, ${k})`,
    `points = found.points[:,${axes}] * torch.tensor([${r.signs.map(python).join(', ')}])  # as in the first run`,
    `name = ${quoted(v.titles[v.film])}`, 'print(points[films.get_loc(name)].tolist())', `print(found.explained[${axes}].tolist())`,
    ...colored ? [...propertyFor(v), 'values = torch.tensor([float(value) for value in values])', 'print(torch.corrcoef(torch.cat([points.T, values[None]]))[2,:2].tolist())'] : [],
    `print(nearest(models, data, name, n=${v.n}, metric='${v.metric}', min_ratings=${v.min_ratings}))`].join('\n')
}

// ---- The page
const percent = x => `${fmt(100*x, 1)}%`
function render({ model, el }) {
  const root = frame(el, 'A map of the films')
  root.append(h('style', {}, POINTS_STYLE))
  const look = theme(root, () => state.draw())
  const state = store(model, SPEC, tidy, draw)
  const set = changes => { state.set(changes) }
  let r = compute(state.values)

  const find = search('find a film', state.values.titles, film => set({ film }))
  const across = choice('horizontal axis', [], x => set({ x: Number(x) })), up = choice('vertical axis', [], y => set({ y: Number(y) }))
  const run = choice('training run', Array.from({ length: r.runs }, (_, i) => [i, `seed ${i}`]), value => set({ run: Number(value) }))
  const color = choice('color by', [['nothing', 'none'], ...Object.keys(properties(state.values)).map(name => [name, name])], name => set({ color: name }))
  const metric = choice('similarity', [['cosine', 'cosine similarity'], ['euclidean', 'distance']], name => set({ metric: name })), n = count('number of neighbors', SPEC.n, value => set({ n: value }))
  root.append(h('div', { class: 'x-row' }, find.el, run.el, across.el, up.el, color.el, metric.el, n.el))

  const read = readout(), facts = h('p', { class: 'x-facts' }), map = pointPlot('Map of the films', film => set({ film }), () => state.draw())
  const list = listing('', ['film', 'closeness', 'runs', 'ratings'], i => set({ film: r.near[i].film })), heads = list.el.querySelectorAll('th')
  const code = pythonButton(() => pythonFor(state.values))
  root.append(map.el, read.el, facts, list.el, code.el)

  function dots(v) {
    if (!r.property) return r.points.map(([x, y]) => [x, y, 'x-dot', 4])
    if (v.genres.includes(v.color)) return r.points.map(([x, y], i) => r.property[i] ? [x, y, 'x-hit', 5] : [x, y, 'x-dot', 3])
    const low = Math.min(...r.property), high = Math.max(...r.property)
    return r.points.map(([x, y], i) => [x, y, 'x-dot', 4.5, rgb(look.signed(2*(r.property[i] - low)/(high - low || 1) - 1))])
  }
  function legend(v) {
    if (!r.property) return ''
    const by = ` Correlation with component ${v.x}: ${fmt(r.correlations[0])}; with component ${v.y}: ${fmt(r.correlations[1])}.`
    if (v.genres.includes(v.color)) return `Large dots: the ${r.property.filter(Boolean).length} films in the genre ${v.color}.${by}`
    const ends = [Math.min, Math.max].map(f => f(...v.color === 'number of ratings' ? v.ratings : r.property)).map(x => short(x, 2))
    return `Colors: ${v.color}, from ${ends[0]} (blue) to ${ends[1]} (red).${by}`
  }
  function draw() {
    if (!look.colors.zero) return
    const v = state.values, name = v.titles[v.film]
    r = compute(v)
    const components = r.explained.map((part, i) => h('option', { value: i + 1 }, `component ${i + 1}: ${percent(part)}`))
    across.control.replaceChildren(...components)
    up.control.replaceChildren(...components.map(option => option.cloneNode(true)))
    for (const [control, value] of [[find, v.film], [across, v.x], [up, v.y], [run, v.run], [color, v.color], [metric, v.metric], [n, v.n]]) control.show(value)
    const famous = best(v.ratings, 40), near = r.near.map(({ film }) => film)
    const labels = [[v.film, 'x-strong'], ...near.map(film => [film, '']), ...famous.filter(film => film !== v.film && !near.includes(film)).map(film => [film, 'x-faint'])]
    map.draw({
      points: dots(v), names: v.titles, chosen: v.film, titles: [`component ${v.x} (${percent(r.shown[0])} of the variance)`, `component ${v.y} (${percent(r.shown[1])})`],
      rings: [...near.map(film => [film, 'x-near']), [v.film, 'x-here']], labels: labels.map(([film, kind]) => [film, plain(v.titles[film]), kind]),
      describe: `${v.titles.length} films; ${name} is chosen. Arrow keys select the nearest film in that direction`,
    })
    const stable = r.near.filter(film => film.agree === r.runs).length, [first] = r.near, what = v.metric === 'cosine' ? 'cosine similarity' : 'distance'
    read.say(`${name} is at ${fmt(r.points[v.film][0])} on component ${v.x} and ${fmt(r.points[v.film][1])} on component ${v.y}. `
      + `Its nearest neighbor is ${v.titles[first.film]}, ${what} ${fmt(first.value)}. Of its ${v.n} ${v.n === 1 ? 'neighbor' : 'neighbors'}, ${stable} ${stable === 1 ? 'is' : 'are'} among the ${v.n} nearest in all ${r.runs} runs.`)
    const again = r.again[0] === null ? '' : `Mean absolute correlation with the same component in the other runs: ${fmt(r.again[0])} for component ${v.x}, ${fmt(r.again[1])} for component ${v.y}. `
    facts.textContent = again + legend(v)
    heads[1].textContent = v.metric === 'cosine' ? 'cosine' : what
    list.draw(r.near.map(({ film, value, agree }) => [v.titles[film], fmt(value), `${agree} of ${r.runs}`, String(v.ratings[film])]),
      { heading: `Nearest to ${name}: mean ${what} over the runs, and number of runs with the film among the ${v.n} nearest` })
    code.draw()
  }
  look.start()
  return () => { look.stop(); state.stop(); map.stop() }
}
export default { render }
