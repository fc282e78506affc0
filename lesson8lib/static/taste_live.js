// Rate films; the posterior of a new user is computed at once, as `lesson8lib.recommender`'s `fold_in` and `explain` do
// uses points.js
const SPEC = {
  "titles": {"value": ["Alien (1979)", "Aliens (1986)", "Clue (1985)", "Emma (1996)", "Psycho (1960)", "Sabrina (1995)"], "fixed": true},
  "counts": {"value": [6, 5, 4, 3, 2, 1], "fixed": true},
  "means": {"value": "f32:6x3:AABAPwAAgD4AAAA/AABAPwAAAAAAAIA+AACAvgAAAD8AAAAAAABAvwAAgD4AAAA+AAAAPgAAQL8AAIA+AAAAvwAAAL8AAIC+", "kind": "array", "bits": 32, "fixed": true},
  "covariances": {"value": "f32:6x6:AAAEPwAAiD4AAJA+AAAAPgAAgDwAACA+AADAPQAAAL0AAIA+AACAPAAAoL0AAMA9AACIPgAAIL4AAJA+AAAgvgAAAD0AAIg+AAAQPgAAAL0AAEA+AAAAvQAAUD4AAMg+AAAgPgAAgD0AAAA+AACAPAAAgLwAAEA+AACgPQAAAL0AAKg+AACAvAAAwL0AACg/", "kind": "array", "bits": 32, "fixed": true},
  "pulls": {"value": "f32:6x3:AAAAPgAAAAAAAIA9AAAAPgAAAAAAAAAAAACAvQAAAD4AAAAAAAAAvgAAgD0AAAAAAAAAAAAAAL4AAIA9AAAAvgAAAL4AAAAA", "kind": "array", "bits": 32, "fixed": true},
  "prior": {"value": [0.0625, 0, 0.125], "fixed": true},
  "prior_covariance": {"value": [[1, 0.25, 0], [0.25, 1, 0], [0, 0, 0.25]], "fixed": true},
  "typical": {"value": [0.0625, 0, 0], "fixed": true},
  "typical_count": {"value": 4, "real": true, "fixed": true},
  "mu": {"value": 3.5, "real": true, "fixed": true},
  "noise": {"value": 0.75, "real": true, "fixed": true},
  "setup": {"value": "", "fixed": true},
  "ratings": {"value": ["0:5", "3:2"], "pattern": "^\\d{1,4}:[1-5]$"},
  "film": {"value": 1, "low": 0, "high": 9999},
  "level": {"value": 90, "low": 1, "high": 99},
  "n": {"value": 8, "low": 1, "high": 15}
}
const LOW = 1, HIGH = 5

