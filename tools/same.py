"""Compare the stored outputs of two runs of the notebooks: text alike, numbers to three digits, pictures to the byte

    python tools/same.py FOLDER OTHER [--warn]
"""
import json, math, re, sys
from pathlib import Path

NUMBER = re.compile(r'[-+]?\b\d+(?:\.\d*)?(?:e[-+]?\d+)?|[-+]?\.\d+(?:e[-+]?\d+)?', re.I)

def is_same(
    a:str, # text of an output
    b:str, # text of the other
    rel_tol:float=1e-3, # three digits
)->bool:
    "Equal but for what stands behind the third digit of a number"
    if a == b: return True
    if NUMBER.sub('#', a) != NUMBER.sub('#', b): return False
    return all(math.isclose(float(x), float(y), rel_tol=rel_tol, abs_tol=1e-6) for x,y in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True))

def shown(
    cell:dict, # a cell of a notebook
)->list[tuple[str, str]]: # kind and text of each output, in order
    "What a cell shows"
    out = []
    for o in cell.get('outputs', []):
        for kind,s in (o.get('data') or {o['output_type']: o.get('text') or o.get('ename', '')}).items():
            out.append((kind, ''.join(s) if isinstance(s, str|list) else json.dumps(s, sort_keys=True)))
    return out

def differences(
    one:Path, # folder of executed notebooks
    two:Path, # the same notebooks, executed once more
):
    "One line for each cell that shows something else"
    names = [sorted(p.name for p in d.glob('[!._]*.ipynb')) for d in (one, two)]
    if names[0] != names[1]: yield f'not the same notebooks: {sorted(set(names[0]) ^ set(names[1]))}'
    for name in sorted(set(names[0]) & set(names[1])):
        a, b = ({c['id']: c for c in json.loads((d/name).read_text(encoding='utf-8'))['cells']} for d in (one, two))
        for i in [*a, *(b.keys()-a.keys())]:
            if i not in a or i not in b: yield f'{name}, cell {i}: is in one run only'; continue
            x, y = shown(a[i]), shown(b[i])
            if [k for k,_ in x] != [k for k,_ in y]: yield f'{name}, cell {i}: {[k for k,_ in x]} became {[k for k,_ in y]}'
            else:
                for (kind, s), (_, t) in zip(x, y, strict=True):
                    if s != t if kind.startswith('image/') else not is_same(s, t): yield f'{name}, cell {i}: its {kind} differs{first(kind, s, t)}'

def first(kind:str, s:str, t:str)->str:
    "The first line that differs"
    if kind.startswith('image/'): return ''
    pair = next(((x, y) for x,y in zip(s.splitlines(), t.splitlines(), strict=False) if not is_same(x, y)), ('', ''))
    return f': {pair[0].strip()[:100]!r} became {pair[1].strip()[:100]!r}'

if __name__ == '__main__':
    sys.stdout.reconfigure(errors='backslashreplace')  # a locale may lack the characters of a notebook
    *folders, = (Path(a) for a in sys.argv[1:] if a != '--warn')
    found = list(differences(*folders))
    for line in found: print(line)
    print(f'{len(found)} differences between {folders[0]} and {folders[1]}')
    sys.exit(bool(found) and '--warn' not in sys.argv)
