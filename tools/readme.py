"""Make README.md from the home page's notebook

    python tools/readme.py [--check]
"""
import json, re, sys
from pathlib import Path

from nbdev.doclinks import NbdevLookup
from nbdev.readme_filter import doc_link

from docs import ROOT, urls

def text(
    source:str|list[str], # as a notebook stores it
)->str: # without `#|` lines
    "The text of a cell or of an output"
    return ''.join(line for line in ''.join(source).splitlines(True) if not line.startswith('#|')).strip('\n')

def fence(s:str, lang:str=''): return f'```{lang}\n{s}\n```'

def outputs(
    cell:dict, # code cell with its stored outputs
):
    "The outputs that a README can hold: Markdown as it is, text in a fence; a picture has no place"
    for out in cell['outputs']:
        data = out.get('data', {})
        if any(kind.startswith('image/') for kind in data): continue
        if 'text/markdown' in data: yield text(data['text/markdown'])
        elif plain := text(out.get('text') or data.get('text/plain') or ''): yield fence(plain)

def prose(
    md:str, # Markdown of a cell
    url:dict[str,str], # the addresses that `{repo}` and `{docs}` stand for
)->str:
    "Markdown with every link absolute, and without what only Quarto reads: `:::` lines, attributes of headings"
    md = re.sub(r'^:::.*\n?', '', md, flags=re.M)
    md = re.sub(r'^(#+ .*?)\s*\{[#.][^}]*\}$', r'\1', md, flags=re.M)
    md = re.sub(r'(?<![\w\\])\{(repo|docs)\}', lambda m: url[m[1]], md)
    md = re.sub(r'(!\[[^\]]*\]\()(?![a-z]+:|/)', lambda m: m[1] + url['docs'], md)
    md = re.sub(r'(\]\()([^)\s]+)', lambda m: m[1] + doc_link(m[2], url['docs']), md)
    return NbdevLookup().linkify(md)

def readme(
    nb:Path, # the notebook
    url:dict[str,str], # `repo` and `docs`
)->str:
    "The notebook as Markdown that needs no site around it"
    parts = [f'<!-- Made from {nb.parent.name}/{nb.name} by tools/readme.py: edit that notebook -->']
    for cell in json.loads(nb.read_text(encoding='utf-8'))['cells']:
        first, source = ''.join(cell['source']).lstrip(), text(cell['source'])
        if cell['cell_type'] == 'raw' or re.match(r'(#\|.*\n)*#\|\s*(hide|default_exp|echo: false)\b', first) or not source: continue
        if cell['cell_type'] == 'markdown': parts.append(prose(source, url))
        else: parts += [fence(source, 'python'), *outputs(cell)]
    return '\n\n'.join(parts) + '\n'

if __name__ == '__main__':
    path, new = ROOT/'README.md', readme(ROOT/'nbs/index.ipynb', urls())
    if '--check' not in sys.argv: path.write_text(new, encoding='utf-8')
    elif not path.exists() or path.read_text(encoding='utf-8') != new: sys.exit('README.md is older than nbs/index.ipynb: run `make prepare`')
