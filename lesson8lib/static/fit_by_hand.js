// A fit by hand and by gradient descent: `gradients.gradient_descent`, the optimizers of `optimizers`, and a sum of ReLUs as in `relus.relu_interpolant`
const SPEC = {
  "part": {"value": "quadratic", "choices": ["quadratic", "optimizers", "relus"], "fixed": true},
  "x": {"value": [1, 2, 4], "fixed": true},
  "y": {"value": [3, 4, 10], "fixed": true},
  "unit": {"value": "", "fixed": true},
  "start": {"value": [[1.1, 1.1, 1.1]], "kind": "matrix", "size": 21, "low": -1000, "high": 1000},
  "loss": {"value": "MAE", "choices": ["MAE", "MSE"]},
  "lr": {"value": 0.1, "real": true, "low": 0, "high": 100},
  "zero": {"value": true},
  "steps": {"value": 0, "low": 0, "high": 500},
  "rates": {"value": [[0.0002, 0.0002, 0.1, 0.2]], "kind": "matrix", "size": 4, "low": 0, "high": 100},
  "momentum": {"value": 0.9, "real": true, "low": 0, "high": 1},
  "alpha": {"value": 0.9, "real": true, "low": 0, "high": 1},
  "beta2": {"value": 0.99, "real": true, "low": 0, "high": 1},
  "standardize": {"value": false},
  "point": {"value": 0, "low": 0, "high": 20}
}

