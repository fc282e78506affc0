"What several test files share"
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jaxtyping
import pytest
import setuptools  # noqa: F401 (before another package imports Python's own distutils: torch's compiler would then fail to import it)
from beartype import BeartypeConf, beartype

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome')
sys.path.insert(0, str(ROOT/'tools'))

# every exported module is imported with its annotations of shape and type checked; integers pass for floating-point ones
checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
jaxtyping.install_import_hook('lesson8lib', 'conftest.checker')


class Quiet(SimpleHTTPRequestHandler):
    "A web server that says nothing"
    def log_message(self, *args): pass


@pytest.fixture
def words():
    "Switch the checker off: it speaks before `check_axes` does, and this test is about what `check_axes` says"
    jaxtyping.config.update('jaxtyping_disable', True)
    yield
    jaxtyping.config.update('jaxtyping_disable', False)


@pytest.fixture(scope='session')
def site():
    "The built docs site, built anew if anything that goes into it is younger, or if another renderer built it"
    stamp, renderer = ROOT/'_docs'/'.nojekyll', os.environ.get('RENDERER', 'smalldocs')  # tools/docs.py writes it at the end of each build
    into = [*ROOT.glob('nbs/*'), *ROOT.glob('nbs/images/*'), *ROOT.glob('lesson8lib/*.py'), ROOT/'_quarto.yml', ROOT/'pyproject.toml',
            *ROOT.glob('tools/*.py')]
    if not stamp.exists() or stamp.read_text(encoding='utf-8') != renderer or stamp.stat().st_mtime < max(p.stat().st_mtime for p in into):
        res = subprocess.run([sys.executable, 'tools/docs.py', '--renderer', renderer], cwd=ROOT, capture_output=True, encoding='utf-8')
        if res.returncode: pytest.fail(f'tools/docs.py failed:\n{res.stdout}{res.stderr}')
    return ROOT/'_docs'

@pytest.fixture(scope='session')
def browser():
    "The Chromium or Chrome of this machine"
    sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not path:
        if os.environ.get('LESSON8_NEED_BROWSER'): pytest.fail('LESSON8_NEED_BROWSER is set, but there is no Chromium or Chrome')
        pytest.skip('no Chromium or Chrome on this machine')
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=['--no-sandbox', '--disable-gpu', '--disable-background-networking'])
        yield browser
        browser.close()

@pytest.fixture(scope='session')
def figure_folder(tmp_path_factory):
    "A folder for pages of explorables, and the address under which it is served"
    folder = tmp_path_factory.mktemp('explorables')
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()

@pytest.fixture(scope='module')
def js(request, browser):
    "The script of the explorable that the test file is named after, as a function that evaluates an expression beside it"
    from explorable_pages import run_js  # here, not above: it imports this file
    return run_js(browser, request.module.__name__.removeprefix('test_x_'))

@pytest.fixture
def shown(request):
    "What `tab` shows: the explorable as its page has it, or SHOWN of the test file"
    from explorable_pages import on_its_page
    return getattr(request.module, 'SHOWN', None) or (on_its_page(request.module.__name__.removeprefix('test_x_')),)

@pytest.fixture
def tab(figures, shown):
    "A function that opens the page of one explorable"
    def open_page(hash='', viewport=None, **options): return figures(*shown, hash=hash, **options, **dict(viewport=viewport) if viewport else {})
    open_page.wrong = figures.wrong
    return open_page

@pytest.fixture
def figures(browser, figure_folder):
    "A function that opens a page of explorables, served or from the disk; what goes wrong on it gathers in `figures.wrong`"
    from explorable_pages import DESKTOP, page_of  # here, not above: it imports this file
    folder, served = figure_folder
    contexts = []
    def open_page(*shown, hash='', viewport=DESKTOP, scheme='light', disk=False, **options):
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme, **dict(reduced_motion='reduce') | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on('console', lambda m: open_page.wrong.append(m.text) if m.type in ('error', 'warning') and 'favicon' not in m.location.get('url', '') else None)
        page.on('pageerror', lambda e: open_page.wrong.append(str(e)))
        base = folder.as_uri() if disk else served
        page.on('request', lambda r: None if r.url.startswith((base, 'data:', 'blob:')) else open_page.wrong.append(f'another host: {r.url}'))
        (folder/'page.html').write_text(page_of(*shown, scheme=scheme), encoding='utf-8')
        page.goto(f'{base}/page.html{hash}', wait_until='load')
        return page
    open_page.wrong = []
    yield open_page
    for context in contexts: context.close()
