"""Build the docs site: notebooks -> `_proc` (nbdev) -> `_stage` (final names and links) -> `_docs` (Quarto or smalldocs)

    python tools/docs.py [--renderer auto|quarto|smalldocs] [--serve] [--port N]
"""
import argparse, ast, base64, hashlib, inspect, json, os, re, shutil, subprocess, sys, tomllib, zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import lesson_map
import quiz
import yaml
from folds import fold
from hide import HIDDEN
from outputs import without_stderr
from terms import Linker, read_terms, with_anchors

ROOT = Path(__file__).resolve().parents[1]
PROC, STAGE, DOCS = (ROOT/d for d in ('_proc', '_stage', '_docs'))
KATEX = 'djangocms-katex==1.0.2' # the package that carries KaTeX (MIT), so that no page asks a CDN for it
KATEX_SHA = '79774fa17f7d328252f6dd05688799fa7ee49abebb7cbe09f0cbf6f103352ac2'
KATEX_DIR = 'djangocms_katex/static/djangocms_katex/vendor/katex/'
KATEX_CACHE = ROOT/'.cache'/'katex' # `make clean` keeps it: an offline machine could not build the site again
# options that Quarto needs and smalldocs does without
QUIET = *(f'format.html.{o} is ignored' for o in ('html-math-method', 'respect-user-color-scheme')), 'theme light.scss', 'theme dark.scss'
MISSING = '404.qmd' # what hosts show for an address without a page
LOOKED_UP = {'404', 'api', 'glossary', 'map', 'quiz'} # pages that are not read from the top, in which no term is linked


def urls(
    pyproject:Path=ROOT/'pyproject.toml', # the one place where these addresses stand
)->dict[str,str]: # `repo`, without a slash at its end, and `docs`, with one
    "The addresses of repository and site"
    u = tomllib.loads(pyproject.read_text(encoding='utf-8'))['project']['urls']
    return dict(repo=u['Repository'].rstrip('/'), docs=u['Documentation'].rstrip('/') + '/')


# ---- Names and links
def final_name(
    name:str, # name of a source file, as `22_collab.ipynb`
)->str: # name on the site, as `collab.ipynb`
    "The number of a notebook orders the imports; addresses do without it"
    return re.sub(r'^\d+[a-zA-Z]*_', '', name)

def exact_anchor(
    link:re.Match, # the whole, and what comes before the anchor, and the anchor
)->str:
    "nbdev writes addresses in lower case, where `Conv2d` and `conv2d` would be one: take the case from the name that is linked"
    name = re.search(r'`([\w.]+)', link[1])[1]
    exact = re.search(rf'(?:^|\.)({re.escape(link[2])})$', name, re.I)  # whole parts of the name
    return link[1] + (exact[1] if exact else link[2])

def fix_links(
    text:str, # Markdown or HTML
    stems:dict[str,str], # notebooks' stems and their final ones
    url:dict[str,str], # see `urls`
)->str:
    "Fill in `{repo}` and `{docs}`; make links to the site relative, and links to notebooks their final names"
    text = re.sub(r'(?<![\w\\])\{(repo|docs)\}', lambda m: url[m[1]], text)  # not in LaTeX, as in `\text{docs}`
    inner = re.compile(r'(\[[^][\n]*)\[(`[^`\n]+`)\]\([^)\s]*\)(?=[^]\n]*\]\()')  # a doclink inside of a link, which wins
    while inner.search(text): text = inner.sub(r'\1\2', text)
    text = re.sub(rf'(\]\(|href=["\']){re.escape(url["docs"])}(?=[\w-]+\.html)', r'\1', text)
    text = re.sub(r'(\[`[\w.]+(?:\(\))?`\]\([\w-]+\.html#)([\w.]+)(?=\))', exact_anchor, text)
    names = '|'.join(map(re.escape, sorted(stems, key=len, reverse=True)))
    return re.sub(rf'(\]\(|href=["\']|^\[[^]]+\]:\s*)(?:\./)?({names})(?=\.(?:ipynb|html)\b)', lambda m: m[1] + stems[m[2]], text, flags=re.M)