// ---- Maths: pure functions, tested against the library
const sum = x => x.reduce((total, v) => total + v, 0), mean = x => sum(x)/x.length, largest = x => x.reduce((top, v) => Math.max(top, v), 0)
export const relu = z => z > 0 ? z : 0
const units = p => (p.length - 1)/3  // of [m₁ … mₙ, b₁ … bₙ, w₁ … wₙ, c]
// For each family of functions, its value and its derivatives with respect to the parameters
export const FAMILIES = {
  quadratic: { at: ([a, b, c], x) => a*x*x + b*x + c, slopes: (_, x) => [x*x, x, 1] },
  optimizers: { at: ([slope, intercept], x) => slope*x + intercept, slopes: (_, x) => [x, 1] },
  relus: {
    at: (p, x) => { const n = units(p); let y = p[3*n]; for (let i = 0; i < n; i++) y += p[2*n + i]*relu(p[i]*x + p[n + i]); return y },
    slopes: (p, x) => {
      const n = units(p), d = Array(3*n + 1).fill(0)
      d[3*n] = 1
      for (let i = 0; i < n; i++) {
        const z = p[i]*x + p[n + i]
        if (z > 0) [d[i], d[n + i], d[2*n + i]] = [p[2*n + i]*x, p[2*n + i], z]
      }
      return d
    },
  },
}
const LOSSES = { MAE: [Math.abs, Math.sign], MSE: [e => e*e, e => 2*e] }
export function lossOf({ at }, loss, p, x, y) { return mean(x.map((t, i) => LOSSES[loss][0](at(p, t) - y[i]))) }
export function gradientOf({ at, slopes }, loss, p, x, y) {
  const total = p.map(() => 0)
  x.forEach((t, i) => {
    const change = LOSSES[loss][1](at(p, t) - y[i])/x.length
    slopes(p, t).forEach((d, k) => { total[k] += change*d })
  })
  return total
}
// What an optimizer subtracts from a parameter, given its gradient g and its memory s, as in `lesson8lib.optimizers`
const EPS = 1e-8
export const RULES = {
  SGD: ({ lr }, g) => lr*g,
  momentum: ({ lr, momentum }, g, s) => lr*(s.m = momentum*s.m + g),
  RMSprop: ({ lr, alpha }, g, s) => lr*g/(Math.sqrt(s.v = alpha*s.v + (1 - alpha)*g*g) + EPS),
  Adam: ({ lr, momentum, beta2 }, g, s) => {
    s.t += 1
    s.m = momentum*s.m + (1 - momentum)*g
    s.v = beta2*s.v + (1 - beta2)*g*g
    return lr*(s.m/(1 - momentum**s.t))/(Math.sqrt(s.v/(1 - beta2**s.t)) + EPS)
  },
}
const NAMES = Object.keys(RULES)
// Parameters and loss before the first and after each step; `next` is the change by one more step
export function descend(family, loss, start, x, y, rule, options, steps) {
  const memory = start.map(() => ({ m: 0, v: 0, t: 0 })), path = [start], losses = []
  for (let step = 0; ; step++) {
    const p = path[step], gradient = gradientOf(family, loss, p, x, y), next = gradient.map((g, k) => -RULES[rule](options, g, memory[k]))
    losses.push(lossOf(family, loss, p, x, y))
    if (step === steps) return { path, losses, gradient, next }
    path.push(p.map((v, k) => v + next[k]))
  }
}
export function standardized(x) {
  const m = mean(x), s = Math.sqrt(mean(x.map(v => (v - m)**2))) || 1
  return x.map(v => (v - m)/s)
}
// Second derivatives of the MSE of a family that is linear in its parameters, and the largest curvature, by power iteration
export function curvatures({ slopes }, x) {
  const rows = x.map(t => slopes(null, t))
  return rows[0].map((_, i) => rows[0].map((_, j) => 2*mean(rows.map(r => r[i]*r[j]))))
}
export function steepest(matrix) {
  let v = matrix.map((_, i) => 1/(i + 1)), size = 0
  for (let i = 0; i < 500; i++) {
    v = matrix.map(row => sum(row.map((m, j) => m*v[j])))
    size = Math.hypot(...v)
    v = v.map(e => e/size)
  }
  return size
}
export function leastSquares(x, y) {  // slope and intercept with the lowest MSE
  const mx = mean(x), my = mean(y), slope = mean(x.map((t, i) => (t - mx)*(y[i] - my)))/(mean(x.map(t => (t - mx)**2)) || 1)
  return [slope, my - slope*mx]
}
// The parameters of the ReLUs that pass through points [[knot, value], …]: each weight is the change of slope at its knot
export function throughPoints(points) {
  const rise = points.slice(1).map(([k, v], i) => (v - points[i][1])/(k - points[i][0])), wrong = points.slice(1).filter(([k], i) => !(k > points[i][0])).length
  if (points.length < 2) throw new RangeError(`\`knots\` must hold at least two positions, got ${points.length}`)
  if (wrong) throw new RangeError(`\`knots\` must be strictly ascending, got ${wrong} of ${points.length - 1} steps that do not ascend`)
  const knots = points.slice(0, -1).map(([k]) => k)
  return [...knots.map(() => 1), ...knots.map(k => -k), ...rise.map((r, i) => r - (i ? rise[i - 1] : 0)), points[0][1]]
}
function interpolate(points, at) {
  const i = clamp(points.findIndex(([k]) => k >= at) - 1, 0, points.length - 2), [[k, v], [k2, v2]] = [points[i], points[i + 1]]
  return v + (at - k)*(v2 - v)/(k2 - k)
}
const tidyNumber = x => Number(x.toPrecision(6))
export function evenly(x, y, n) {  // n + 1 points of the data's own curve at equal distances
  const data = x.map((t, i) => [t, y[i]]), low = x[0], high = x.at(-1)
  return Array.from({ length: n + 1 }, (_, i) => tidyNumber(low + (high - low)*i/n)).map(k => [k, tidyNumber(interpolate(data, k))])
}
export function greedily(x, y, n) {  // both ends, then again and again the point with the largest error
  if (n + 1 > x.length) return evenly(x, y, n)
  const chosen = new Set([0, x.length - 1]), points = () => [...chosen].sort((a, b) => a - b).map(i => [x[i], y[i]])
  while (chosen.size < n + 1) {
    const now = points(), errors = x.map((t, i) => chosen.has(i) ? -1 : Math.abs(interpolate(now, t) - y[i]))
    chosen.add(errors.indexOf(Math.max(...errors)))
  }
  return points()
}
function check(v) {  // Python's own refusals
  const below1 = (name, x) => { if (x >= 1) throw new RangeError(`\`${name}\` must be a finite number in [0, 1), got ${x}`) }
  if (v.part === 'quadratic' && v.lr <= 0) throw new RangeError(`\`lr\` must be a finite number greater than 0, got ${v.lr}`)
  if (v.part === 'optimizers') below1('alpha', v.alpha)
  if (v.part !== 'quadratic') for (const beta of [v.momentum, v.beta2]) below1('betas', beta)
}
// All that is shown, from the state
export function compute(v) {
  const family = FAMILIES[v.part], x = v.part === 'optimizers' && v.standardize ? standardized(v.x) : v.x, options = { momentum: v.momentum, alpha: v.alpha, beta2: v.beta2 }
  try {
    const start = v.part === 'relus' ? throughPoints(v.start) : v.start[0]
    check(v)
    const run = (rule, lr, more = {}) => descend(family, v.part === 'quadratic' ? v.loss : 'MSE', start, x, v.y, rule, { ...options, lr, ...more }, v.steps)
    // without zeroing, the gradients add up: momentum 1
    const runs = v.part === 'optimizers' ? NAMES.map((name, k) => run(name, v.rates[0][k])) : [v.part === 'relus' ? run('Adam', v.lr) : run(v.zero ? 'SGD' : 'momentum', v.lr, { momentum: 1 })]
    return { family, x, runs, p: runs[0].path.at(-1), error: null }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return { family, x, runs: [], error: error.message }
  }
}
const COLUMNS = { quadratic: 3, optimizers: 2 }
function tidy(v) {
  const fit = v.part === 'relus' ? v.start[0].length === 2 : v.start.length === 1 && v.start[0].length === COLUMNS[v.part]
  const start = fit ? v.start : v.part === 'relus' ? evenly(v.x, v.y, 2) : [Array(COLUMNS[v.part]).fill(1)]
  const rates = v.rates.length === 1 && v.rates[0].length === NAMES.length ? v.rates : SPEC.rates.value
  return { ...v, start, rates, point: clamp(v.point, 0, start.length - 1) }
}

