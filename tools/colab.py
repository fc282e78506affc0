"""Write the hidden first cell of each notebook, which installs the package in Colab from the repository

    python tools/colab.py [--check]

The notebook that Colab opens is the newest of the repository, and so must the package be.
"""
import json, re, sys

from check import ROOT, cells, notebooks
from docs import urls

# each extra, and what in a notebook asks for it
EXTRAS = {'fastai': r'^\s*(from|import) fastai\b', 'plot': r'^\s*(from|import) (matplotlib|lesson8lib\.show)\b|\bshow_history\(',
          'sklearn': r'^\s*(from|import) (sklearn|lesson8lib\.entity)\b', 'tables': r'\bload_adult\(|^\s*import polars\b',
          'scale': r'\bParquetRatings\(|^\s*import pyarrow\b', 'widgets': r'\bExplorable\('}

def install_cell(
    sources:list[str], # of a notebook's cells
    repo:str, # address of the repository
)->str:
    "Its source: the package with the extras that the notebook needs; the checkout, where it reads results of the benchmarks"
    extras = [name for name, pattern in EXTRAS.items() if any(re.search(pattern, s, re.M) for s in sources)]
    extra = f'[{",".join(extras)}]' if extras else ''
    reads_results = any(re.search(r'\.\./benchmarks/|read_results\(', s) for s in sources)
    clone = f'\n    !git clone -q --depth 1 {repo} /content/checkout\n    %cd -q /content/checkout/nbs' if reads_results else ''
    return f"#| hide\nimport sys\nif 'google.colab' in sys.modules:\n    %pip install -q \"lesson8lib{extra} @ git+{repo}\"{clone}"

def is_install_cell(source:str)->bool: return source.startswith("#| hide\nimport sys\nif 'google.colab' in sys.modules:")

def outdated(root, repo):
    "Notebooks whose cell is missing or another, each with what it should be"
    for nb in notebooks(root):
        sources = [''.join(c['source']) for c in cells(nb)]
        want = install_cell(sources, repo)
        if [s for s in sources if is_install_cell(s)] != [want]: yield nb, want

if __name__ == '__main__':
    found = list(outdated(ROOT, urls()['repo']))
    for nb, want in found:
        if '--check' in sys.argv: print(f'{nb.name}: the cell that installs the package in Colab is missing or old: run `make prepare`'); continue
        content = json.loads(nb.read_text(encoding='utf-8'))
        mine = [c for c in content['cells'] if is_install_cell(''.join(c['source']))]
        if len(mine) != 1: sys.exit(f'{nb.name}: must have one cell that starts as {want.splitlines()[:3]}, got {len(mine)}')
        mine[0]['source'] = want.splitlines(True)
        nb.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    sys.exit(bool(found) and '--check' in sys.argv)