def fix_config(
    node, # a value of `_quarto.yml`
    stems:dict[str,str], # notebooks' stems and their final ones
    url:dict[str,str], # see `urls`
):
    "`_quarto.yml` with final names, and with the addresses filled in"
    if isinstance(node, dict): return {k: fix_config(v, stems, url) for k,v in node.items()}
    if isinstance(node, list): return [fix_config(v, stems, url) for v in node]
    if not isinstance(node, str): return node
    stem, _, ext = node.rpartition('.')
    return f'{stems[stem]}.{ext}' if ext=='ipynb' and stem in stems else node.format_map(url) if re.search(r'\{(repo|docs)\}', node) else node

def sidebar_pages(
    node, # a value of `_quarto.yml`'s `website.sidebar`
)->list[str]: # file names, in the reader's order
    "Every page that the sidebar names"
    if isinstance(node, str): return [node] if node.endswith(('.ipynb', '.qmd', '.md')) else []
    kids = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return [p for kid in kids for p in sidebar_pages(kid)]

def check_pages(
    config:dict, # `_quarto.yml`
    there:set[str], # names of the pages that exist
):
    "Refuse a sidebar that names a missing page or a page twice, and a page that no sidebar names"
    named, there = sidebar_pages(config['website']['sidebar']), there - {MISSING}
    for wrong, why in ((set(named)-there, 'in the sidebar of _quarto.yml, but not in nbs/'),
                       (there-set(named), 'in nbs/, but not in the sidebar of _quarto.yml'),
                       ({p for p in named if named.count(p)>1}, 'twice in the sidebar of _quarto.yml')):
        if wrong: sys.exit(f'docs: {", ".join(sorted(wrong))}: {why}')


# ---- Notebooks
def source(
    cell:dict, # a cell of a notebook
)->str:
    "The text of a cell, which a notebook may store as a list of lines"
    return ''.join(cell['source'])

def shown_name(
    cell:dict, # a cell of a notebook
)->str|None:
    "The name that a `show_doc` cell documents"
    m = re.search(r'^show_doc\(([\w.]+)', source(cell), re.M) if cell['cell_type']=='code' else None
    return m and m[1]

def defined(
    cell:dict, # a cell of a notebook
)->list[str]: # names of functions and classes, in order
    "What an `#| exports` cell defines (empty for any other cell)"
    src = source(cell)
    if cell['cell_type']!='code' or '#| exports' not in src: return []
    from nbdev.doclinks import patch_name  # `Module.train` for a function that `@patch` gives to `Module`
    names = [patch_name(n) for n in ast.parse(src).body if isinstance(n, ast.FunctionDef|ast.ClassDef)]
    return [n for name in names for n in (name if isinstance(name, list) else [name])]

def tidy_doc(
    md:str, # what `show_doc` gave
    has_source:bool, # the source follows on the page
)->str:
    "One heading per name, with the address that doclinks use; signature and docstring only where the source does not show them"
    md = re.sub(r'\A---\s*', '', md)
    md = re.sub(r'\{target="_blank" style="float:right; font-size:smaller"\}', '{.doc-source}', md)
    md = re.sub(r'^\*(.+)\*$', r'\1', md, count=1, flags=re.M)  # the docstring upright
    md = re.sub(r'^(#+) (\S+)$', lambda m: f'{m[1]} `{m[2]}` {{#{m[2]} .doc-name}}', md, count=1, flags=re.M)
    sig = re.search(r'^```python\n(.*?)^```\s*', md, re.M|re.S)
    if has_source and sig: return md[:sig.start()].rstrip()  # the source repeats the signature and the docstring
    words = md.replace(sig[0], '').rstrip() if sig else md
    if not sig: return words
    code = re.sub(r'^def (?=[A-Z])', 'class ', sig[1])
    code = re.sub(r'^[^#\n]+', lambda m: re.sub(r'\b(?:[a-z_]\w*\.)+(?=[A-Z])', '', m[0]), code, flags=re.M)  # `jaxtyping.Float[` as `Float[`
    return f'{words}\n\n```python\n{code}```'