// ---- Maths: pure functions, tested against `BayesFactors` of `lesson8lib.bayes`
export function inverse(matrix) {  // of a positive definite matrix, by Gauss and Jordan
  const d = matrix.length, a = matrix.map((row, i) => [...row, ...row.map((_, j) => Number(i === j))])
  for (let k = 0; k < d; k++) {
    const pivot = a[k][k]
    for (let j = 0; j < 2*d; j++) a[k][j] /= pivot
    for (let i = 0; i < d; i++) {
      const factor = a[i][k]
      if (i !== k && factor) for (let j = 0; j < 2*d; j++) a[i][j] -= factor*a[k][j]
    }
  }
  return a.map(row => row.slice(d))
}
const dot = (a, b) => a.reduce((sum, x, i) => sum + x*b[i], 0)
const times = (matrix, x) => matrix.map(row => dot(row, x))
const square = low => {  // a symmetric matrix from its lower triangle
  const d = Math.round(Math.sqrt(2*low.length + .25) - .5), at = (i, j) => low[i*(i + 1)/2 + j]
  return Array.from({ length: d }, (_, i) => Array.from({ length: d }, (_, j) => i >= j ? at(i, j) : at(j, i)))
}
export function quantile(p) {  // of the standard normal distribution, by halving; its distribution function by a series
  const below = x => {
    let term = x, sum = x
    for (let k = 3; Math.abs(term) > 1e-17; k += 2) { term *= x*x/k; sum += term }
    return .5 + sum*Math.exp(-x*x/2)/Math.sqrt(2*Math.PI)
  }
  let low = -8, high = 8
  for (let i = 0; i < 60; i++) {
    const middle = (low + high)/2
    if (below(middle) < p) low = middle
    else high = middle
  }
  return (low + high)/2
}
// What the model knows of films and users. A film's vector has the factors, then its bias; a user's, too
let squares = { text: null }
function world(v) {
  if (squares.text !== v.covariances) squares = { text: v.covariances, covariances: unpackNumbers(v.covariances).map(square) }
  return { means: unpackNumbers(v.means), covariances: squares.covariances, pulls: unpackNumbers(v.pulls), prior: v.prior, covariance: v.prior_covariance,
    precision: inverse(v.prior_covariance), typical: v.typical, typicalCount: v.typical_count, mu: v.mu, noise: v.noise }
}
// Which films were rated moves the mean of the prior: each has a pull, less that of a typical user, and few films are trusted little
export function priorMean(w, films) {
  const n = films.length, most = Math.max(n, w.typicalCount), trust = n ? n/(n + 20*Math.max(0, 1 - n/w.typicalCount)) : 0
  return w.prior.map((m, k) => m + trust*(films.reduce((sum, film) => sum + w.pulls[film][k], 0)*most**.75/Math.max(n, 1) - w.typical[k]))
}
// The posterior of the user's vector: each rating adds its film's E[z zᵀ]/noise to the precision, where z is the film's factors, then a 1
export function posterior(w, ratings) {
  const about = priorMean(w, ratings.map(([film]) => film)), d = about.length, last = d - 1
  if (!ratings.length) return { mean: about, covariance: w.covariance }
  const precision = w.precision.map(row => [...row]), right = times(w.precision, about)
  for (const [film, stars] of ratings) {
    const z = [...w.means[film].slice(0, last), 1], bias = w.means[film][last], cov = w.covariances[film]
    for (let i = 0; i < d; i++) {
      right[i] += ((stars - w.mu - bias)*z[i] - (i < last ? cov[last][i] : 0))/w.noise
      for (let j = 0; j < d; j++) precision[i][j] += (z[i]*z[j] + (i < last && j < last ? cov[i][j] : 0))/w.noise
    }
  }
  const covariance = inverse(precision)
  return { mean: times(covariance, right), covariance }
}
export function predict(w, user, film) {  // mean and variance of a rating
  const last = user.mean.length - 1, z = [...w.means[film].slice(0, last), 1], x = [...user.mean.slice(0, last), 1], t = w.covariances[film]
  let variance = w.noise + dot(x, times(t, x))
  user.covariance.forEach((row, i) => row.forEach((s, j) => { variance += s*(z[i]*z[j] + (i < last && j < last ? t[i][j] : 0)) }))
  return { mean: w.mu + dot(user.mean, z) + w.means[film][last], variance }
}
export function terms(w, user, film) {  // the sum that a prediction is: the mean of all ratings, both biases, a product for each factor
  const last = user.mean.length - 1, q = w.means[film]
  return { mu: w.mu, user: user.mean[last], item: q[last], factors: user.mean.slice(0, last).map((x, k) => x*q[k]) }
}
export const parse = ratings => ratings.map(text => text.split(':').map(Number))
export function compute(v) {
  const w = world(v), ratings = parse(v.ratings), z = -quantile((1 - v.level/100)/2), rated = new Map(ratings), clip = x => clamp(x, LOW, HIGH)
  const all = user => v.titles.map((_, film) => {
    const { mean, variance } = predict(w, user, film), sd = Math.sqrt(variance)
    return { film, mean, sd, shown: clip(mean), low: clip(mean - z*sd), high: clip(mean + z*sd) }
  })
  const user = posterior(w, ratings), films = all(user), before = ratings.length ? all(posterior(w, ratings.slice(0, -1))) : null
  const order = films.filter(f => !rated.has(f.film)).sort((a, b) => b.mean - a.mean || a.film - b.film)
  return { user, films, before, ratings, rated, best: order.slice(0, v.n), order, own: films[v.film], why: terms(w, user, v.film) }
}
export function tidy(v) {  // each film once, its last rating; the order tells which rating was the last
  const last = new Map(), length = v.titles.length
  for (const [film, stars] of parse(v.ratings)) if (film < length) { last.delete(film); last.set(film, stars) }
  return { ...v, ratings: [...last].map(rating => rating.join(':')), film: Math.min(v.film, length - 1) }
}

