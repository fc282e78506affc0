"The built site in a real browser: desktop and telephone, light and dark, over http and from a file"
import os
import re
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from importlib.resources import files
from urllib.parse import quote, urlsplit

import docs
import pytest
from conftest import ROOT, Quiet
from explorable_pages import other_state, stored
from test_site import PAGES

sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')

DESKTOP, PHONE = dict(width=1280, height=800), dict(width=390, height=844)
OVERFLOW = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'
# the text with the least contrast to what lies behind it (4.5 is what WCAG AA asks for, except of what is disabled), as [ratio, element, text]
CONTRAST = '''() => {
  const seen = new Map(), style = el => seen.get(el) || seen.set(el, getComputedStyle(el)).get(el)
  const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true}), known = {}
  const rgb = c => known[c] ||= (() => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = c; pen.fillRect(0, 0, 1, 1); const d = [...pen.getImageData(0, 0, 1, 1).data]; d[3] /= 255; return d })()
  const light = c => c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v/12.92 : ((v + .055)/1.055)**2.4).reduce((s, v, i) => s + v*[.2126, .7152, .0722][i], 0)
  const over = (a, b) => [0, 1, 2].map(i => a[i]*a[3] + b[i]*(1 - a[3]))
  const behind = el => {
    const layers = []
    for (; el; el = el.parentElement) { const c = rgb(style(el).backgroundColor); if (c[3]) layers.unshift(c); if (c[3] > .99) break }
    return layers.reduce((below, c) => over(c, below), [255, 255, 255])
  }
  const opacity = el => { let o = 1; for (; el; el = el.parentElement) o *= style(el).opacity; return o }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), done = new Set()
  let worst = [99, '', '']
  for (let text; text = texts.nextNode();) {
    const el = text.parentElement
    if (!text.data.trim() || done.has(el)) continue
    done.add(el)
    if (el.closest('script, style, .katex, svg, .anchorjs-link, [data-no-contrast], :disabled, [aria-disabled=true]') || !el.checkVisibility({visibilityProperty: true})) continue
    const b = behind(el), c = rgb(style(el).color), [x, y] = [light(over([...c.slice(0, 3), c[3]*opacity(el)], b)), light(b)].sort((x, y) => y - x)
    const ratio = (x + .05)/(y + .05)
    if (ratio < worst[0]) worst = [ratio, el.tagName + '.' + el.className, text.data.trim().slice(0, 40)]
  }
  return worst
}'''
# lines of code that are wrapped or broken: [lines, how many fit into the height of the code]
WRAPPED = '''() => [...document.querySelectorAll('main .sourceCode pre code')].filter(code => code.checkVisibility()).map(code => {
  const lines = code.textContent.replace(/\\n$/, '').split('\\n').length, height = parseFloat(getComputedStyle(code).lineHeight)
  const range = document.createRange()
  range.selectNodeContents(code)
  return [lines, Math.round(range.getBoundingClientRect().height/height)]
}).filter(([lines, fit]) => lines != fit)'''
# code of at most 88 columns that does not fit into its box: [columns, width of the box, width of the code]
TOO_WIDE = '''() => [...document.querySelectorAll('main .sourceCode pre')].filter(pre => pre.checkVisibility())
  .map(pre => [Math.max(...pre.textContent.split('\\n').map(line => line.length)), pre.clientWidth, pre.scrollWidth])
  .filter(([columns, box, width]) => columns <= 88 && width > box)'''
# labels that are cut off
CLIPPED = '''() => [...document.querySelectorAll('.sidebar-link, #TOC a, main summary, main h1, main h2, main h3, .page-top a, .pagination-link, figcaption')]
  .filter(el => el.checkVisibility() && el.clientWidth && el.scrollWidth > el.clientWidth + 1).map(el => el.innerText)'''
# pictures of notebooks with less than two pixels for each one of the screen: [width of the picture, on the screen]
COARSE = '''() => [...document.querySelectorAll('main figure img, main .cell-output-display img')].filter(i => i.naturalWidth && i.checkVisibility())
  .map(i => [i.naturalWidth, i.getBoundingClientRect().width - parseFloat(getComputedStyle(i).paddingLeft)*2]).filter(([own, shown]) => own < 1.99*shown)'''
