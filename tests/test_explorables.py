"All explorables: small and self-contained, alike at two widths and in two modes, served and from the disk; address, accessibility, widget"
import json
import re
from importlib.resources import files

import pytest
import torch
from explorable_pages import DESKTOP, PHONE, all_there, app, every, module, on_its_page, other_value, run_js, stored

from lesson8lib.explorables import Explorable, explorable_names, pack_image, unpack_image

pytestmark = pytest.mark.filterwarnings('ignore')
NAMES = explorable_names()
SMALL = (torch.rand(9, 12, generator=torch.Generator().manual_seed(0))*255).round()/255

# ---- the script
@pytest.mark.parametrize('name', NAMES)
def test_the_script_is_small_and_needs_nothing(name):
    source = module(name)
    assert len(source.encode())<60_000
    assert not re.search(r'</script|<!--|^\s*import\b|\bimport\(|https?://|fetch\(|XMLHttpRequest|eval\(|innerHTML', source, re.M)
    assert f"mount('{name}', SPEC, render)" in Explorable(name, 'x')._repr_html_()

@pytest.mark.parametrize('name', NAMES)
def test_defaults_pass_their_own_check(name):
    shown = Explorable(name, 'x')
    shown.update(**shown.defaults)
    assert shown.values==shown.defaults

def test_stored_figures_hold_the_current_script():
    "A change of a script asks for the outputs of the notebooks that show it: `make prepare` runs them"
    shown = {(nb, name): module(name) in text for nb,name,_,text in stored()}
    assert {name for _,name in shown}==set(NAMES) and all(shown.values()), shown

# ---- on a page
@pytest.mark.parametrize('disk', [False, True], ids=['served', 'file'])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_looks(figures, viewport, scheme, disk):
    "All on one page: none clashes, nothing sticks out, the colors are those of the mode and follow its change"
    shown = [*every(), on_its_page('conv_slide')]
    page = figures(*shown, viewport=viewport, scheme=scheme, disk=disk)
    all_there(page, len(shown))
    assert page.locator('.x-still').count()==0
    assert page.locator('.x-app').evaluate_all('all => all.map(el => el.dataset.theme)')==[scheme]*len(shown)
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    assert page.locator('canvas:visible').evaluate_all('all => all.every(el => new Set(el.getContext("2d").getImageData(0, 0, el.width, el.height).data).size > 2)'), 'nothing is drawn'
    other = dict(light='dark', dark='light')[scheme]
    page.evaluate(f"document.documentElement.setAttribute('data-scheme', '{'alternate' if other=='dark' else 'default'}')")
    page.wait_for_function(f"[...document.querySelectorAll('.x-app')].every(el => el.dataset.theme === '{other}')")
    assert not figures.wrong

def test_nothing_is_loaded(figures):
    page = figures(*every())
    all_there(page, len(NAMES))
    assert page.evaluate("performance.getEntriesByType('resource').length")==0

def test_a_link_leads_to_a_state(browser, figures):
    "Each key in the address alone; the code of the button is that of the state"
    for name in NAMES:
        shown, js = on_its_page(name), run_js(browser, name)
        spec = js('return m.SPEC')
        for key in [key for key,s in spec.items() if not s.get('fixed')]:
            value = other_value(spec[key], shown.values[key])
            want, text = js('return [m.pythonFor(m.tidy(m.clean(m.SPEC, arg[0]))), m.encode(arg[1])]', [shown.values | {key: value}, value])
            page = figures(shown, hash=f'#{name}.{key}={text}')
            all_there(page, 1)
            page.get_by_role('button', name='Show as Python').press('Enter')
            page.wait_for_function("want => document.querySelector('pre.x-python').textContent === want", arg=want)
            page.context.close()
    assert not figures.wrong

@pytest.mark.parametrize('name', NAMES)
def test_a_spoiled_address_changes_nothing(browser, figures, name):
    shown, js = on_its_page(name), run_js(browser, name)
    want = js('return m.pythonFor(m.tidy(m.clean(m.SPEC, arg)))', shown.values)
    any_text = [key for key,s in js('return m.SPEC').items() if isinstance(s['value'], str) and not s.keys()&{'choices', 'kind', 'fixed'}]  # nothing spoils a text
    junk = '&'.join(f'{name}.{key}={value}' for key,value in zip(shown.values, ('1e99', '%00', '', '-1,;', '~', '[object]')*5, strict=False) if key not in any_text)
    page = figures(shown, hash=f'#{junk}&%&{name}.&=1')
    all_there(page, 1)
    page.get_by_role('button', name='Show as Python').press('Enter')
    page.wait_for_function("want => document.querySelector('pre.x-python').textContent === want", arg=want)
    assert not figures.wrong