def order_docs(
    cells:list[dict], # processed cells of a notebook
)->list[dict]:
    "Put the documentation of each name directly before the `#| exports` cell that defines it, without a second signature"
    out = list(cells)
    for src in [c for c in cells if defined(c)]:
        names = defined(src)
        docs = sorted((c for c in out if shown_name(c) in names), key=lambda c: names.index(shown_name(c)))
        for c in docs:  # nbdev moves some of them too far up
            out.remove(c)
            c['has_source'] = True
        i = out.index(src)
        out[i:i] = docs
    return out

def yield_anchors(
    md:str, # a Markdown cell
    names:set[str], # anchors of the names that the page documents
)->str:
    "A heading such as `## Fit` leaves the anchor to the function `fit`"
    def fix(m): return m[0] + f' {{#{slug}-section}}' if (slug := re.sub(r'[^\w.-]+', '-', m[1].lower()).strip('-')) in names else m[0]
    return re.sub(r'^##+ ([^{}\n]+?) *$', fix, md, flags=re.M)

def fix_html(
    html:str, # a stored output
)->str:
    "A DataFrame as a table of the theme"
    html = re.sub(r'<style scoped>.*?</style>\s*', '', html, flags=re.S)
    return html.replace('<table border="1" class="dataframe">', '<table class="dataframe table table-sm table-striped">')

def fix_cell(
    cell:dict, # a processed cell, changed in place
    stems:dict[str,str], # notebooks' stems and their final ones
    url:dict[str,str], # see `urls`
):
    "A cell as both renderers need it: `source` in lines, links of the site, no directive that would show, no stderr, no widget, nothing for editors"
    without_stderr(cell)
    for key in HIDDEN: cell.get('metadata', {}).pop(key, None)  # a page has a fold there
    src, has_source = source(cell), cell.pop('has_source', False)
    if cell['cell_type']=='markdown':
        # without blank lines around it, Markdown in a folded block stays as it is
        src = re.sub(r'</summary>\n*(?=[^\n])|\n+(?=</details>)', lambda m: m[0].rstrip('\n') + '\n\n', src)
        src = fix_links(re.sub(r'\A(#\|.*\n?)+', '', src), stems, url)
    else: src = re.sub(r'^#\| (?:(?:exports|cuda):.*|code-fold: show|code-summary: "Exported source")\n', '', src, flags=re.M)  # nbdev's, not an author's
    cell['source'] = src.splitlines(keepends=True)
    for out in cell.get('outputs', []):
        data = out.get('data', {})
        data.pop('application/vnd.jupyter.widget-view+json', None)
        for mime, fix in (('text/markdown', partial(tidy_doc, has_source=has_source) if shown_name(cell) else str), ('text/html', fix_html)):
            if mime in data: data[mime] = fix_links(fix(''.join(data[mime])), stems, url).splitlines(keepends=True)

def code_links(
    name:str, # the notebook's file name in `nbs/`
    repo:str, # the repository's address
)->list[dict]:
    "The links of a page to its source, and to how it is read"
    path = f'blob/main/nbs/{name}'
    links = [dict(text='View source', href=f'{repo}/{path}', icon='github')]
    if not name.startswith('reading'): links.append(dict(text='How to read', href='reading.html', icon='question-circle'))
    if '//github.com/' in repo and name.endswith('.ipynb'):
        colab = repo.replace('//github.com/', '//colab.research.google.com/github/')
        links.insert(0, dict(text='Open in Colab', href=f'{colab}/{path}', icon='play-circle'))
    return links