// ---- The same in Python
function tensor(name, x) {  // in lines of at most 88 characters
  const first = `${name} = torch.tensor([`, lines = [first]
  x.forEach((v, i) => {
    const text = python(v) + (i < x.length - 1 ? ', ' : '')
    if (lines.at(-1).length + text.length > 86) lines.push(' '.repeat(first.length))
    lines.push(lines.pop() + text)
  })
  const end = '], dtype=torch.float64)'
  if (lines.at(-1).length + end.length > 88) lines.push(' '.repeat(first.length - 1))
  return lines.map((line, i) => i < lines.length - 1 ? line.trimEnd() : line).join('\n') + end
}
export function pythonFor(v) {
  const data = [tensor('x', v.x), tensor('y', v.y)], betas = `betas=(${v.momentum}, ${v.beta2})`
  const loop = (predict, indent = '') => [`for _ in range(${v.steps}):`, '    optimizer.zero_grad()', `    (${predict} - y).square().mean().backward()`, '    optimizer.step()'].map(line => indent + line)
  if (v.part === 'quadratic') return ['import torch', 'from lesson8lib.gradients import gradient_descent, quadratic', '', ...data,
    `def loss(p): return (quadratic(*p, x) - y).${v.loss === 'MAE' ? 'abs' : 'square'}().mean()`, tensor('start', v.start[0]),
    `path = gradient_descent(loss, start, lr=${v.lr}, steps=${v.steps}, zero=${v.zero ? 'True' : 'False'})`, 'print(path[-1].tolist(), loss(path[-1]).item())'].join('\n')
  if (v.part === 'relus') return ['import torch', 'from lesson8lib.optimizers import Adam', 'from lesson8lib.relus import relu_interpolant', '', ...data,
    tensor('knots', v.start.map(([k]) => k)), tensor('values', v.start.map(([, value]) => value)), 'model = relu_interpolant(knots, values)',
    `optimizer = Adam(model.parameters(), lr=${v.lr}, ${betas})`, ...loop('model(x)'), 'errors = (model(x) - y).detach()', 'print(errors.square().mean().sqrt().item(), errors.abs().max().item())'].join('\n')
  const [sgd, momentum, rmsprop, adam] = v.rates[0]
  return ['import torch', 'from lesson8lib.optimizers import SGD, Adam, RMSprop', '', ...data, ...v.standardize ? ['x = (x - x.mean())/x.std(correction=0)'] : [],
    'entries = {', `    'SGD': lambda p: SGD([p], lr=${sgd}),`, `    'momentum': lambda p: SGD([p], lr=${momentum}, momentum=${v.momentum}),`,
    `    'RMSprop': lambda p: RMSprop([p], lr=${rmsprop}, alpha=${v.alpha}),`, `    'Adam': lambda p: Adam([p], lr=${adam}, ${betas})}`, 'for name, make in entries.items():',
    `    ${tensor('p', v.start[0])}`, '    optimizer = make(p.requires_grad_())', ...loop('p[0]*x + p[1]', '    '),
    '    print(name, p.tolist(), (p[0]*x + p[1] - y).square().mean().item())'].join('\n')
}