RESULT = '.search-result, a.search-result-link' # smalldocs's and Quarto's
SCREEN = 'el => { const r = el.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight && r.left >= 0 && r.right <= innerWidth && el.checkVisibility() }'


@pytest.fixture(scope='session')
def address(site):
    "The site over http, on a free port; at the path of the published site, too, and with its page for addresses without one"
    root = urlsplit(docs.urls()['docs']).path
    class Handler(Quiet):
        def translate_path(self, path): return super().translate_path('/' + path.removeprefix(root) if path.startswith(root) else path)
        def send_error(self, code, *args, **kwargs):
            if code!=404: return super().send_error(code, *args, **kwargs)
            self.send_response(404)
            self.send_header('Content-Type', 'text/html')
            self.end_headers()
            self.wfile.write((site/'404.html').read_bytes())
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()

@pytest.fixture(scope='session')
def profile(browser):
    "A function that gives a browser profile for a size and a mode; its cache is kept from page to page"
    kept = {}
    def get(viewport, scheme):
        key = viewport['width'], scheme
        if key not in kept:
            kept[key] = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion='reduce')  # no color halfway
            kept[key].set_default_timeout(10_000)
        return kept[key]
    return get

@pytest.fixture
def tab(profile, address):
    "A function that opens a page; what goes wrong on it gathers in `tab.wrong`"
    pages = []
    def open_page(name, viewport=DESKTOP, scheme='light', base=address):
        page = profile(viewport, scheme).new_page()
        pages.append(page)
        page.on('console', lambda m: open_page.wrong.append(m.text) if m.type=='error' else None)
        page.on('pageerror', lambda e: open_page.wrong.append(str(e)))
        page.on('requestfailed', lambda r: open_page.wrong.append(f'failed: {r.url}'))
        page.on('response', lambda r: open_page.wrong.append(f'{r.status}: {r.url}') if r.status>=400 else None)
        page.on('request', lambda r: None if r.url.startswith((base, 'data:', 'blob:')) else open_page.wrong.append(f'another host: {r.url}'))
        page.goto(f'{base}/{name}', wait_until='load')
        return page
    open_page.wrong = []
    yield open_page
    for page in pages: page.close()

def is_dark(page):
    "Whether the page's background is dark"
    return page.evaluate('getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) < 384')

def look(page, scheme):
    "What must hold at any size, in light and in dark"
    page.wait_for_function(f"!!document.querySelector('html.quarto-dark, body.quarto-dark') == {str(scheme=='dark').lower()}")
    assert is_dark(page)==(scheme=='dark')
    assert page.evaluate(OVERFLOW)<=1, 'the page scrolls sideways'
    assert page.locator('.math:not(:has(.katex)), .katex-error').all_inner_texts()==[], 'a formula is not rendered'
    assert page.evaluate("[...document.querySelectorAll('.katex .sqrt svg')].filter(s => s.getBoundingClientRect().height < 8).length")==0, 'a root has lost its sign'
    assert page.evaluate(CLIPPED)==[], 'a label is cut off'
    assert page.evaluate(COARSE)==[], 'a picture has less than two pixels for each one'
    page.evaluate("document.querySelectorAll('main details').forEach(fold => fold.open = true)")
    assert page.evaluate(OVERFLOW)<=1, 'the page scrolls sideways when all folds are open'
    ratio, element, text = page.evaluate(CONTRAST)
    assert ratio>=4.5, f'contrast {ratio:.1f}: {element} {text!r}'


@pytest.mark.parametrize('name', PAGES)
def test_page(tab, name):
    "Loaded at desktop in light and on a telephone in dark; each then switched to the other mode, as the system would"
    for viewport, scheme, other in ((DESKTOP, 'light', 'dark'), (PHONE, 'dark', 'light')):
        page = tab(name, viewport, scheme)
        look(page, scheme)
        assert page.evaluate(WRAPPED)==[], 'a line of code is wrapped'
        if viewport==DESKTOP: assert page.evaluate(TOO_WIDE)==[], 'code of 88 columns does not fit'
        page.emulate_media(color_scheme=other)
        look(page, other)
    assert not tab.wrong

