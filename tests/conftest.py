"What several test files share"
import os
import shutil
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler
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
