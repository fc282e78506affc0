"Two explorables in a real JupyterLab: shown live, set from Python, read by Python after the reader has changed them"
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec

import pytest
from conftest import ROOT

pytestmark = pytest.mark.skipif(not find_spec('jupyterlab'), reason='JupyterLab is not installed')
CELLS = ("from lesson8lib.explorables import Explorable\na, b = (Explorable(name, 'x') for name in ('conv_slide', 'conv_matmul'))\ndisplay(a, b)",
         "a.update(stride=2)\nb.update(bias=1.5)",
         "print(a.values['stride'], b.values['view'])",
         "a")

@pytest.fixture
def lab(tmp_path):
    "The address of a notebook in a JupyterLab of its own"
    cells = [dict(cell_type='code', id=f'c{i}', metadata={}, source=source, outputs=[], execution_count=None) for i,source in enumerate(CELLS)]
    kernel = dict(kernelspec=dict(name='python3', display_name='Python 3', language='python'))
    (tmp_path/'x.ipynb').write_text(json.dumps(dict(cells=cells, metadata=kernel, nbformat=4, nbformat_minor=5)), encoding='utf-8')
    env = {k: v for k,v in os.environ.items() if k!='IN_TEST'} | {f'JUPYTER_{name}_DIR': str(tmp_path/name) for name in ('CONFIG', 'DATA', 'RUNTIME')} | dict(PYTHONPATH=str(ROOT))
    options = '--no-browser', '--allow-root', '--ip=127.0.0.1', '--port=0', '--IdentityProvider.token=', '--LabApp.news_url=', '--LabApp.extension_manager=readonly', f'--ServerApp.root_dir={tmp_path}'
    with open(tmp_path/'log', 'w+', encoding='utf-8') as log:
        server = subprocess.Popen([sys.executable, '-m', 'jupyterlab', *options], cwd=tmp_path, env=env, stdout=log, stderr=log)
        try: yield address(tmp_path/'log', server)
        finally:
            server.terminate()
            server.wait(30)

def address(log, server):
    "Where the server listens, from what it says"
    for _ in range(600):
        found = re.search(r'http://127\.0\.0\.1:\d+/', log.read_text(encoding='utf-8'))
        if found:
            try:
                urllib.request.urlopen(f'{found[0]}api', timeout=5)
                return found[0]
            except OSError: pass
        if server.poll() is not None: break
        time.sleep(.1)
    pytest.fail(f'JupyterLab did not start:\n{log.read_text(encoding="utf-8")[-2000:]}')

def test_shown_and_synced(browser, lab):
    page = browser.new_page(viewport=dict(width=1280, height=2400))  # all cells in view: JupyterLab draws no others
    page.set_default_timeout(60_000)
    elsewhere = []
    page.on('request', lambda r: None if r.url.startswith((lab, lab.replace('http', 'ws'), 'data:', 'blob:')) else elsewhere.append(r.url))
    page.goto(f'{lab}lab/tree/x.ipynb?reset')
    cell = lambda i: page.locator('.jp-Notebook .jp-CodeCell').nth(i)
    def run(i):
        cell(i).locator('.cm-content').click()
        page.keyboard.press('Control+Enter')
        cell(i).locator('.jp-InputPrompt', has_text=re.compile(r'\[\d+\]')).wait_for()
    cell(3).wait_for()
    run(0)
    app = page.locator('.x-app')
    app.nth(1).wait_for()
    stride, bias = app.nth(0).get_by_label('stride'), app.nth(1).get_by_label('bias')
    run(1)
    page.wait_for_function("[...document.querySelectorAll('.x-app')].map(el => el.querySelector('[type=number]')?.value)[0] === '2'")
    assert stride.input_value()=='2' and bias.input_value()=='1.5'
    stride.fill('3')
    app.nth(1).get_by_label('view').select_option('im2col')
    page.wait_for_timeout(500)
    run(2)
    cell(2).locator('.jp-OutputArea-output').wait_for()
    assert cell(2).locator('.jp-OutputArea-output').inner_text().strip()=='3 im2col'
    run(3)  # a second view of the same figure
    app.nth(2).get_by_label('stride').fill('4')
    page.wait_for_function("document.querySelector('.x-app input[type=number]').value === '4'")
    assert not elsewhere
