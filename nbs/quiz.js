// "Test yourself": buttons for choices, a box for a number; the answer at once; progress in the page's own storage. Without this script the page lists choices and folds answers
(() => {
  const KEY = 'lesson8lib-quiz'
  const load = () => { try { return Object(JSON.parse(localStorage.getItem(KEY))) } catch { return {} } }
  const save = state => { try { localStorage.setItem(KEY, JSON.stringify(state)) } catch { /* private mode: progress lasts until the page is left */ } }
  let state = load()

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
    element.append(...children)
    return element
  }

  // What a text may mean as a number: 2.5, 2,5, −3, 1/3, 5,081,600; one comma before three digits may be either
  const numbers = text => {
    const s = text.trim().replace(/[−–]/g, '-').replace(/\s/g, '').replace(/^\+/, '')
    const value = s => {
      const [top, bottom, ...more] = s.split('/').map(part => /^-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(part) ? Number(part) : NaN)
      return more.length ? NaN : bottom === undefined ? top : top / bottom
    }
    const readings = [s, ...(/^-?\d{1,3}(,\d{3})+(\.\d+)?$/.test(s) ? [s.replaceAll(',', '')] : []), ...(/^[^,]*,[^,]*$/.test(s) ? [s.replace(',', '.')] : [])]
    return readings.map(value).filter(Number.isFinite)
  }

  const questions = [...document.querySelectorAll('.question')]
  const score = make('p', { class: 'quiz-score' }), total = make('span', { role: 'status' })
  const count = () => {
    const seen = questions.filter(q => q.id in state), right = seen.filter(q => state[q.id])
    total.textContent = `${right.length} right at the first try, of ${seen.length} answered and ${questions.length} in all. `
  }
  const again = make('button', { type: 'button' }, 'Start over')
  score.append(total, again)

  for (const question of questions) {
    const answer = question.querySelector('details'), result = make('p', { class: 'quiz-result', role: 'status' })
    const label = question.querySelector('p')
    label.id = `${question.id}-asked`
    const say = (text, right) => {
      const again = result.textContent === text
      result.textContent = again ? '' : text
      if (again) requestAnimationFrame(() => { result.textContent = text })  // so that a screen reader says it again
      if (right === undefined) delete result.dataset.right
      else result.dataset.right = right
    }
    const tell = right => {
      if (!(question.id in state)) save(state = { ...load(), ...state, [question.id]: right })
      say(right ? 'Right.' : 'Not quite.', right)
      answer.open = true
      count()
    }
    const list = [...question.children].findLast(child => child.matches('ul'))
    if ('right' in question.dataset) {
      const box = make('div', { class: 'choices', role: 'group', 'aria-labelledby': label.id })
      const buttons = [...list.children].map((item, i) => {
        const button = make('button', { type: 'button', 'aria-pressed': false })
        const paragraph = item.children.length === 1 && item.firstElementChild.matches('p') ? item.firstElementChild : item
        button.append(...paragraph.childNodes)
        button.onclick = () => {
          for (const other of buttons) {
            other.setAttribute('aria-pressed', other === button)
            other.removeAttribute('data-chosen')
          }
          button.dataset.chosen = i === Number(question.dataset.right)
          tell(i === Number(question.dataset.right))
        }
        box.append(button)
        return button
      })
      list.replaceWith(box)
    } else {
      const input = make('input', { type: 'text', inputmode: 'decimal', autocomplete: 'off', 'aria-labelledby': label.id })
      const form = make('form', {}, input, make('button', {}, 'Check'))
      form.onsubmit = event => {
        event.preventDefault()
        const typed = numbers(input.value), wanted = Number(question.dataset.answer), tolerance = Number(question.dataset.tolerance) + 1e-9
        if (!typed.length) say('Type a number, such as 2.5 or 1/3.')
        else tell(typed.some(value => Math.abs(value - wanted) <= tolerance))
      }
      answer.before(form)
    }
    answer.before(result)
    if (question.id in state) {
      result.textContent = state[question.id] ? 'Answered: right.' : 'Answered: not right at the first try.'
      result.dataset.right = state[question.id]
    }
  }
  again.onclick = () => {
    if (Object.keys(state).length && !confirm('Forget all answers?')) return
    save(state = {})
    for (const question of questions) {
      const result = question.querySelector('.quiz-result')
      result.textContent = ''
      delete result.dataset.right
      question.querySelector('details').open = false
      for (const button of question.querySelectorAll('.choices button')) {
        button.removeAttribute('data-chosen')
        button.setAttribute('aria-pressed', false)
      }
      const input = question.querySelector('input')
      if (input) input.value = ''
    }
    count()
  }
  questions[0]?.closest('section, main').before?.(score)
  count()
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView()  // below the score, which was not there when the page came
})()