def for_machines(
    cell:dict, # a processed cell of a notebook
)->bool:
    "Is it nbdev's warning, or the docstring of the module, which `help` shows? A page begins with what it is about"
    return cell['cell_type']=='markdown' and bool(re.match(r'#\| export\b|.*WARNING: THIS FILE WAS AUTOGENERATED', source(cell)))

def stage_notebook(
    path:Path, # a processed notebook
    stems:dict[str,str], # notebooks' stems and their final ones
    url:dict[str,str], # see `urls`
    pages:dict, # see `lesson_map.read_pages`
):
    "Write a processed notebook to the stage, under its final name"
    nb = json.loads(path.read_text(encoding='utf-8'))
    front = re.fullmatch(r'---\n(.*?)\n---\s*', source(nb['cells'][0]) if nb['cells'] else '', re.S)
    if not front: sys.exit(f'docs: {path.name}: its first cell must be a title, `# Title`, with `> what for` below it')
    meta = {k: v for k,v in yaml.safe_load(front[1]).items() if k!='output-file'} | {'code-links': code_links(path.name, url['repo'])}
    cells = order_docs([c for c in nb['cells'][1:] if not for_machines(c)])
    names = {shown_name(c).lower() for c in cells if shown_name(c)}
    for cell in cells:
        if cell['cell_type']=='markdown': cell['source'] = yield_anchors(source(cell), names)
        fix_cell(cell, stems, url)
    linker = Linker(read_terms())
    for cell in cells:
        if cell['cell_type']=='markdown': cell['source'] = lesson_map.with_picture(linker(source(cell)), pages).splitlines(keepends=True)
    fold(cells)
    head = dict(cell_type='raw', id='front', metadata={}, source=f'---\n{yaml.safe_dump(meta, sort_keys=False)}---'.splitlines(keepends=True))
    nb['metadata'].pop('widgets', None)
    (STAGE/final_name(path.name)).write_text(json.dumps(nb | dict(cells=[head, *cells]), ensure_ascii=False, indent=1), encoding='utf-8')


# ---- The API index
def public_names(
    module:Path, # an exported module
)->list[tuple[str,str]]: # name and first line of its docstring
    "What a module exports, in its order; of a value, the remark after its name"
    text = module.read_text(encoding='utf-8')
    body = ast.parse(text).body
    names = next((ast.literal_eval(n.value) for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0])=='__all__'), [])
    docs = {n: (re.search(rf'^{n}\b.*=[^#\n]*# *(.+)', text, re.M) or ['', ''])[1] for n in names}
    defs = [n for n in body if isinstance(n, ast.FunctionDef|ast.ClassDef) and n.name in docs and not any('patch' in ast.unparse(d) for d in n.decorator_list)]
    return [(n, d) for n,d in (docs | {n.name: (ast.get_docstring(n) or '').partition('\n')[0] for n in defs}).items()]

def documented(
    package:Path=ROOT/'lesson8lib', # where the exported modules are
)->dict[str, list[tuple[str,str,str]]]: # module -> for each public name its address (the page's, where no heading shows it) and its one line
    "What each module exports"
    index = {}
    exec((package/'_modidx.py').read_text(encoding='utf-8'), index)
    pages = {mod: next(iter(syms.values()))[0].partition('#')[0] for mod,syms in index['d']['syms'].items()}
    return {mod: [(n, page + (f'#{n}' if f'{mod}.{n}' in index['d']['syms'][mod] else ''), doc)
                  for n,doc in public_names(package/f'{mod.rpartition(".")[2]}.py')] for mod,page in pages.items()}

def api_table(
    package:Path=ROOT/'lesson8lib', # where the exported modules are
)->str: # Markdown
    "Every public name of every module, with its one line and its address"
    out = []
    for mod, names in documented(package).items():
        rows = [f'| [`{n}`]({address}) | {doc.replace("|", chr(92) + "|")} |' for n,address,doc in names]
        page = names[0][1].partition('#')[0] if names else ''
        if rows: out += [f'## [{mod}]({page}) {{#{mod.rpartition(".")[2]}}}', '\n'.join(['| name | what it does |', '|:--|:-----|', *rows])]
    return '\n\n'.join(out)