// ---- The same in Python
function invented(v) {
  const numbers = (name, text, shape) => [`${name} = torch.tensor([${wrapped(unpackNumbers(text).flat().map(String), name.length + 17)}])`, `${name} = ${name}.view(${shape})`]
  const n = v.titles.length, d = v.prior.length
  return ['import torch', 'from lesson8lib.bayes import BayesFactors, Features, Prior', '', 'torch.set_default_dtype(torch.float64)',
    `titles = [${wrapped(v.titles.map(quoted), 10)}]`, ...numbers('means', v.means, `${n}, ${d}`), ...numbers('triangles', v.covariances, `${n}, -1`), ...numbers('pulls', v.pulls, `${n}, ${d}`),
    `covariances, (i, j) = torch.zeros(${n}, ${d}, ${d}), torch.tril_indices(${d}, ${d})`, 'covariances[:,i,j] = covariances[:,j,i] = triangles',
    `mean = torch.tensor([${wrapped(v.prior.map(String), 21)}])`, `covariance = torch.tensor([${wrapped(v.prior_covariance.flat().map(String), 27)}])`,
    `prior = Prior(mean, covariance.view(${d}, ${d}), torch.eye(${d}))`, `typical = torch.tensor([${wrapped(v.typical.map(String), 24)}])`,
    `features = Features(typical, ${v.typical_count}, pulls)`,
    'user = torch.zeros(1, 1), torch.zeros(1, 1, 1)', 'rest = torch.zeros(0), features, features', `factors = BayesFactors(*user, means, covariances, prior, prior, ${v.mu}, ${v.noise}, *rest)`].join('\n')
}
function byHand(v, half) {  // with `BayesFactors`, of films that are no table of ratings
  return [`rated = torch.tensor([${wrapped(parse(v.ratings).map(([film]) => String(film)), 22)}], dtype=torch.long)`, `stars = torch.tensor([${wrapped(parse(v.ratings).map(([, stars]) => python(stars)), 22)}])`,
    'mean, covariance = factors.posterior(rated, stars)', 'own = factors._replace(user_mean=mean[None], user_cov=covariance[None])',
    'pairs = torch.stack([torch.zeros(len(titles)).long(), torch.arange(len(titles))], 1)', 'mean, variance = own.predict(pairs)', `half = ${half}*variance.sqrt()`,
    `low, high = ((mean + sign*half).clamp(${LOW}, ${HIGH}) for sign in (-1, 1))`, 'order = [i for i in mean.argsort(descending=True).tolist() if i not in rated]',
    `for i in order[:${v.n}]:`, `    print(titles[i], *(x[i].item() for x in (mean.clamp(${LOW}, ${HIGH}), low, high)), sep='\\t')`]
}
function byLibrary(v) {
  const taste = parse(v.ratings).map(([film, stars]) => `    ${quoted(v.titles[film])}: ${stars},`)
  return ['taste = {', ...taste, '}', `print(recommender.fold_in(taste, n=${v.n}, by='rating', min_ratings=${Math.min(...v.counts)}, interval=${v.level/100}))`,
    `recommender.add_user(9999, taste)`, `print(recommender.explain(9999, ${quoted(v.titles[v.film])}))`]
}
export const pythonFor = v => [v.setup || invented(v), '', ...v.setup ? byLibrary(v) : byHand(v, -quantile((1 - v.level/100)/2))].join('\n')

