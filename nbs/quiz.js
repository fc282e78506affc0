// "Test yourself": buttons for choices, a box for a number; the answer at once; progress in the page's own storage. Without this script the page lists choices and folds answers
(() => {
  const KEY = 'lesson8lib-quiz'
  const load = () => { try { return JSON.parse(localStorage.getItem(KEY)) ?? {} } catch { return {} } }
  const save = state => { try { localStorage.setItem(KEY, JSON.stringify(state)) } catch { /* private mode: progress lasts until the page is left */ } }
  let state = load()

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
    element.append(...children)
    return element
  }

  // 2.5, 2,5, −3, 1/3, 5,081,600
  const number = text => {
    let s = text.trim().replace(/[−–]/g, '-').replace(/\s/g, '')
    s = /^-?\d{1,3}(,\d{3})+(\.\d+)?$/.test(s) ? s.replaceAll(',', '') : s.replace(',', '.')
    const [, top, , bottom] = s.match(/^(-?\d*\.?\d+(?:e-?\d+)?)(\/(\d*\.?\d+))?$/i) ?? []
    return top === undefined ? NaN : Number(top) / (bottom === undefined ? 1 : Number(bottom))
  }

  const questions = [...document.querySelectorAll('.question')]
  const score = make('p', { class: 'quiz-score', role: 'status' })
  const count = () => {
    const seen = questions.filter(q => q.id in state), right = seen.filter(q => state[q.id])
    score.firstChild.textContent = `${right.length} right at the first try, of ${seen.length} answered and ${questions.length} in all. `
  }
  const again = make('button', { type: 'button' }, 'Start over')
  score.append('', again)

  for (const question of questions) {
    const answer = question.querySelector('details'), result = make('p', { class: 'quiz-result', role: 'status' })
    const tell = right => {
      if (!(question.id in state)) save(state = { ...load(), ...state, [question.id]: right })
      result.textContent = right ? 'Right.' : 'Not quite.'
      result.dataset.right = right
      answer.open = true
      count()
    }
    const list = [...question.children].findLast(child => child.matches('ul'))
    if ('right' in question.dataset) {
      const box = make('div', { class: 'choices', role: 'group', 'aria-label': 'Choices' })
      const buttons = [...list.children].map((item, i) => {
        const button = make('button', { type: 'button' })
        const paragraph = item.children.length === 1 && item.firstElementChild.matches('p') ? item.firstElementChild : item
        button.append(...paragraph.childNodes)
        button.onclick = () => {
          for (const other of buttons) other.removeAttribute('data-chosen')
          button.dataset.chosen = i === Number(question.dataset.right)
          tell(i === Number(question.dataset.right))
        }
        box.append(button)
        return button
      })
      list.replaceWith(box)
    } else {
      const input = make('input', { type: 'text', inputmode: 'decimal', autocomplete: 'off', 'aria-label': 'Your answer, a number' })
      const form = make('form', {}, input, make('button', {}, 'Check'))
      form.onsubmit = event => {
        event.preventDefault()
        const typed = number(input.value), wanted = Number(question.dataset.answer)
        if (Number.isNaN(typed)) { result.textContent = 'Type a number, such as 2.5 or 1/3.'; delete result.dataset.right; return }
        tell(Math.abs(typed - wanted) <= Math.max(Number(question.dataset.tolerance), 1e-3 * Math.abs(wanted)))
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
    save(state = {})
    for (const question of questions) {
      const result = question.querySelector('.quiz-result')
      result.textContent = ''
      delete result.dataset.right
      question.querySelector('details').open = false
      for (const button of question.querySelectorAll('[data-chosen]')) button.removeAttribute('data-chosen')
      const input = question.querySelector('input')
      if (input) input.value = ''
    }
    count()
  }
  questions[0]?.closest('section, main').before?.(score)
  count()
})()
