"What several test files share"
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tools'))


@pytest.fixture(scope='session')
def site():
    "The built docs site, built anew if anything that goes into it is younger"
    stamp = ROOT/'_docs'/'.nojekyll'  # tools/docs.py writes it at the end of each build
    into = [*ROOT.glob('nbs/*'), *ROOT.glob('nbs/images/*'), *ROOT.glob('lesson8lib/*.py'), *ROOT.glob('tools/docs.py'), ROOT/'_quarto.yml', ROOT/'pyproject.toml']
    if not stamp.exists() or stamp.stat().st_mtime < max(p.stat().st_mtime for p in into):
        res = subprocess.run([sys.executable, 'tools/docs.py'], cwd=ROOT, capture_output=True, text=True)
        if res.returncode: pytest.fail(f'tools/docs.py failed:\n{res.stdout}{res.stderr}')
    return ROOT/'_docs'