@pytest.mark.parametrize('name', NAMES)
def test_a_finger_scrolls_past_a_figure(figures, name):
    "A swipe up over a picture moves the page and leaves the figure as it was; on what is drawn on, a finger draws"
    page = figures(on_its_page(name), viewport=PHONE, has_touch=True, is_mobile=True)
    all_there(page, 1)
    page.evaluate("document.querySelector('main').append(Object.assign(document.createElement('div'), { style: 'height: 2000px' }))")
    cdp = page.context.new_cdp_session(page)
    pictures = page.locator('.x-app :is(canvas:not(.x-drawing), svg[tabindex], table:not(:has(input)))').all()
    for picture in [p for p in pictures if p.is_visible()]:
        picture.evaluate("el => el.scrollIntoView({ block: 'center' })")
        box, before = picture.bounding_box(), page.evaluate('scrollY')
        x, y = min(box['x']+box['width']/2, 380), min(max(box['y']+box['height']/2, 250), 700)
        touch = lambda kind, *points: cdp.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=list(points)))
        touch('touchStart', dict(x=x, y=y))
        for d in range(10, 160, 15): touch('touchMove', dict(x=x, y=y-d))
        touch('touchEnd')
        page.wait_for_function('before => scrollY > before + 50', arg=before, timeout=3000)
    page.wait_for_timeout(400)  # the address is written a little later
    assert page.evaluate('location.hash')=='' and not figures.wrong

def test_focus_is_seen_on_every_tab_stop(figures):
    page = figures(*every())
    all_there(page, len(NAMES))
    stops = []
    for _ in range(60*len(NAMES)):
        page.keyboard.press('Tab')
        inside, seen, what = page.evaluate("""() => { const el = document.activeElement, s = getComputedStyle(el)
          return [[...document.querySelectorAll('.x-app')].findIndex(app => app.contains(el)), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2, el.outerHTML.slice(0, 80)] }""")
        if inside<0: break
        assert seen, what
        stops.append(inside)
    assert stops==sorted(stops) and set(stops)==set(range(len(NAMES)))

def test_without_scripts(figures):
    shown = Explorable('conv_slide', 'A kernel on an image.', pictures={'image': SMALL, 'output': SMALL-.5}, table=[('pixels', 'sum'), ('1, 2', '3')])
    page = figures(shown, java_script_enabled=False)
    assert page.locator('.x-still').first.is_visible() and page.locator('.x-still table td').all_inner_texts()==['1, 2', '3']
    images = page.locator('.x-still img')
    assert images.evaluate_all('all => all.map(i => i.alt.startsWith("A kernel on an image."))')==[True, True]
    assert images.evaluate_all('all => all.every(i => i.naturalWidth >= 1.99*i.width && i.width > 50)')

@pytest.mark.parametrize('nb, name', [found[:2] for found in stored() if not found[0].startswith('05_')])
def test_pages_have_a_still_picture_and_a_table(nb, name):
    text = next(text for n,m,_,text in stored() if (n, m)==(nb, name))
    assert re.search(r'<div class="x-still"><p>[^<]{30,}</p>', text) and '<img' in text and '<table>' in text

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_accessibility(figures, viewport, scheme):
    "axe-core finds no violation of WCAG 2.1 AA"
    axe = pytest.importorskip('axe_playwright_python', reason='axe-playwright-python, which carries axe-core, is not installed')
    page = figures(*every(), hash='#conv_slide.kernel=9,-9;.5,0', viewport=viewport, scheme=scheme)
    all_there(page, len(NAMES))
    for button in page.get_by_role('button', name='Show as Python').all(): button.press('Enter')
    page.evaluate((files(axe)/'axe.min.js').read_text(encoding='utf-8'))
    found = page.evaluate("axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }).then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 120), v.nodes[0].failureSummary]))")
    assert found==[]