def stage_text(
    path:Path, # a staged page in Markdown, changed in place
    stems:dict[str,str], # notebooks' stems and their final ones
    url:dict[str,str], # see `urls`
):
    "A page without code: its lists are made here, and its terms are linked"
    text = path.read_text(encoding='utf-8')
    if path.stem=='api': text = text.replace('{api}', api_table())
    if path.stem=='glossary': text = with_anchors(text)
    if path.stem=='map': text = lesson_map.fill(text, {n: address for names in documented().values() for n,address,_ in names if '#' in address})
    if path.stem=='quiz': text = quiz.fill(text)
    parts = re.fullmatch(r'---\n(.*?)\n---\n(.*)', text, re.S)
    if not parts: sys.exit(f'docs: {path.name}: it must begin with a title and a description between two lines of ---')
    front, body = parts.groups()
    if path.stem not in LOOKED_UP: body = Linker(read_terms())(body)
    if path.name!=MISSING: front = yaml.safe_dump(yaml.safe_load(front) | {'code-links': code_links(path.name, url['repo'])}, sort_keys=False).rstrip()
    path.write_text(fix_links(f'---\n{front}\n---\n{body}', stems, url), encoding='utf-8')


# ---- The flow
def process():
    "Run nbdev's processors over the notebooks, into `_proc`"
    from nbdev.serve import proc_nbs
    try: proc_nbs(force=True)  # without `force`, links to new names would go stale
    except Exception as e:
        if 'in notebook' not in str(e): raise
        sys.exit(f'docs: {e}')

def signature(
    f, # function or class
    **kwargs, # for `inspect.signature`
)->inspect.Signature:
    "As `inspect.signature`, but an annotation such as `'pandas.DataFrame'`, of what is imported when first used, is no error for `show_doc`"
    try: return inspect.signature(f, **kwargs)
    except NameError as e: raise ValueError(str(e)) from e

def katex(
    dest:Path, # folder to fill
):
    "KaTeX's script, style sheet, fonts and license, from the package that carries them"
    wheel = next(KATEX_CACHE.glob('*.whl'), None)
    if not wheel:
        pip = [sys.executable, '-m', 'pip', 'download', '-qq', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:', '-d', str(KATEX_CACHE), KATEX]
        if subprocess.run(pip).returncode: sys.exit(f'docs: KaTeX could not be had: `pip download {KATEX}` failed')
        wheel = next(KATEX_CACHE.glob('*.whl'))
    if hashlib.sha256(wheel.read_bytes()).hexdigest()!=KATEX_SHA:
        wheel.unlink()
        sys.exit(f'docs: {KATEX} is not the file expected (its SHA-256 differs); it was deleted, so try again')
    want = re.compile(r'katex\.min\.(js|css)|contrib/auto-render\.min\.js|fonts/.*\.woff2|LICENSE')
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            rel = name.removeprefix(KATEX_DIR)
            if not name.startswith(KATEX_DIR) or not want.fullmatch(rel): continue
            (dest/rel).parent.mkdir(parents=True, exist_ok=True)
            (dest/rel).write_bytes(z.read(name))
    css = dest/'katex.min.css'  # only WOFF2 is there, which every browser of today reads
    css.write_text(re.sub(r',url\([^)]*\.(woff|ttf)\) format\("\w+"\)', '', css.read_text(encoding='utf-8')), encoding='utf-8')

def stage():
    "Fill `_stage` with what is rendered: notebooks, pages, style sheet, images, KaTeX, spreadsheets, `_quarto.yml`"
    url = urls()
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(PROC, STAGE, ignore=shutil.ignore_patterns('*.ipynb', 'llms.txt', 'map.tsv', 'quiz.yml'))  # nbdev's list of pages has other addresses
    notebooks = sorted(PROC.glob('*.ipynb'))
    stems = {p.stem: Path(final_name(p.name)).stem for p in notebooks}
    config = fix_config(yaml.safe_load((PROC/'_quarto.yml').read_text(encoding='utf-8')), stems, url)
    check_pages(config, {final_name(p.name) for p in notebooks} | {p.name for p in STAGE.glob('*.qmd')})
    (STAGE/'_quarto.yml').write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding='utf-8')
    pages = lesson_map.read_pages()
    for p in notebooks: stage_notebook(p, stems, url, pages)
    for p in STAGE.glob('*.qmd'): stage_text(p, stems, url)
    katex(STAGE/'static'/'katex')
    import sheets  # here, not above: it needs PyTorch, and the workers of `process` do not
    sheets.build(STAGE/'static'/'sheets')