// ---- Plots
const STYLE = `
.x-fit-plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: .8rem; }
.x-fit-plots figure { margin: 0; min-width: 0; }
.x-fit-plots figcaption { font-size: .8rem; color: var(--x-muted); text-align: left; margin: 0; }
.x-fit-plots svg { display: block; width: 100%; height: auto; font-size: 11px; fill: var(--x-muted); overflow: visible; }
.x-fit-plots svg[tabindex] { touch-action: pan-y; cursor: move; }
.x-app .x-fit-plots svg:focus-visible { outline: 3px solid var(--x-focus); outline-offset: 1px; }
.x-fit-grid { stroke: var(--x-line); stroke-opacity: .3; }
.x-fit-data { fill: var(--x-muted); }
.x-fit-error { stroke: var(--x-muted); stroke-opacity: .6; }
.x-fit-line { fill: none; stroke-width: 2.2; }
.x-fit-level { fill: none; stroke: var(--x-line); stroke-opacity: .7; }
.x-fit-kink { fill: var(--x-c2); }
.x-fit-handle { fill: var(--x-zero); stroke: var(--x-c2); stroke-width: 2.5; }
.x-fit-handle.x-fit-chosen { fill: var(--x-c2); stroke: var(--x-focus); stroke-width: 4; }
.x-fit-params { display: grid; grid-template-columns: auto 4.2rem minmax(90px, 1fr) auto; gap: .1rem .7rem; align-items: center; margin: .6rem 0; font-variant-numeric: tabular-nums; }
.x-fit-params label { display: contents; }
.x-app .x-fit-params input { width: 100%; padding: 0; accent-color: var(--x-focus); }
.x-fit-track { position: relative; }
.x-fit-arrow { position: relative; height: 14px; margin: -4px 8px 2px; }
.x-fit-arrow span { position: absolute; top: 0; height: 8px; border-bottom: 3px solid var(--x-c1); }
.x-fit-arrow span::after { content: ''; position: absolute; bottom: -8px; border: 6.5px solid transparent; }
.x-fit-arrow .x-fit-up::after { right: -10px; border-left: 10px solid var(--x-c1); border-right: 0; }
.x-fit-arrow .x-fit-down::after { left: -10px; border-right: 10px solid var(--x-c1); border-left: 0; }
.x-fit-next { font-size: .8rem; color: var(--x-text); min-width: 11.5rem; }
@media (max-width: 500px) { .x-fit-params { grid-template-columns: auto 3.4rem 1fr; } .x-fit-next { grid-column: 1 / -1; margin-bottom: .4rem; } }
.x-app.x-app table.x-fit-race { width: 100%; max-width: 34rem; }
.x-app.x-app table.x-fit-race :is(td, th) { width: auto; min-width: 0; padding: .15rem .45rem; text-align: right; font-size: 13px; border: 0; border-bottom: 1px solid var(--x-line); color: var(--x-text); background: none; }
.x-app.x-app table.x-fit-race :is(td, th):first-child { text-align: left; white-space: nowrap; }
.x-app.x-app table.x-fit-race td input { width: 5rem; text-align: right; border: 1px solid var(--x-line); border-radius: .3rem; background: var(--x-soft); margin-left: auto; padding: 0 .3rem; }
@media (max-width: 500px) { .x-app.x-app table.x-fit-race :is(td, th) { padding: .15rem .2rem; font-size: 12px; } .x-app.x-app table.x-fit-race td input { width: 3.1rem; } }
.x-fit-race svg { width: 26px; height: 8px; margin-right: .35rem; }
@media (max-width: 500px) { .x-fit-race svg { width: 18px; margin-right: .2rem; } }
`
const INK = ['c1', 'c2', 'c3', 'c4'], DASH = ['none', '7 3', '2 3', '9 3 2 3']
function powers(low, high) {  // of 10, between 10**low and 10**high; where these are few, 2 and 5 times them, too
  const whole = Array.from({ length: Math.floor(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i), every = Math.ceil(whole.length/6)
  return whole.filter(e => e%every === 0).flatMap(e => (high - low < 2.5 ? [1, 2, 5] : [1]).map(m => m*10**e)).filter(t => t >= 10**low && t <= 10**high)
}
const WIDTH = 340, HEIGHT = 215, LEFT = 50, RIGHT = 8, TOP = 6, BOTTOM = 34
function plot(labels) {
  const area = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img' }), caption = h('figcaption')
  const self = { el: h('figure', {}, caption, area), area }
  // `marks` gets the scales from data to the picture, and gives elements, cut off at the frame
  self.draw = ({ title, label, xs, ys, log = false, marks }) => {
    const to = log ? v => Math.log10(Math.max(v, 1e-30)) : v => v, [low, high] = ys.map(to)
    const width = WIDTH - LEFT - RIGHT, height = HEIGHT - TOP - BOTTOM
    const X = v => clamp((v - xs[0])/(xs[1] - xs[0]), -9, 9)*width, Y = v => (1 - clamp((to(v) - low)/(high - low), -9, 9))*height
    const text = (x, y, anchor, words) => svg('text', { x, y, 'text-anchor': anchor }, words), grid = (x1, y1, x2, y2) => svg('line', { x1, y1, x2, y2, class: 'x-fit-grid' })
    const across = ticks(...xs).map(t => [LEFT + X(t), short(t)])
    const up = (log ? powers(low, high) : ticks(low, high)).map(t => [TOP + Y(t), log && (t < .01 || t > 1e4) ? t.toExponential(0).replace('e+', 'e') : short(t)])
    area.replaceChildren(...across.flatMap(([x, words]) => [grid(x, TOP, x, HEIGHT - BOTTOM), text(x, HEIGHT - BOTTOM + 13, 'middle', words)]),
      ...up.flatMap(([y, words]) => [grid(LEFT, y, WIDTH - RIGHT, y), text(LEFT - 5, y + 4, 'end', words.replace('-', '−'))]),
      text(LEFT + width/2, HEIGHT - 5, 'middle', labels[0]), svg('text', { transform: `translate(9 ${TOP + height/2}) rotate(-90)`, 'text-anchor': 'middle' }, labels[1]),
      svg('svg', { x: LEFT, y: TOP, width, height, viewBox: `0 0 ${width} ${height}`, style: 'overflow: hidden' }, ...marks(X, Y)))
    Object.assign(self, { xs, ys, X: v => LEFT + X(v), Y: v => TOP + Y(v) })
    area.setAttribute('aria-label', label)
    caption.textContent = title
  }
  self.at = event => {  // the data coordinates under the pointer
    const box = area.getBoundingClientRect(), x = (event.clientX - box.left)/box.width*WIDTH, y = (event.clientY - box.top)/box.height*HEIGHT
    return [self.xs[0] + (x - LEFT)/(WIDTH - LEFT - RIGHT)*(self.xs[1] - self.xs[0]), self.ys[1] - (y - TOP)/(HEIGHT - TOP - BOTTOM)*(self.ys[1] - self.ys[0])]
  }
  return self
}
const line = (points, ink, dash = 'none') => svg('polyline', { points: points.map(p => p.map(v => v.toFixed(1)).join()).join(' '), class: 'x-fit-line', style: `stroke: var(--x-${ink}); stroke-dasharray: ${dash}` })
const dot = (x, y, r, more) => svg('circle', { cx: x, cy: y, r, ...more })
function big(x) {  // a number of any size
  const size = Math.abs(x)
  if (!Number.isFinite(x)) return 'infinite'
  if (size >= 1e5) return x.toExponential(1).replace('-', '−').replace('e+', 'e')
  if (x && size < 1e-3) return String(Number(x.toPrecision(2))).replace(/-/g, '−')
  return fmt(x, size < .1 ? 4 : size < 1000 ? 2 : 0)
}
const signed = x => x < 0 || !Number.isFinite(x) ? big(x) : `+${big(x)}`
const span = (values, room = .08) => { const low = Math.min(...values), high = Math.max(...values), more = (high - low || 1)*room; return [low - more, high + more] }

// The data, and the error of each point
const data = (v, at, X, Y) => v.x.flatMap((t, i) => [svg('line', { x1: X(t), x2: X(t), y1: Y(v.y[i]), y2: Y(at(t)), class: 'x-fit-error' }), dot(X(t), Y(v.y[i]), 3, { class: 'x-fit-data' })])

// ---- The page
const TITLES = { quadratic: 'Fit a quadratic by hand and by gradient descent', optimizers: 'Four optimizers on one loss', relus: 'Fit a curve with ReLUs' }
function render({ model, el }) {
  const part = clean(SPEC, model.get('values')).part, root = frame(el, TITLES[part])
  root.append(h('style', {}, STYLE))
  const look = theme(root, () => state.draw()), state = store(model, SPEC, tidy, draw)
  let r = compute(state.values), timer = null
  const set = changes => { stop(); state.set(changes) }
  const box = (take, more = {}, when = 'oninput') => {  // for a number that need not be an integer
    const control = h('input', { type: 'text', inputmode: 'decimal', autocomplete: 'off', size: 6, ...more, [when]: () => { const x = readNumber(control.value); if (Number.isFinite(x)) take(x) } })
    control.addEventListener('blur', () => { control.value = control.dataset.now })  // what does not fit is not kept
    return { control, show: value => {
      control.dataset.now = String(value)
      if (document.activeElement !== control || readNumber(control.value) !== value) control.value = String(value)
    } }
  }
  const field = (label, take, when) => { const { control, show } = box(take, {}, when); return { el: labeled(label, control), show } }
  const setting = (label, key) => control(real(label, SPEC[key], x => set({ [key]: x })), v => v[key])
  const shown = []  // [control, value of the state]
  const control = (made, value) => { shown.push([made, value]); return made.el }
  const button = (label, onclick) => h('button', { type: 'button', onclick }, label)
  const play = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => timer ? stop() : go() }, 'Run')
  const forward = () => { if (state.values.steps < SPEC.steps.high && !r.error) state.set({ steps: state.values.steps + 1 }); else stop() }
  function go() {
    if (state.values.steps === SPEC.steps.high) state.set({ steps: 0 })  // from the start again
    timer = setInterval(() => { if (root.isConnected) forward(); else stop() }, calm() ? 500 : 60)
    pressed()
  }
  function stop() { clearInterval(timer); timer = null; pressed() }
  function pressed() { play.textContent = timer ? 'Pause' : 'Run'; play.setAttribute('aria-pressed', String(Boolean(timer))) }
  const stepping = [control(count('step', SPEC.steps, value => set({ steps: value })), v => v.steps), button('Step', () => { stop(); forward() }), play, button('Back to step 0', () => set({ steps: 0 }))]
  const read = readout(), facts = h('p', { class: 'x-facts' }), code = pythonButton(() => pythonFor(state.values))
  const history = plot(['step', part === 'quadratic' ? 'loss' : 'MSE'])
  const view = { quadratic: quadraticView, optimizers: optimizersView, relus: relusView }[part]()
  root.append(h('div', { class: 'x-row' }, view.controls), h('div', { class: 'x-row' }, stepping), h('div', { class: 'x-fit-plots' }, view.plot.el, history.el), ...view.below, read.el, facts, code.el)

  // A parabola, three sliders, and beside each the gradient and where the next step goes
  function quadraticView() {
    const low = -2, high = 6, curve = plot(['x', 'y']), names = ['a', 'b', 'c']
    const put = (k, value) => { const now = r.error ? state.values.start[0] : r.p; set({ start: [now.map((p, i) => tidyNumber(i === k ? value : clamp(p, -1000, 1000)))], steps: 0 }) }
    const rows = names.map((name, k) => {
      const range = h('input', { type: 'range', min: low, max: high, step: .01, 'aria-label': name, oninput: () => put(k, Number(range.value)) })
      const arrow = h('span'), track = h('div', { class: 'x-fit-arrow', 'aria-hidden': 'true' }, arrow), now = h('span'), next = h('span', { class: 'x-fit-next' })
      return { range, arrow, now, next, el: [h('b', {}, name), now, h('div', { class: 'x-fit-track' }, range, track), next] }
    })
    const draw = v => {
      const { losses, gradient, next } = r.runs[0], at = t => r.family.at(r.p, t), xs = span(v.x), ys = span([...v.y, 0], .1)
      const grid = Array.from({ length: 81 }, (_, i) => xs[0] + (xs[1] - xs[0])*i/80)
      curve.draw({ title: 'data, curve and errors', xs, ys, label: `${v.x.length} points, and the curve ${big(r.p[0])}·x² + ${big(r.p[1])}·x + ${big(r.p[2])}`, marks: (X, Y) => [
        ...data(v, at, X, Y), line(grid.map(t => [X(t), Y(at(t))]), 'c2')] })
      rows.forEach((row, k) => {
        const place = p => clamp((p - low)/(high - low), 0, 1)*100, from = place(r.p[k]), to = place(r.p[k] + next[k]/v.lr)
        row.range.value = r.p[k]
        row.range.setAttribute('aria-valuetext', `${names[k]} is ${big(r.p[k])}, its gradient ${big(gradient[k])}`)
        row.now.textContent = big(r.p[k])
        row.next.textContent = `gradient ${big(gradient[k])} → step ${signed(next[k])}`
        row.arrow.className = next[k] < 0 ? 'x-fit-down' : 'x-fit-up'
        Object.assign(row.arrow.style, { left: `${Math.min(from, to)}%`, width: `${Math.abs(to - from)}%`, display: next[k] ? '' : 'none' })
      })
      const now = losses.at(-1), change = now - losses[0]
      if (!Number.isFinite(now)) read.say(`Step ${v.steps}: the ${v.loss} has diverged. Use a smaller learning rate.`, Boolean(timer))
      else read.say(`Step ${v.steps}: a = ${big(r.p[0])}, b = ${big(r.p[1])}, c = ${big(r.p[2])}; the ${v.loss} is ${big(now)}${v.steps ? `, ${Math.abs(change) < 5e-5 ? 'the same as' : `${big(Math.abs(change))} ${change < 0 ? 'lower' : 'higher'} than`} at step 0` : ''}.`, Boolean(timer))
      const limit = steepest(curvatures(r.family, v.x))
      facts.textContent = `Red arrows: ${v.zero ? 'the negative gradient' : 'the negative sum of all gradients so far, which are never zeroed'}. The next step is ${v.lr} times as long.`
        + (v.loss === 'MSE' ? ` The largest curvature of this MSE is ${big(limit)}: gradient descent ${v.zero ? 'diverges' : 'then does not converge, and diverges'} at learning rates above ${v.zero ? 2 : 4}/${big(limit)} = ${big((v.zero ? 2 : 4)/limit)}.` : '')
      drawHistory(v, [losses], v.loss)
    }
    const controls = [control(choice('loss', ['MAE', 'MSE'].map(l => [l, l]), loss => set({ loss })), v => v.loss), setting('learning rate', 'lr'), control(toggle('zero the gradients after each step', zero => set({ zero })), v => v.zero)]
    return { plot: curve, below: [h('div', { class: 'x-fit-params' }, rows.flatMap(row => row.el))], controls, draw }
  }

  // Lines of equal loss over slope and intercept, and a path for each optimizer
  function optimizersView() {
    const map = plot(['intercept', 'slope']), cells = NAMES.map(() => [1, 2, 3].map(() => h('td')))
    const inputs = NAMES.map((name, k) => box(x => { if (fits(SPEC.rates, [[x]])) set({ rates: [state.values.rates[0].map((rate, i) => i === k ? x : rate)] }) }, { 'aria-label': `learning rate of ${name}` }))
    const sample = k => svg('svg', { viewBox: '0 0 26 8', 'aria-hidden': 'true' }, line([[0, 4], [26, 4]], INK[k], DASH[k]))
    const table = h('table', { class: 'x-fit-race' }, h('thead', {}, h('tr', {}, ['optimizer', 'learning rate', 'MSE', 'slope', 'intercept'].map(text => h('th', { scope: 'col' }, text)))),
      h('tbody', {}, NAMES.map((name, k) => h('tr', {}, h('th', { scope: 'row' }, sample(k), name), h('td', {}, inputs[k].control), cells[k]))))
    const begin = (slope, intercept) => set({ start: [[tidyNumber(clamp(slope, -1000, 1000)), tidyNumber(clamp(intercept, -1000, 1000))]] })
    draggable(map, event => { const [intercept, slope] = map.at(event); begin(slope, intercept) }, (up, right) => {
      const [slope, intercept] = state.values.start[0], size = ([low, high]) => (high - low)/40
      begin(slope + up*size(map.ys), intercept + right*size(map.xs))
    })
    const draw = v => {
      const best = leastSquares(r.x, v.y), matrix = curvatures(r.family, r.x), [slope, intercept] = v.start[0], top = steepest(matrix), low = matrix[0][0] + matrix[1][1] - top
      // the window holds the start and the minimum, and does not jump while the start is dragged
      const reach = 1.4*Math.max(Math.abs(slope - best[0]), Math.abs(best[0])/3, .1)
      const xs = dragged ?? span([best[1], intercept, best[1]*.9 - .1], .2), ys = dragged ? map.ys : [best[0] - reach, best[0] + reach]
      const lowest = lossOf(r.family, 'MSE', best, r.x, v.y), start = lossOf(r.family, 'MSE', v.start[0], r.x, v.y) - lowest
      const level = height => Array.from({ length: 73 }, (_, i) => {  // (p − best)ᵀ H (p − best)/2 = height, along the directions of a circle
        const d = [Math.sin(i*Math.PI/36)*(ys[1] - ys[0]), Math.cos(i*Math.PI/36)*(xs[1] - xs[0])], q = sum(d.map((a, k) => a*sum(d.map((b, j) => matrix[k][j]*b))))/2, t = Math.sqrt(height/q)
        return [best[0] + t*d[0], best[1] + t*d[1]]
      })
      map.draw({ title: 'lines of equal loss; drag the starting point', xs, ys, label: `Paths of four optimizers over intercept and slope, from slope ${big(slope)} and intercept ${big(intercept)}. Arrow keys move the starting point`, marks: (X, Y) => [
        ...[.0005, .0035, .01, .022, .043, .1, .2, .4].map(f => svg('polygon', { points: level(Math.max(start, 1e-9)*f).map(([a, b]) => `${X(b).toFixed(1)},${Y(a).toFixed(1)}`).join(' '), class: 'x-fit-level' })),
        ...r.runs.map((run, k) => line(run.path.filter(p => p.every(Number.isFinite)).map(([a, b]) => [X(b), Y(a)]), INK[k], DASH[k])),
        svg('text', { x: X(best[1]), y: Y(best[0]) + 6, 'text-anchor': 'middle', style: 'font-size: 20px; fill: var(--x-ink)' }, '★'),
        ...r.runs.flatMap(({ path }, k) => path.at(-1).every(Number.isFinite) ? [dot(X(path.at(-1)[1]), Y(path.at(-1)[0]), 4.5, { style: `fill: var(--x-${INK[k]})` })] : []),
        dot(X(intercept), Y(slope), 6, { class: 'x-fit-handle' })] })
      NAMES.forEach((_, k) => {
        const [a, b] = r.runs[k].path.at(-1)
        ;[r.runs[k].losses.at(-1), a, b].forEach((value, i) => { cells[k][i].textContent = big(value) })
        inputs[k].show(v.rates[0][k])
      })
      const ends = r.runs.map(run => run.losses.at(-1)), winner = ends.every(end => end === ends[0]) ? -1 : ends.indexOf(Math.min(...ends.filter(Number.isFinite)))
      read.say(`Step ${v.steps}: the MSE is ${NAMES.map((name, k) => `${big(ends[k])} with ${name}`).join(', ')}${v.steps && winner >= 0 ? `. ${NAMES[winner]}’s is the lowest` : ''}.`, Boolean(timer))
      facts.textContent = `Curvature of the loss: ${big(top)} across the valley, ${big(low)} along it, condition number ${big(top/low)}. SGD diverges at learning rates above 2/${big(top)} = ${Number((2/top).toPrecision(3))}.${v.steps === SPEC.steps.high ? ' This step is the last.' : ''}`
      drawHistory(v, r.runs.map(run => run.losses), 'MSE', true)
    }
    const controls = [setting('momentum and β₁', 'momentum'), setting('α of RMSprop', 'alpha'), setting('β₂ of Adam', 'beta2'), control(toggle('standardize x', standardize => set({ standardize })), v => v.standardize)]
    return { plot: map, below: [h('div', { class: 'x-wide' }, table)], controls, draw }
  }

  // Points that are dragged, and the sum of ReLUs through them
  function relusView() {
    const curve = plot(['x', state.values.unit || 'y']), last = () => state.values.start.length - 1
    const kinds = { evenly, greedily }, kind = v => Object.keys(kinds).find(name => same(kinds[name](v.x, v.y, v.start.length - 1), v.start)) ?? 'by hand'
    const place = (n, name) => set({ start: kinds[name](state.values.x, state.values.y, n), steps: 0 })
    const pick = event => {
      const box = curve.area.getBoundingClientRect(), px = (event.clientX - box.left)/box.width*WIDTH, py = (event.clientY - box.top)/box.height*HEIGHT
      const far = state.values.start.map(([k, value]) => Math.hypot(curve.X(k) - px, curve.Y(value) - py))
      state.set({ point: far.indexOf(Math.min(...far)) })
    }
    const move = (k, value) => {
      const { start, point, x } = state.values, room = (x.at(-1) - x[0])/200
      const at = clamp(k, point ? start[point - 1][0] + room : -1000, point < last() ? start[point + 1][0] - room : 1000)
      set({ start: start.map((p, i) => i === point ? [tidyNumber(at), tidyNumber(clamp(value, -1000, 1000))] : p), steps: 0 })
    }
    draggable(curve, event => { if (event.type === 'pointerdown') pick(event); else if (!state.values.steps) move(...curve.at(event)) }, (up, right) => {
      const [k, value] = state.values.start[state.values.point], size = ([low, high]) => (high - low)/80
      move(k + right*size(curve.xs), value + up*size(curve.ys))
    })
    const point = choice('knot', [], value => set({ point: Number(value) })), spelled = h('p', { class: 'x-spelled' })
    const axis = (label, i) => field(label, x => { if (fits(SPEC.start, [[x]])) move(...state.values.start[state.values.point].map((old, k) => k === i ? x : old)) }, 'onchange')  // not while one types: a knot stays between its neighbors
    const draw = v => {
      const { losses, path } = r.runs[0], p = path.at(-1), n = units(p), xs = dragged ?? span([...v.x, ...v.start.map(([k]) => k)], .04), ys = dragged ? curve.ys : span([...v.y, 0, ...v.start.map(([, value]) => value)], .1)
      const kinks = p.slice(0, n).map((m, i) => -p[n + i]/m).filter(k => k >= xs[0] && k <= xs[1]), at = t => r.family.at(p, t)
      const grid = [...Array.from({ length: 121 }, (_, i) => xs[0] + (xs[1] - xs[0])*i/120), ...kinks].sort((a, b) => a - b)
      const handles = v.steps ? kinks.map(k => [k, at(k)]) : v.start  // after a step, the kinks are where Adam puts them
      curve.draw({ title: v.steps ? 'the curve and its kinks (back to step 0 to drag)' : 'drag the knots of the curve', xs, ys, label: `A curve of ${n} ReLUs and ${v.x.length} data points. Arrow keys move knot ${v.point + 1}, Page Up and Page Down select another`, marks: (X, Y) => [
        ...data(v, at, X, Y), line(grid.map(t => [X(t), Y(at(t))]), 'c2'),
        ...handles.map(([k, value], i) => dot(X(k), Y(value), 5, { class: v.steps ? 'x-fit-kink' : `x-fit-handle${i === v.point ? ' x-fit-chosen' : ''}` }))] })
      if (point.control.options.length !== v.start.length) point.control.replaceChildren(...v.start.map((_, i) => h('option', { value: i }, `${i + 1} of ${v.start.length}`)))
      point.show(v.point)
      const errors = v.x.map((t, i) => Math.abs(at(t) - v.y[i])), worst = errors.indexOf(largest(errors)), unit = v.unit && ` ${v.unit}`
      read.say(`Step ${v.steps}: ${n} ${n === 1 ? 'ReLU has' : 'ReLUs have'} an RMSE of ${big(Math.sqrt(losses.at(-1)))}${unit}; the largest error is ${big(errors[worst])}${unit}, at x = ${short(v.x[worst])}.`, Boolean(timer))
      facts.textContent = `${3*n + 1} parameters. Each step of Adam updates all of them, so the kinks move, too.`
      const term = (a, b, w) => `${w < 0 ? '−' : '+'} ${fmt(Math.abs(w), 3)}·ReLU(${a === 1 ? '' : `${fmt(a, 3)}·`}x${b ? ` ${b < 0 ? '−' : '+'} ${a === 1 ? short(Math.abs(b)) : fmt(Math.abs(b), 3)}` : ''})`
      spelled.textContent = `f(x) = ${fmt(p[3*n], 3)} ${p.slice(0, n).map((m, i) => term(m, p[n + i], p[2*n + i])).join(' ')}`
      drawHistory(v, [losses], 'MSE', true)
    }
    const controls = [control(count('ReLUs', { low: 1, high: 20 }, n => place(n, kind(state.values) === 'greedily' ? 'greedily' : 'evenly')), v => v.start.length - 1),
      control(choice('knot placement', [...Object.keys(kinds), 'by hand'].map(k => [k, k]), name => { if (name in kinds) place(last(), name) }), kind), point.el,
      control(axis('knot x', 0), v => v.start[v.point][0]), control(axis('knot y', 1), v => v.start[v.point][1]), setting('learning rate', 'lr')]
    return { plot: curve, below: [spelled], controls, draw }
  }

  let dragged = null  // the window of the plot during a drag
  function draggable(picture, point, nudge) {
    const { area } = picture
    area.setAttribute('role', 'application')
    area.setAttribute('tabindex', '0')
    pointing(area, event => {
      if (event.type === 'pointerdown') { area.focus(); dragged = picture.xs }
      point(event)
    }, event => [...area.querySelectorAll('.x-fit-handle')].some(handle => {  // a finger drags a handle, and scrolls beside it
      const box = handle.getBoundingClientRect()
      return Math.hypot(event.clientX - box.x - box.width/2, event.clientY - box.y - box.height/2) < 20
    }))
    for (const end of ['pointerup', 'pointercancel']) area.addEventListener(end, () => { dragged = null; state.draw() })
    area.addEventListener('keydown', event => {
      const moves = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }, other = { PageUp: -1, PageDown: 1 }[event.key]
      if (event.ctrlKey || event.metaKey || event.altKey || !(moves[event.key] || other)) return
      event.preventDefault()
      if (other) state.set({ point: clamp(state.values.point + other, 0, state.values.start.length - 1) })
      else nudge(...moves[event.key])
    })
  }
  function drawHistory(v, series, name, log = false) {
    const most = Math.max(v.steps, 20), finite = series.flat().filter(y => Number.isFinite(y) && y < 1e12), low = Math.max(1e-10, Math.min(...finite)), high = Math.max(...finite, low)
    const ys = log ? [Math.min(low, high/10)/1.2, high*1.5] : [0, Math.min(high, 4*series[0][0] + 1)*1.08 || 1]
    history.draw({ title: `${name} after each step`, label: `${name} over ${v.steps} steps: ${series.map((one, k) => `${series.length > 1 ? `${NAMES[k]} ` : ''}from ${big(one[0])} to ${big(one.at(-1))}`).join(', ')}`, xs: [0, most], ys, log,
      marks: (X, Y) => series.flatMap((one, k) => { const points = one.map((y, i) => [X(i), Number.isFinite(y) ? Y(y) : -9e3]), ink = series.length > 1 ? INK[k] : 'c2'; return [line(points, ink, DASH[k]), dot(...points.at(-1), 4, { style: `fill: var(--x-${ink})` })] }) })
  }
  function draw() {
    if (!look.colors.zero) return
    const v = state.values
    r = compute(v)
    code.draw()
    for (const [made, value] of shown) made.show(value(v))
    if (r.error) { stop(); read.say(r.error); facts.textContent = ''; return }
    view.draw(v)
  }
  look.start()
  return () => { clearInterval(timer); look.stop(); state.stop() }
}
export default { render }