# ---- in Python
def test_widget_and_page_have_one_state():
    pytest.importorskip('anywidget', reason='anywidget is not installed')
    shown = Explorable('conv_slide', 'x', stride=2, image=SMALL)
    widget = shown.widget
    assert widget is shown.widget and widget.data | widget.values==shown.values and '_esm' in widget.keys
    assert 'image' in widget.data and 'image' not in widget.values, 'what the author fixed is not sent back'
    widget.set_state({'values': widget.values | dict(stride=3, row=4)})  # what the page sends
    assert (shown.values['stride'], shown.values['row'])==(3, 4)
    shown.update(padding=2)
    assert widget.values['padding']==2 and widget.values['stride']==3
    with pytest.raises(ValueError, match='`padding` must be an integer from 0 to 7, got 8'): shown.update(padding=8)
    assert widget.values['padding']==2
    shown.update(image=1-SMALL)
    assert widget.data['image']==pack_image(1-SMALL)==shown.values['image'] and widget.values['padding']==2

@pytest.mark.parametrize('name', NAMES)
def test_anywidgets_contract(browser, name):
    "What anywidget does with the module: the figure follows the model; two of one kind do not touch; nothing goes on after the cleanup"
    page = browser.new_page()
    page.set_content('<title>x</title><main><div></div><div></div></main>')
    values, js = on_its_page(name).values, run_js(browser, name)
    spec = js('return m.SPEC')
    code = lambda state: js('return m.pythonFor(m.tidy(m.clean(m.SPEC, arg)))', state)
    page.evaluate("""async ([source, values]) => {
      const { default: widget } = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })))
      const places = document.querySelectorAll('main > div')
      window.models = [0, 1].map(i => {
        const model = { values: structuredClone(values), heard: new Set(), saved: 0, get: name => name === 'values' ? model.values : {}, set: (_, v) => { model.values = v },
          save_changes: () => { model.saved++; model.tell() }, tell: () => { for (const f of model.heard) f() }, on: (_, f) => model.heard.add(f), off: (_, f) => model.heard.delete(f) }
        model.stop = widget.render({ model, el: places[i] })
        return model
      })
    }""", [module(name), values])
    for i in (0, 1): app(page, i).get_by_role('button', name='Show as Python').press('Enter')
    shown = lambda i, want: page.wait_for_function("([i, want]) => document.querySelectorAll('pre.x-python')[i].textContent === want", arg=[i, want])
    changed = next(state for key,s in spec.items() if not s.get('fixed') and code(state := values | {key: other_value(s, values[key])})!=code(values))
    page.evaluate("values => { models[0].values = values; models[0].tell() }", changed)
    shown(0, code(changed))
    shown(1, code(values))
    assert page.evaluate('[models[0].saved, models[1].saved, location.hash]')==[0, 0, '']
    page.evaluate('models.forEach(model => model.stop())')
    assert page.evaluate('models.map(model => model.heard.size)')==[0, 0]
    page.close()

def test_live_in_a_notebook_and_stored_as_a_page(monkeypatch):
    pytest.importorskip('anywidget', reason='anywidget is not installed')
    shown = Explorable('conv_slide', 'x')
    monkeypatch.delenv('IN_TEST', raising=False)
    bundle = shown._repr_mimebundle_()
    assert 'application/vnd.jupyter.widget-view+json' in (bundle[0] if isinstance(bundle, tuple) else bundle)
    monkeypatch.setenv('IN_TEST', '1')
    stored = shown._repr_mimebundle_()
    assert set(stored)=={'text/html', 'text/plain'} and stored==Explorable('conv_slide', 'x')._repr_mimebundle_()

def test_state_cannot_break_out_of_its_element():
    html = Explorable('conv_slide', '<b>"x"</b>', names=['</script><script>alert(1)</script>'], table=[('<i>',)], pictures={'<u>': SMALL})._repr_html_()
    assert html.count('<script')==2 and '<b>' not in html and '<i>' not in html and '<u>' not in html
    stored = re.search(r'<script type="application/json">(.*?)</script>', html)[1]
    assert json.loads(stored)['names']==['</script><script>alert(1)</script>']

@pytest.mark.parametrize('text', ['', '2x2', '2x2:AAAA', '0x0:', '1x1:AA', 'axb:AA==', 3, None])
def test_text_that_is_no_image(words, text):
    with pytest.raises(ValueError, match='`text` must be an image'): unpack_image(text)

@pytest.mark.parametrize('bad, error', [(torch.tensor([[-.1]]), ValueError), (torch.tensor([[float('nan')]]), ValueError), (torch.zeros(2), ValueError), (torch.zeros(2, 2, dtype=torch.int64), TypeError), (torch.zeros(0, 3), ValueError)])
def test_what_cannot_be_packed(words, bad, error):
    with pytest.raises(error, match='`x` must'): pack_image(bad)