@pytest.mark.parametrize('name', PAGES)
def test_accessibility(tab, name):
    "axe-core finds no violation of WCAG 2.1 AA, on a desktop in light and on a telephone in dark, with all folds open; `look` measures contrast in dark"
    axe = pytest.importorskip('axe_playwright_python', reason='axe-playwright-python, which carries axe-core, is not installed')
    for viewport, scheme in ((DESKTOP, 'light'), (PHONE, 'dark')):
        page = tab(name, viewport, scheme)
        page.evaluate("document.querySelectorAll('main details').forEach(fold => fold.open = true)")
        page.evaluate((files(axe)/'axe.min.js').read_text(encoding='utf-8'))
        found = page.evaluate("""slow => axe.run(document, { preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], rules: { 'color-contrast': { enabled: slow } } })
          .then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 120)]))""", scheme=='light')
        assert found==[], scheme

# ---- code
def with_folds(site):
    "A page with a folded section, a folded cell and an answer"
    kinds = r'<details[^>]* class="fold"', r'<details class="code-fold"', r'<summary>\s*Answer'
    return next(p for p in PAGES if all(re.search(kind, (site/p).read_text(encoding='utf-8')) for kind in kinds))

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_code(tab, site, viewport):
    "88 columns fit on a wide screen, beside a scroll bar and in a fold too, at a size that can be read; on a phone they scroll in their box, unwrapped"
    page = tab(with_folds(site), viewport)
    found = page.evaluate('''() => {
      document.querySelectorAll('main details').forEach(fold => fold.open = true)
      document.querySelector('#quarto-content').style.width = `${document.documentElement.clientWidth - 15}px`
      const places = ['main > section .cell', 'details.fold .cell', 'details.code-fold', 'details:not(.fold, .code-fold, .page-top *)']
      return places.map(place => document.querySelector(`${place} pre.sourceCode`)).map(pre => {
        const code = pre.querySelector('code'), style = getComputedStyle(code), range = document.createRange()
        code.textContent = 'x'.repeat(44) + ' '.repeat(43) + '#'
        range.selectNodeContents(code)
        return [parseFloat(style.fontSize), pre.scrollWidth <= pre.clientWidth, range.getBoundingClientRect().height <= parseFloat(style.lineHeight)]
      })
    }''')
    for size, fits, one_line in found: assert size>=12.5 and one_line and fits==(viewport==DESKTOP), found
    assert page.evaluate(OVERFLOW)<=1

@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_comments_are_less_bright_than_code(tab, scheme):
    page = tab('dropout.html', scheme=scheme)
    color = lambda selector: page.locator(selector).first.evaluate('el => [getComputedStyle(el).color, getComputedStyle(el).fontStyle]')
    comment, text = color('main pre code span.co'), color('main pre code')
    assert comment[0]!=text[0] and comment[1]=='normal'

def test_underscores_of_linked_names_are_seen(tab):
    "The line below a link is below its underscores"
    page = tab('api.html')
    assert page.locator('main td a:has(> code)').first.evaluate('el => parseFloat(getComputedStyle(el).textUnderlineOffset)/parseFloat(getComputedStyle(el).fontSize)')>=.3

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_names_are_not_broken(tab, viewport):
    page = tab('api.html', viewport)
    assert page.locator('main td:first-child code').evaluate_all('all => all.filter(el => el.getClientRects().length != 1).map(el => el.innerText)')==[]

# ---- folds
def test_fold_by_keyboard(tab, site):
    page = tab(with_folds(site))
    fold = page.locator('details.fold').first
    fold.locator('> summary').focus()
    for is_open in (True, False):
        page.keyboard.press('Enter')
        assert fold.evaluate('el => el.open')==is_open

