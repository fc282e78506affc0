"The built site in a real browser: desktop and telephone, light and dark, over http and from a file"
import os
import shutil
import threading
from functools import partial
from http.server import ThreadingHTTPServer

import pytest
from conftest import ROOT, Quiet
from test_site import PAGES

sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome')
DESKTOP, PHONE = dict(width=1280, height=800), dict(width=390, height=844)
OVERFLOW = 'document.documentElement.scrollWidth - document.documentElement.clientWidth'
# the text with the least contrast to what lies behind it (4.5 is what WCAG AA asks for), as [ratio, element, text]
CONTRAST = '''() => {
  const rgb = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number)
  const light = c => c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v/12.92 : ((v + .055)/1.055)**2.4).reduce((s, v, i) => s + v*[.2126, .7152, .0722][i], 0)
  const behind = el => { for (; el; el = el.parentElement) { const c = rgb(getComputedStyle(el).backgroundColor); if (c.length < 4 || c[3] > .9) return c } return [255, 255, 255] }
  const seen = 'main :is(p, li, td, th, h1, h2, h3, summary, code, pre span, a), #quarto-sidebar a, #TOC a, figcaption'
  let worst = [99, '', '']
  for (const el of document.querySelectorAll(seen)) {
    if (!el.innerText?.trim() || el.classList.contains('anchorjs-link') || el.closest('.katex, details:not([open]), [data-no-contrast]')) continue
    const [a, b] = [light(rgb(getComputedStyle(el).color)), light(behind(el))].sort((x, y) => y - x)
    const ratio = (a + .05)/(b + .05)
    if (ratio < worst[0]) worst = [ratio, el.tagName + '.' + el.className, el.innerText.slice(0, 40)]
  }
  return worst
}'''


@pytest.fixture(scope='session')
def address(site):
    "The site over http, on a free port"
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()

@pytest.fixture(scope='session')
def browser():
    "The Chromium or Chrome of this machine"
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if not path:
        if os.environ.get('LESSON8_NEED_BROWSER'): pytest.fail('LESSON8_NEED_BROWSER is set, but there is no Chromium or Chrome')
        pytest.skip('no Chromium or Chrome on this machine')
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=['--no-sandbox', '--disable-gpu', '--disable-background-networking'])
        yield browser
        browser.close()

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
    page.wait_for_function(f"document.documentElement.classList.contains('quarto-dark') == {str(scheme=='dark').lower()}")
    assert is_dark(page)==(scheme=='dark')
    assert page.evaluate(OVERFLOW)<=1, 'the page scrolls sideways'
    assert page.locator('.math:not(:has(.katex)), .katex-error').all_inner_texts()==[], 'a formula is not rendered'
    assert page.evaluate("[...document.querySelectorAll('.katex .sqrt svg')].filter(s => s.getBoundingClientRect().height < 8).length")==0, 'a root has lost its sign'
    ratio, element, text = page.evaluate(CONTRAST)
    assert ratio>=4.5, f'contrast {ratio:.1f}: {element} {text!r}'


@pytest.mark.parametrize('name', PAGES)
def test_page(tab, name):
    "Loaded at desktop in light and on a telephone in dark; each then switched to the other mode, as the system would"
    for viewport, scheme, other in ((DESKTOP, 'light', 'dark'), (PHONE, 'dark', 'light')):
        page = tab(name, viewport, scheme)
        look(page, scheme)
        page.emulate_media(color_scheme=other)
        look(page, other)
    assert not tab.wrong

def test_search(tab):
    "A word of a page, typed into the search box, leads to the page"
    target = PAGES[1]
    page = tab('index.html')
    title = page.locator(f'.sidebar-link[href$="{target}"]').inner_text()
    page.keyboard.press('/')
    page.keyboard.type(title)
    page.locator(f'.search-result[href*="{target}"]').first.click()
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
    page.locator(f'.sidebar-link[href$="{PAGES[1]}"]').click()
    page.wait_for_url(f'**/{PAGES[1]}')
    assert page.locator('.quarto-code-links a').first.is_visible()
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
    page = tab(next((p for p in PAGES if 'class="math' in (site/p).read_text(encoding='utf-8')), PAGES[0]), base=site.as_uri())
    look(page, 'light')
    assert not tab.wrong

def test_checkout_is_named_nowhere(site):
    "No path of the machine that built the site"
    for f in [*site.glob('*.html'), *site.glob('*.md'), site/'search.json']: assert str(ROOT) not in f.read_text(encoding='utf-8'), f.name
