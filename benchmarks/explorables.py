"""What the site's pages weigh, and how fast their explorables are: in a real browser, from a server on this machine

`make docs` first, then `python benchmarks/explorables.py`. For each page: bytes of its HTML, and of everything that a first view loads. For each
explorable: milliseconds from the start of the navigation until it reacts (the median of five loads), and of script in a frame while a pointer is
dragged over its largest slider, picture or table (the median and the longest of 60 frames).
"""
import shutil
import statistics
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from common import RESULTS, record, save
from playwright.sync_api import sync_playwright
from tqdm import tqdm

SITE = RESULTS.parents[1]/'_docs'
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome'
MOUNTED = """addEventListener('DOMContentLoaded', () => {
  window.ready = {}
  const look = () => document.querySelectorAll('[data-explorable]').forEach(el => {
    if (el.querySelector('.x-app[data-theme]')) window.ready[el.dataset.explorable] ??= performance.now()
  })
  look()
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ['data-theme'] })
})"""
DRAG = """async el => {
  const area = e => { const box = e.getBoundingClientRect(); return box.width*box.height }
  const sliders = [...el.querySelectorAll('input[type=range]')], shapes = [...el.querySelectorAll('canvas, svg, table')]
  const target = (sliders.length ? sliders : shapes).filter(e => e.checkVisibility()).sort((a, b) => area(b) - area(a))[0]
  target.scrollIntoView({ block: 'center', behavior: 'instant' })
  HTMLElement.prototype.setPointerCapture = SVGElement.prototype.setPointerCapture = () => {}
  const box = target.getBoundingClientRect(), real = requestAnimationFrame, frames = []
  let spent = 0
  const timed = work => { const start = performance.now(); work(); spent += performance.now() - start }
  window.requestAnimationFrame = draw => real(t => timed(() => draw(t)))
  const fire = (t, ...types) => {
    const x = box.x + box.width*t, y = box.y + box.height*t, on = document.elementFromPoint(x, y)
    const point = { pointerId: 1, isPrimary: true, buttons: 1, clientX: x, clientY: y, bubbles: true }
    for (const type of types) (target.contains(on) ? on : target).dispatchEvent(new PointerEvent(type, point))
  }
  const slide = t => {
    target.value = Number(target.min) + t*(target.max - target.min)
    target.dispatchEvent(new Event('input', { bubbles: true }))
  }
  for (let i = 0; i < 60; i++) {
    spent = 0
    timed(() => sliders.length ? slide(i/59) : fire((i + .5)/60, 'pointerenter', i ? 'pointermove' : 'pointerdown'))
    await new Promise(done => real(() => real(done)))
    frames.push(spent)
  }
  if (!sliders.length) fire(.99, 'pointerup')
  window.requestAnimationFrame = real
  return frames
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


def weigh(page, name:str)->list[dict]:
    loaded = page.evaluate("performance.getEntriesByType('resource').reduce((sum, e) => sum + e.encodedBodySize, 0)")
    html = (SITE/name).stat().st_size
    return [record(name, 'html bytes', html), record(name, 'first view bytes', html + loaded)]


def measure(browser, address:str, name:str)->list[dict]:
    found, ready = [], {}
    for i in range(5 if 'data-explorable=' in (SITE/name).read_text(encoding='utf-8') else 1):
        page = browser.new_context(viewport={'width': 1280, 'height': 800}).new_page()
        page.add_init_script(MOUNTED)
        page.goto(f'{address}/{name}', wait_until='networkidle')
        if not i: found += weigh(page, name)
        page.wait_for_function("document.querySelectorAll('[data-explorable]').length === Object.keys(window.ready).length")
        for key, ms in page.evaluate('window.ready').items(): ready.setdefault(key, []).append(ms)
        if i==4:
            for figure in ready:
                frames = sorted(page.locator(f'[data-explorable={figure}]').first.evaluate(DRAG))
                found += [record(name, 'frame ms', round(statistics.median(frames), 1), figure=figure),
                          record(name, 'longest frame ms', round(frames[-1], 1), figure=figure)]
        page.context.close()
    return found + [record(name, 'ready ms', round(statistics.median(ms)), figure=figure) for figure, ms in ready.items()]


def main()->None:
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as p:
        path = next(filter(None, map(shutil.which, BROWSERS)))
        browser = p.chromium.launch(executable_path=path, args=['--no-sandbox', '--disable-gpu', '--disable-background-networking'])
        names = sorted(p.name for p in SITE.glob('*.html'))
        found = [row for name in tqdm(names, desc='pages') for row in measure(browser, f'http://127.0.0.1:{server.server_port}', name)]
        browser.close()
    save('explorables', found, packages=('playwright', 'smalldocs'), renderer=(SITE/'.nojekyll').read_text(encoding='utf-8'))


if __name__ == '__main__': main()