def test_fold_is_found(tab, site):
    "A link to a fold or into one opens it, and so does the browser's search, which the address can start"
    page = tab(name := with_folds(site))
    fold = page.locator('details.fold').first
    anchor, words = fold.get_attribute('id'), fold.evaluate("el => el.querySelector('p').textContent.trim().split(/[^\\w ]/)[0].trim()")
    assert not fold.evaluate('el => el.open')
    page.evaluate('anchor => { location.hash = anchor }', anchor)
    page.wait_for_function("document.querySelector('details.fold').open")
    assert fold.locator('> summary').evaluate(SCREEN)
    for hash in (anchor, f':~:text={quote(words)}'):
        page = tab(f'{name}#{hash}')
        page.wait_for_function("document.querySelector('details.fold').open")

def test_folded_lines_are_compact(tab, site):
    "A folded cell takes the room of its line, and those in a row follow one another closely"
    page = tab(with_folds(site))
    rows, gaps = page.evaluate('''() => {
      const cells = [...document.querySelectorAll('.cell:has(> details.code-fold:only-child)')].filter(el => el.checkVisibility()), box = el => el.getBoundingClientRect()
      return [cells.map(el => box(el).height - box(el.querySelector('summary')).height),
              cells.filter(el => cells.includes(el.nextElementSibling)).map(el => box(el.nextElementSibling).top - box(el).bottom)]
    }''')
    assert rows and max(rows)<=4 and max([*gaps, 0])<=8
    assert page.locator('details.code-fold > summary').first.evaluate('el => parseFloat(getComputedStyle(el).fontSize)')<15

# ---- finding one's way
def test_links_do_not_glide(tab, browser, address):
    "A link into a page is there at once, even where the reader has not asked for less motion"
    context = browser.new_context(reduced_motion='no-preference')
    page = context.new_page()
    page.goto(f'{address}/{PAGES[2]}')
    assert page.evaluate('getComputedStyle(document.documentElement).scrollBehavior')=='auto'
    context.close()

