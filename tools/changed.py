"""Print the notebooks that differ from the last commit and those that need them"""
import re, subprocess

from check import MODULES, ROOT, cells, notebooks, page

def needed(
    nb, # path of a notebook
)->set[str]:
    "Modules of ours that the code of a notebook imports"
    code = '\n'.join(''.join(c['source']) for c in cells(nb) if c['cell_type'] == 'code')
    return set(re.findall(rf'^\s*(?:from|import) {MODULES}\.(\w+)', code, re.M))

def affected(
    changed:set[str], # names of notebooks
    nbs:list, # paths of all notebooks, in their order
)->list:
    "The changed notebooks, and every later one that imports, even at second hand, from one of them"
    out, modules = [], set()
    for nb in nbs:
        if nb.name in changed or needed(nb) & modules:
            out.append(nb)
            modules.add(page(nb))
    return out

if __name__ == '__main__':
    git = 'git ls-files --modified --others --exclude-standard nbs', 'git diff --cached --name-only -- nbs'
    files = [f for cmd in git for f in subprocess.run(cmd.split(), cwd=ROOT, check=True, capture_output=True, encoding='utf-8').stdout.splitlines()]
    scripts = f'git status --porcelain {MODULES}/static'
    if subprocess.run(scripts.split(), cwd=ROOT, check=True, capture_output=True).stdout: files.append('nbs/05_explorables.ipynb')  # outputs hold them
    for nb in affected({f.rpartition('/')[2] for f in files}, notebooks(ROOT)): print(nb.relative_to(ROOT))
