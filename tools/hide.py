"""Hide in editors what a page folds: cells with `#| code-fold: true`, in Jupyter (`source_hidden`) and in Colab (`cellView`)

    python tools/hide.py [NOTEBOOK…]
"""
import json, re, sys
from pathlib import Path

HIDDEN = {'cellView': 'form', 'jupyter': {'source_hidden': True}}  # nbdev-clean keeps these keys, which pyproject.toml names

def hide(
    nb:dict, # a notebook, changed in place
)->bool: # whether a cell had other metadata
    "Set the metadata of each cell that a page folds, and remove it from all others"
    found = False
    for cell in nb['cells']:
        is_folded = cell['cell_type'] == 'code' and re.search(r'^#\| *code-fold: *true', ''.join(cell['source']), re.M)
        want = {k: v for k,v in cell['metadata'].items() if k not in HIDDEN} | (HIDDEN if is_folded else {})
        if cell['metadata'] != want: cell['metadata'], found = want, True
    return found

if __name__ == '__main__':
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(Path('nbs').glob('[!._]*.ipynb')):
        nb = json.loads(path.read_text(encoding='utf-8'))
        if hide(nb): path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