def render(
    renderer:str, # 'quarto' or 'smalldocs'
):
    "Render `_stage` into `_stage/_docs`; a warning of Quarto's is an error"
    if renderer=='quarto':
        done = subprocess.run(['quarto', 'render', str(STAGE), '--to', 'html'], encoding='utf-8', stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(done.stdout)
        warnings = re.findall(r'^\W*(?:\x1b\[\d+m)*\W*(?:WARN(?:ING)?|ERROR)\b.*', done.stdout, re.M)
        if done.returncode or warnings: sys.exit('docs: quarto failed' if done.returncode else f'docs: {len(warnings)} warnings of quarto (above)')
        return
    from smalldocs.site import build
    warnings = [w for w in build(STAGE, quiet=True).warnings if not w.startswith(QUIET)]
    for w in warnings: print(f'docs: {w}', file=sys.stderr)
    if any('broken link' in w for w in warnings): sys.exit('docs: a link leads nowhere (above)')

def markdown_copies():
    "Quarto's Markdown copies are made from HTML, without the `$` around formulas: take smalldocs's, made from the notebooks, with their pictures"
    built, quartos = STAGE/'_docs', STAGE/'_quarto_docs'
    built.rename(quartos)
    render('smalldocs')
    for p in [*built.glob('*.llms.md'), *built.glob('*_files/*.png')]:
        (quartos/p.relative_to(built)).parent.mkdir(exist_ok=True)
        shutil.copy(p, quartos/p.relative_to(built))
    shutil.rmtree(built)
    quartos.rename(built)

def choose(
    renderer:str, # 'auto', 'quarto' or 'smalldocs'
)->str:
    "`auto` takes Quarto where it is installed"
    if renderer=='auto': return 'quarto' if shutil.which('quarto') else 'smalldocs'
    if renderer=='quarto' and not shutil.which('quarto'): sys.exit('docs: quarto is not on the PATH (see quarto.org)')
    return renderer

def offline(
    page:str, # a rendered page
)->str:
    "Nothing from another host: KaTeX from the site, no require.js and jQuery (Quarto adds them wherever an output is HTML)"
    page = re.sub(r'https://cdn\.jsdelivr\.net/npm/katex@[\d.]+/dist/', 'static/katex/', page)
    page = re.sub(r'<script\b[^>]*\bsrc="(?:https?:)?//[^"]*(?:require|jquery|polyfill|embed-amd)[^"]*"[^>]*>\s*</script>\n?', '', page)
    return re.sub(r'<script\b[^>]*>\s*define\(.jquery.,.*?</script>\n?', '', page, flags=re.S)

def fix_anchors(
    page:str, # a rendered page
    ids:dict[str,set[str]], # the anchors of each page
)->str:
    "Links to a method that no heading shows lead to its class (`collab.html#dotproductbias.forward`)"
    def fix(m): return m[0] if m[2] in ids.get(m[1], {m[2]}) else f'href="{m[1]}#{m[2].partition(".")[0]}"'
    return re.sub(r'href="([\w-]+\.html)#([\w.]+\.[\w.]+)"', fix, page)

def lower_anchors(
    page:str, # a rendered page
)->str:
    "An anchor in lower case before each name that has capitals: nbdev's links from other projects look for it. Not where it would be another name's"
    ids = re.findall(r'\sid="([^"]+)"', page)
    taken = [i.lower() for i in ids]
    def fix(m):
        name = re.search(r'\sid="([^"]+)"', m[0])
        return m[0] if not name or name[1].islower() or taken.count(name[1].lower())>1 else f'<a id="{name[1].lower()}"></a>{m[0]}'
    return re.sub(r'<(?:h\d|section)\b[^>]*\bclass="[^"]*\bdoc-name\b[^>]*>', fix, page)

def picture_sizes(
    page:str, # a rendered page
    folder:Path, # where its files are
)->str:
    "A stored PNG has two pixels for each one of its place on the page, which is kept free for it while it loads"
    def size(m):
        src = m[1]
        try: head = base64.b64decode(src.partition(',')[2][:64]) if src.startswith('data:') else (folder/src).read_bytes()[:24]
        except OSError: return m[0]
        width, height = (int.from_bytes(head[i:i+4]) for i in (16, 20))
        return f'{m[0][:4]} width="{width//2}" height="{height//2}"{m[0][4:]}'
    return re.sub(r'<img\b(?![^>]*\swidth=)[^>]*?\ssrc="(data:image/png;base64,[^"]+|[^":]+_files/[^"]+\.png)"', size, page)

def contents_on_top(
    page:str, # a rendered page
)->str:
    "On a phone there is no room beside the text: the table of contents, folded, and the links to Colab and source stand below the title"
    toc = re.search(r'<nav id="TOC".*?</nav>', page, re.S)
    if not toc or 'id="title-block-header"' not in page: return page
    items, _, links = toc[0].partition('<div class="quarto-code-links">')
    items = re.search(r'<ul.*</ul>', items, re.S)
    items = re.sub(r'<(ul|li)\b[^>]*>|<(a href="#[^"]*")[^>]*>', lambda m: f'<{m[1] or m[2]}>', items[0]) if items else ''
    fold = f'<details><summary>On this page</summary>{items}</details>' if items else ''
    links = ' '.join(f'<a href="{href}">{text}</a>' for href,text in re.findall(r'<a href="([^"]+)"[^>]*>(?:\s*<i\b[^>]*></i>)?\s*([^<]+)</a>', links))
    head, title, rest = re.split(r'(<header id="title-block-header".*?</header>)', page, maxsplit=1, flags=re.S)
    return f'{head}{title}<nav class="page-top" aria-label="On this page">{fold}{links}</nav>{rest}'

def plain_summaries(
    page:str, # a rendered page
)->str:
    "The line that opens a fold is a button: no link within it"
    return re.sub(r'<summary>.*?</summary>', lambda m: re.sub(r'</?a\b[^>]*>', '', m[0]), page, flags=re.S)

def add_script(
    page:str, # a rendered page
)->str:
    "The site's own script, at the address where the page finds its style sheet"
    found = re.search(r'href="([^"]*)styles\.css"', page)
    return page.replace('</head>', f'<script src="{found[1]}page.js" defer></script></head>', 1) if found else page

def llms_txt(
    node, # a value of the sidebar's `contents`
    folder:Path, # of the built site
    url:dict[str,str], # see `urls`
)->str: # Markdown
    "The pages' Markdown copies, in the sidebar's order and under its headings"
    out = []
    for item in node:
        if isinstance(item, dict) and 'section' in item:
            out.append(f'\n## {item["section"]}\n\n{llms_txt(item["contents"], folder, url)}')
            continue
        for page in sidebar_pages(item):
            copy = re.sub(r'\.\w+$', '.llms.md', page)
            title, _, rest = (folder/copy).read_text(encoding='utf-8').removeprefix('# ').partition('\n')
            about = rest.strip().partition('\n')[0]
            out.append(f'- [{title}]({url["docs"]}{copy}): {about}\n')
    return ''.join(out)

def finish(
    renderer:str, # what rendered it
):
    "Clean what was rendered, add what hosts and readers ask for, and put it in place as `_docs`"
    built = STAGE/'_docs'
    if renderer=='quarto': markdown_copies()
    pages = {p.name: offline(p.read_text(encoding='utf-8')) for p in built.glob('*.html')}
    ids = {name: set(re.findall(r'\sid="([^"]+)"', page)) for name,page in pages.items()}
    for name, page in pages.items():
        page = add_script(plain_summaries(contents_on_top(picture_sizes(lower_anchors(fix_anchors(page, ids)), built))))
        if name==MISSING.replace('.qmd', '.html') and renderer=='smalldocs':  # shown at any depth; Quarto writes whole paths
            page = page.replace('<head>', f'<head><base href="{urlsplit(urls()["docs"]).path}">', 1)
        (built/name).write_text(page, encoding='utf-8')
    for p in built.glob('*.llms.md'):
        plain = re.sub(r'```\{=html\}\n(?:<script.*?|<figure.*?aria-label="([^"]*)".*?)\n```', lambda m: m[1] or '', p.read_text(encoding='utf-8'), flags=re.S)
        plain = re.sub(r'<div data-explorable=.*?<div class="x-still">(.*?)</div></div>\s*<script type="module">.*?</script>', r'\1', plain, flags=re.S)
        plain = re.sub(r'\[([^]]+)\]\(glossary\.[a-z.]+#[\w-]+\)\{\.term\}', r'\1', plain)
        p.write_text(re.sub(r'(?<=\))\{\.doc-source\}|(?m:(?<=\S) \{#[^}\n]*\}$)', '', plain), encoding='utf-8')  # plain Markdown
        shutil.copy(p, built/p.name.replace('.llms.md', '.html.md'))  # the address in each module's docstring
    config = yaml.safe_load((STAGE/'_quarto.yml').read_text(encoding='utf-8'))['website']
    head = f'# {config["title"]}\n\n> {config["description"]}\n\n'
    (built/'llms.txt').write_text(head + llms_txt(config['sidebar']['contents'], built, urls()), encoding='utf-8')
    shutil.copytree(STAGE/'static', built/'static', dirs_exist_ok=True)
    (built/'.nojekyll').write_text(renderer, encoding='utf-8')  # GitHub asks that the file is there; tests ask what rendered the site
    shutil.rmtree(DOCS, ignore_errors=True)
    shutil.move(built, DOCS)

def serve(
    port:int, # first port to try
):
    "Serve `_docs` on this machine until Ctrl-C"
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    for p in range(port, port+100):
        try: server = ThreadingHTTPServer(('127.0.0.1', p), partial(Handler, directory=DOCS))
        except OSError: continue
        print(f'http://127.0.0.1:{p}/', flush=True)
        try: server.serve_forever()
        except KeyboardInterrupt: return
    sys.exit(f'docs: no free port from {port} to {port+99}')

if __name__=='__mp_main__':  # a worker of `process`
    from fastcore import docments
    docments.signature = signature

if __name__=='__main__':
    sys.stdout.reconfigure(errors='backslashreplace')  # a locale may lack the characters of a notebook
    args = argparse.ArgumentParser(description='Build the docs site into _docs/')
    args.add_argument('--renderer', choices=('auto', 'quarto', 'smalldocs'), default='auto', help='auto: Quarto where it is installed')
    args.add_argument('--serve', action='store_true', help='then serve it on this machine')
    args.add_argument('--port', type=int, default=8000, help='first port to try (default 8000)')
    args = args.parse_args()
    os.chdir(ROOT)
    renderer = choose(args.renderer)
    process()
    stage()
    render(renderer)
    finish(renderer)
    if args.serve: serve(args.port)