// ---- The page
const STYLE = `
.x-taste_live-two { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 0 1.4rem; align-items: start; }
.x-taste_live-two > * { min-width: 0; }
.x-taste_live-stars { border: 1px solid var(--x-line); border-radius: .4rem; padding: .3rem .6rem .5rem; margin: 0 0 .6rem; }
.x-app .x-taste_live-stars legend { float: none; width: auto; margin: 0; padding: 0 .3rem; font-size: .9rem; font-weight: 600; color: var(--x-ink); }
.x-taste_live-stars button { min-width: 2.4rem; }
.x-taste_live-bar { display: block; width: 11rem; min-width: 11rem; height: 1.65rem; margin-left: auto; }
.x-taste_live-two .x-taste_live-bar { width: 7rem; min-width: 7rem; height: 1.05rem; }
@media (max-width: 500px) { .x-app .x-taste_live-bar { width: 5.5rem; min-width: 5.5rem; height: .83rem; } }
.x-taste_live-ends { display: block; font-weight: 400; color: var(--x-muted); }
.x-taste_live-bar .x-taste_live-range { fill: var(--x-c2); fill-opacity: .35; }
.x-taste_live-bar .x-taste_live-now { fill: var(--x-c2); }
.x-taste_live-bar .x-taste_live-then { fill: var(--x-zero); stroke: var(--x-c1); stroke-width: 2; }
.x-taste_live-bar line { stroke: var(--x-line); stroke-opacity: .6; }
.x-taste_live-bar .x-taste_live-more { fill: var(--x-pos); } .x-taste_live-bar .x-taste_live-less { fill: var(--x-neg); }
`
function interval(f, then) {  // on the scale from 1 to 5: the interval, the prediction, and the prediction before the last rating
  const at = x => 8 + (x - LOW)/(HIGH - LOW)*144, mark = svg('svg', { class: 'x-taste_live-bar', viewBox: '0 0 160 24', 'aria-hidden': 'true' })
  for (let star = LOW; star <= HIGH; star++) mark.append(svg('line', { x1: at(star), x2: at(star), y1: 3, y2: 21 }))
  mark.append(svg('rect', { x: at(f.low), y: 8, width: at(f.high) - at(f.low), height: 8, class: 'x-taste_live-range' }))
  if (then) mark.append(svg('circle', { cx: at(then.shown), cy: 12, r: 5.5, class: 'x-taste_live-then' }))
  mark.append(svg('circle', { cx: at(f.shown), cy: 12, r: 5.5, class: 'x-taste_live-now' }))
  return mark
}
function amount(x) {  // a term of the sum, red above zero and blue below it
  const wide = clamp(Math.abs(x), 0, 1)*72
  return svg('svg', { class: 'x-taste_live-bar', viewBox: '0 0 160 24', 'aria-hidden': 'true' },
    svg('line', { x1: 80, x2: 80, y1: 2, y2: 22 }), svg('rect', { x: x < 0 ? 80 - wide : 80, y: 7, width: wide, height: 10, class: x < 0 ? 'x-taste_live-less' : 'x-taste_live-more' }))
}
const change = x => `${x < -.005 ? '−' : x > .005 ? '+' : '±'}${fmt(Math.abs(x))}`
function render({ model, el }) {
  const root = frame(el, 'Rate films and get recommendations')
  root.append(h('style', {}, POINTS_STYLE + STYLE))
  const look = theme(root, () => state.draw())
  const state = store(model, SPEC, tidy, draw)
  const set = changes => { state.set(changes) }
  const { titles, counts } = state.values
  let r = compute(state.values)

  const rate = stars => {  // a new rating is the last one
    const { film } = state.values, others = state.values.ratings.filter(text => !text.startsWith(`${film}:`))
    set({ ratings: stars ? [...others, `${film}:${stars}`] : others })
  }
  const find = search('find a film', titles, film => set({ film }))
  const famous = counts.map((_, i) => i).sort((i, j) => counts[j] - counts[i] || i - j)
  let suggested = -1
  const next = h('button', { type: 'button', onclick: () => {  // the next most-rated film that the reader has not rated
    const turn = k => (suggested + 1 + k)%famous.length, k = famous.findIndex((_, k) => !r.rated.has(famous[turn(k)]) && famous[turn(k)] !== state.values.film)
    if (k < 0) return
    suggested = turn(k)
    set({ film: famous[suggested] })
  } }, 'Suggest a film')
  const level = count('interval (%)', SPEC.level, value => set({ level: value })), n = count('films shown', SPEC.n, value => set({ n: value }))
  const clear = h('button', { type: 'button', onclick: () => set({ ratings: [] }) }, 'Clear ratings')
  root.append(h('div', { class: 'x-row' }, find.el, next, level.el, n.el, clear))

  const stars = [1, 2, 3, 4, 5].map(s => h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => rate(s) }, `${s} ★`)), none = h('button', { type: 'button', onclick: () => rate(0) }, 'Remove rating')
  const legend = h('legend'), read = readout()
  root.append(h('fieldset', { class: 'x-taste_live-stars' }, legend, h('div', { class: 'x-row', style: 'margin:0' }, stars, none), read.el))
  const best = listing('', ['film', '1 to 5 stars', 'stars', 'change'], i => set({ film: r.best[i].film }))
  const own = listing('Your ratings, newest first', ['film', 'stars', 'predicted'], i => set({ film: mine()[i][0] }))
  const why = listing('', ['term', '− 0 +', 'stars']), code = pythonButton(() => pythonFor(state.values)), facts = h('p', { class: 'x-facts' })
  root.append(best.el, h('div', { class: 'x-taste_live-two' }, why.el, own.el), facts, code.el)
  const mine = () => [...r.ratings].reverse()

  function reasons(v) {
    const { mu, user, item, factors } = r.why, first = factors.map((_, k) => k).sort((i, j) => Math.abs(factors[j]) - Math.abs(factors[i])).slice(0, 5)  // as many as `explain` lists
    const rest = factors.filter((_, k) => !first.includes(k)).reduce((a, b) => a + b, 0)
    return [['mean of all ratings', mu, true], ['your bias', user], [`bias of ${plain(titles[v.film])}`, item], ...first.map(k => [`factor ${k}`, factors[k]]), ...factors.length > 5 ? [['other factors', rest]] : [], ['sum', r.own.mean, true]]
  }
  function draw() {
    if (!look.colors.zero) return
    const v = state.values
    r = compute(v)
    const name = titles[v.film], given = r.rated.get(v.film), [last] = mine()
    for (const [control, value] of [[find, v.film], [level, v.level], [n, v.n]]) control.show(value)
    legend.textContent = `Your rating of ${name}`
    stars.forEach((button, i) => button.setAttribute('aria-pressed', String(given === i + 1)))
    none.setAttribute('aria-disabled', String(!given))  // not `disabled`: the focus would be lost
    clear.setAttribute('aria-disabled', String(!last))
    const f = r.own, then = r.before?.[v.film]
    read.say(`${name}: ${given ? `you gave ${given}; predicted` : 'predicted'} ${fmt(f.shown)} stars, ${v.level}% prediction interval ${fmt(f.low)} to ${fmt(f.high)}.`
      + (then ? ` Your last rating, ${last[1]} for ${titles[last[0]]}, changed the prediction by ${change(f.shown - then.shown)} and its standard deviation from ${fmt(then.sd, 3)} to ${fmt(f.sd, 3)}.` : ''))
    best.draw(r.best.map(b => [titles[b.film], interval(b, r.before?.[b.film]), h('span', {}, fmt(b.shown), h('span', { class: 'x-taste_live-ends' }, `${fmt(b.low)} to ${fmt(b.high)}`)), r.before ? change(b.shown - r.before[b.film].shown) : '']), {
      heading: `Recommended: the highest predictions, with ${v.level}% intervals${r.before ? ' (hollow circles: before your last rating)' : ''}`, chosen: i => r.best[i].film === v.film })
    why.draw(reasons(v).map(([term, x, plain]) => [term, plain ? '' : amount(x), plain ? fmt(x) : change(x)]), { heading: `Why ${fmt(r.own.mean)} for ${name}?` })
    own.draw(mine().map(([film, s]) => [titles[film], String(s), fmt(r.films[film].shown)]), { chosen: i => mine()[i][0] === v.film, heading: last ? 'Your ratings, newest first' : 'No ratings yet: these are the predictions for a typical user' })
    facts.textContent = r.own.mean !== r.own.shown ? `The sum lies outside the rating scale and is clipped to ${fmt(r.own.shown)}.` : ''
    code.draw()
  }
  look.start()
  return () => { look.stop(); state.stop() }
}
export default { render }