@pytest.mark.parametrize('name', [PAGES[1], PAGES[len(PAGES)//2], PAGES[-1]])
def test_menu_shows_the_page(tab, name):
    "The menu has scrolled to the page that is open"
    assert tab(name).locator('.sidebar-link.active').evaluate(SCREEN)

@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_phone_has_contents_links_and_search_on_top(tab, scheme):
    page = tab('dropout.html', PHONE, scheme)
    links = page.locator('.page-top > a')
    assert links.all_inner_texts()==['Open in Colab', 'View source', 'How to read']
    for i in range(3): assert links.nth(i).evaluate(SCREEN)
    page.locator('.page-top summary').click()
    contents = page.locator('.page-top li a')
    assert contents.first.evaluate(SCREEN) and page.evaluate(OVERFLOW)<=1
    contents.nth(3).click()
    assert 0 <= page.evaluate('document.getElementById(location.hash.slice(1)).getBoundingClientRect().top') < PHONE['height']/2
    page.locator('.quarto-search-button').click()  # the bar stays at the top
    page.wait_for_function("document.activeElement.matches('input')")
    page.wait_for_function(f"({SCREEN})(document.activeElement)")
    assert not tab.wrong

@pytest.mark.parametrize('width, beside', [(390, False), (991, False), (992, False), (1100, False), (1199, False), (1200, True), (1280, True), (1920, True)])
def test_contents_are_in_one_place(tab, width, beside):
    "Beside the text or below the title; the text keeps a readable width"
    page = tab('dropout.html', dict(width=width, height=800))
    for selector, there in (('#TOC', beside), ('.page-top', not beside)): assert page.locator(selector).evaluate('el => el.checkVisibility()')==there
    assert page.locator('main').evaluate('el => el.clientWidth')>=min(width-40, 640) and page.evaluate(OVERFLOW)<=1

def test_contents_of_the_glossary(tab):
    "Letters, not terms"
    assert all(len(text)==1 for text in tab('glossary.html').locator('#TOC li a:not(.quarto-code-links a)').all_inner_texts())

def test_home_page_has_a_picture(tab):
    assert tab('index.html').locator('main figure img').first.evaluate('el => el.naturalWidth')>600

# ---- the map and the quiz
def rows_left(page): return page.locator('main table tbody tr, main li:has(> a[id])').evaluate_all('all => all.filter(row => row.checkVisibility()).length')

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_the_map_is_filtered_by_typing(tab, viewport):
    page = tab('map.html', viewport)
    everything = rows_left(page)
    page.locator('.filter input').focus()
    page.keyboard.type('dropout mask')
    some = rows_left(page)
    assert 0<some<.1*everything and page.locator('.filter [role=status]').inner_text()==f'{some} of {everything} entries'
    assert page.url.endswith('?find=dropout+mask') and page.evaluate(OVERFLOW)<=1
    page.keyboard.press('Control+A')
    page.keyboard.press('Delete')
    assert rows_left(page)==everything and '?' not in page.url
    assert rows_left(tab('map.html?find=dropout+mask', viewport))==some and not tab.wrong

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['desktop', 'phone'])
@pytest.mark.parametrize('row', ['t050', 'o100', 'q007', 't101', 'questions-8'])
def test_a_row_of_the_map_has_an_address(tab, row, viewport):
    page = tab(f'map.html#{row}', viewport)
    seen = """el => {
      const r = (el.closest('tr, li') ?? el).getBoundingClientRect(), top = document.elementFromPoint(r.left + 5, r.top + 3)
      return r.top < innerHeight && !top.closest('.filter, .quarto-secondary-nav')
    }"""
    assert page.locator(f'#{row}').evaluate(seen), 'the bar at the top covers it'

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_map_and_quiz_can_be_read(tab, viewport, scheme):
    for name in ('map.html', 'quiz.html', 'reading.html'): look(tab(name, viewport, scheme), scheme)
    assert not tab.wrong

def test_a_box_of_the_picture_is_a_link(tab):
    for name in ('index.html', 'map.html'):
        page = tab(name)
        page.locator('svg.lesson a[href="dropout.html"]').focus()
        page.keyboard.press('Enter')
        page.wait_for_url('**/dropout.html')

def state_of(page): return page.evaluate("JSON.parse(localStorage.getItem('lesson8lib-quiz') ?? '{}')")

@pytest.fixture
def quiz_page(browser, address):
    "A function that opens the quiz, with a storage of its own"
    contexts = []
    def open_page(viewport=DESKTOP, **options):
        contexts.append(browser.new_context(viewport=viewport, reduced_motion='reduce', **options))
        page = contexts[-1].new_page()
        page.goto(f'{address}/quiz.html', wait_until='load')
        return page
    yield open_page
    for context in contexts: context.close()

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_a_choice_by_mouse(quiz_page, viewport):
    page = quiz_page(viewport)
    question = page.locator('.question[data-right]').first
    right, name = int(question.get_attribute('data-right')), question.get_attribute('id')
    buttons, fold = question.locator('.choices button'), question.locator('details')
    assert not fold.evaluate('el => el.open')
    buttons.nth((right+1)%buttons.count()).click()
    assert question.locator('.quiz-result').inner_text().endswith('Not quite.') and fold.evaluate('el => el.open') and state_of(page)=={name: False}
    buttons.nth(right).click()
    assert question.locator('.quiz-result').inner_text().endswith('Right.') and state_of(page)=={name: False}, 'the first try counts'
    assert page.locator('.quiz-score').inner_text().startswith('0 right at the first try, of 1 answered')
    assert page.evaluate(OVERFLOW)<=1

def test_a_choice_and_a_number_by_keyboard(quiz_page):
    page = quiz_page()
    question = page.locator('.question[data-right]').first
    question.locator('.choices button').nth(int(question.get_attribute('data-right'))).focus()
    page.keyboard.press('Enter')
    assert question.locator('.quiz-result').inner_text().endswith('Right.')
    number = page.locator('.question[data-answer]').first
    number.locator('input').focus()
    page.keyboard.type('many')
    page.keyboard.press('Enter')
    assert 'Type a number' in number.locator('.quiz-result').inner_text() and len(state_of(page))==1
    page.keyboard.press('Control+A')
    page.keyboard.type(number.get_attribute('data-answer').replace('-', '−').replace('.', ','))
    page.keyboard.press('Enter')
    assert number.locator('.quiz-result').inner_text().endswith('Right.') and number.locator('details').evaluate('el => el.open')
    assert set(state_of(page).values())=={True} and len(state_of(page))==2
    page.reload()
    assert page.locator('.quiz-score').inner_text().startswith('2 right at the first try, of 2 answered')
    page.locator('.quiz-score button').focus()
    page.keyboard.press('Enter')  # the question is dismissed: nothing is lost
    assert len(state_of(page))==2
    page.once('dialog', lambda dialog: dialog.accept())
    page.keyboard.press('Enter')
    assert state_of(page)=={} and page.locator('.quiz-score').inner_text().startswith('0 right at the first try, of 0 answered')

@pytest.mark.parametrize('mark', ['.', ','])
def test_every_number_is_accepted_as_it_is_written(quiz_page, mark):
    page = quiz_page()
    wrong = page.evaluate("""mark => [...document.querySelectorAll('.question[data-answer]')].filter(question => {
      question.querySelector('input').value = question.dataset.answer.replace('.', mark)
      question.querySelector('form').requestSubmit()
      return question.querySelector('.quiz-result').textContent !== 'Right.'
    }).map(question => question.id)""", mark)
    assert wrong==[] and set(state_of(page).values())=={True}

@pytest.mark.parametrize('typed, wanted, right', [('1/3', .3333, True), ('+2.5', 2.5, True), ('5,081,600', 5081600, True), ('1e-3', .001, True), ('4,605', 4.605, True), ('-.5', -.5, True),
    ('4670', 4672, False), ('1/3/4', .0833, None), ('two', 2, None), ('', 0, None)])
def test_what_is_typed(quiz_page, typed, wanted, right):
    page = quiz_page()
    question = page.locator('.question[data-answer]').first
    question.evaluate('(el, [wanted, tolerance]) => { el.dataset.answer = wanted; el.dataset.tolerance = tolerance }', [wanted, 1e-4 if wanted==int(wanted) else 1e-3*abs(wanted)])
    question.locator('input').fill(typed)
    question.locator('form button').click()
    assert state_of(page)=={} if right is None else list(state_of(page).values())==[right]

@pytest.mark.parametrize('stored', ['5', '"x"', '{', 'null'])
def test_a_spoiled_storage_is_no_obstacle(quiz_page, stored):
    page = quiz_page()
    page.evaluate("stored => localStorage.setItem('lesson8lib-quiz', stored)", stored)
    page.reload()
    assert page.locator('.question form').count()>50 and page.locator('.quiz-score').inner_text().startswith('0 right')

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_quiz_and_map_without_scripts(browser, address, viewport):
    "Choices stand in a list, every answer opens, and every row of the map is there"
    context = browser.new_context(viewport=viewport, java_script_enabled=False)
    page = context.new_page()
    page.goto(f'{address}/quiz.html')
    question = page.locator('.question[data-right]').first
    assert question.locator('li').count()>=3 and question.locator('.choices, button').count()==0
    question.locator('summary').click()
    assert question.locator('details strong').first.is_visible()
    page.goto(f'{address}/map.html')
    assert page.locator('main table tbody tr').count()>200 and page.locator('.filter').count()==0
    context.close()

@pytest.mark.parametrize('path', ['none.html', 'some/where/else'])
def test_page_not_found(tab, address, path):
    "At any depth, the page for addresses without one has its style sheet, its menu and its script"
    page = tab(f'{urlsplit(docs.urls()["docs"]).path[1:]}{path}')
    assert page.locator('h1').inner_text()=='Page not found'
    look(page, 'light')
    page.locator(f'.sidebar-link[href$="{PAGES[1]}"]').click()
    page.wait_for_url(f'**/{PAGES[1]}')
    assert not [w for w in tab.wrong if path not in w and 'status of 404' not in w]

# ---- search, and the mode
def focus_search(page):
    page.keyboard.press('/')
    page.wait_for_function("document.activeElement.matches('input')")

@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_search_results_can_be_read(tab, scheme):
    page = tab('index.html', scheme=scheme)
    focus_search(page)
    page.keyboard.type('dropout')
    page.locator(RESULT).first.wait_for()
    look(page, scheme)
    assert page.locator(RESULT).first.evaluate(SCREEN)

def test_search(tab):
    "A word of a page, typed into the search box, leads to the page"
    target = PAGES[1]
    page = tab('index.html')
    title = page.locator(f'.sidebar-link[href$="{target}"]').inner_text()
    focus_search(page)
    page.keyboard.type(title)
    page.locator(f':is({RESULT})[href*="{target}"]').first.click()
    page.wait_for_url(f'**/{target}*')
    assert not tab.wrong

def test_toggle(tab):
    "The reader's choice of light or dark wins over the system's, and is remembered"
    page = tab('index.html', scheme='light')
    page.locator('.quarto-color-scheme-toggle').first.click()
    look(page, 'dark')
    page.reload()
    look(page, 'dark')
    page.evaluate('localStorage.clear()')
    assert not tab.wrong

def test_telephone_menu(tab):
    "The sidebar opens on a telephone, and leads to another page"
    page = tab('index.html', PHONE)
    page.locator('.quarto-btn-toggle').click()
    page.locator('.sidebar-link[href$="gradients.html"]').click()
    page.wait_for_url('**/gradients.html')
    assert page.locator('.page-top > a').first.is_visible()
    assert not tab.wrong

def test_wide_things_scroll_in_their_own_box(tab):
    "A long line of code, a wide table, a wide formula: none makes the telephone's page wider"
    page = tab(PAGES[1], PHONE)
    page.evaluate('''() => {
      const long = 'x'.repeat(300), main = document.querySelector('main')
      for (const html of [`<div class="cell"><div class="sourceCode"><pre class="sourceCode"><code>${long}</code></pre></div></div>`,
        `<div class="cell-output cell-output-display"><table class="dataframe table"><tr><td>${long}</td></tr></table></div>`,
        `<div class="cell-output"><pre><code>${long}</code></pre></div>`, `<p><span class="math display"><span class="katex-display">${long}</span></span></p>`])
        main.insertAdjacentHTML('beforeend', html)
    }''')
    assert page.evaluate(OVERFLOW)<=1

def test_from_file(tab, site):
    "A page opens from the disk, without a server: formulas and all"
    if os.environ.get('RENDERER')=='quarto': pytest.skip("Quarto's scripts are modules, which a browser does not load from a file")
    page = tab(next((p for p in PAGES if 'class="math' in (site/p).read_text(encoding='utf-8')), PAGES[0]), base=site.as_uri())
    look(page, 'light')
    assert not tab.wrong

@pytest.mark.parametrize('nb, figure, state', [found[:3] for found in stored()], ids=lambda x: x if isinstance(x, str) else '')
def test_explorables_of_the_site(tab, site, address, nb, figure, state):
    "Served and from the disk, from a link to a state; no script is left in what machines read"
    name = re.sub(r'^\d+[a-z]?_(\w+)\.ipynb$', r'\1.html', nb)
    key, value = other_state(figure, state)
    for base in (address, site.as_uri()) if os.environ.get('RENDERER')!='quarto' else (address,):
        page = tab(f'{name}#{figure}.{key}={int(value) if isinstance(value, bool) else value}', base=base)
        page.wait_for_function("document.querySelectorAll('[data-explorable]').length === document.querySelectorAll('.x-app[data-theme]').length")
        assert page.locator('.x-still').count()==0
        page.wait_for_function("f => Math.abs(document.querySelector(`[data-explorable=${f}]`).getBoundingClientRect().top) < innerHeight", arg=figure)
    assert not tab.wrong
    copy = (site/name.replace('.html', '.llms.md')).read_text(encoding='utf-8')
    assert 'x-still' not in copy and 'const SPEC' not in copy and len(copy)<100_000
    assert (site/name).stat().st_size<1_000_000

def test_checkout_is_named_nowhere(site):
    "No path of the machine that built the site"
    for f in [*site.glob('*.html'), *site.glob('*.md'), site/'search.json']: assert str(ROOT) not in f.read_text(encoding='utf-8'), f.name
