"The built site, without a browser: links, addresses, sizes, nothing from another host; and the steps of tools/docs.py"
import ast
import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import card
import docs
import numpy as np
import pytest
import yaml
from conftest import ROOT
from explorable_pages import stored
from PIL import Image

CONFIG = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))
SOURCES = docs.sidebar_pages(CONFIG['website']['sidebar'])
PAGES = [re.sub(r'\.\w+$', '.html', docs.final_name(s)) for s in SOURCES]
MODULES = sorted(p for p in (ROOT/'lesson8lib').glob('*.py') if not p.name.startswith('_'))
BLOCKS = set('p div li td th h1 h2 h3 h4 h5 h6 pre blockquote summary figcaption br tr main nav section'.split())
LOADING = {'stylesheet', 'icon', 'preload', 'modulepreload', 'prefetch', 'preconnect', 'dns-prefetch', 'manifest', 'apple-touch-icon'}


class Page(HTMLParser):
    "A parsed page: `tags` (name and attributes), `ids`, those that come `twice`, `text` that a reader sees, its `prose`, `code` of inline scripts and styles"
    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.twice, self.text, self.code, self.inside = [], set(), [], '', '', None
        self.prose, self.pre = '', 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = {k: v or '' for k,v in attrs}
        self.tags.append((tag, attrs))
        if attrs.get('id') in self.ids and tag!='link': self.twice.append(attrs['id'])  # Quarto's style sheets share theirs
        if 'id' in attrs: self.ids.add(attrs['id'])
        if tag in ('script', 'style', 'title'): self.inside = tag
        if tag in ('pre', 'code'): self.pre += 1
        if tag in BLOCKS: self.text += '\n'

    def handle_endtag(self, tag):
        if tag==self.inside: self.inside = None
        if tag in ('pre', 'code'): self.pre -= 1

    def handle_data(self, data):
        if self.inside: self.code += data + '\n'
        else:
            self.text += data
            if not self.pre: self.prose += data


_parsed = {}

def parse(site, name):
    "A page of the site, parsed once"
    key = site/name
    if key not in _parsed: _parsed[key] = Page(key.read_text(encoding='utf-8'))
    return _parsed[key]

def loads(page):
    "Every address that a page's tags load by themselves"
    for tag, a in page.tags:
        if tag=='link' and LOADING & set(a.get('rel', '').split()): yield a.get('href', '')
        if tag in ('script', 'img', 'source', 'iframe', 'video', 'audio', 'embed', 'track', 'input'): yield a.get('src', '')
        if tag in ('image', 'use', 'feimage'): yield a.get('href', a.get('xlink:href', ''))
        if tag=='object': yield a.get('data', '')
        yield a.get('poster', '')
        yield from (s.split()[0] for s in a.get('srcset', '').split(',') if s.strip())
        yield from css_loads(a.get('style', ''))

def css_loads(css):
    "Every address that a style sheet loads"
    return [m[1] or m[2] for m in re.finditer(r'url\(\s*["\']?([^"\')]+)|@import\s+["\']([^"\']+)', re.sub(r'/\*.*?\*/', '', css, flags=re.S))]

def js_loads(js):
    "Every address on another host that a script asks for"
    return re.findall(r'(?:\b(?:fetch|import|importScripts|Worker|EventSource|WebSocket|open)\s*\(|\bfrom\b|\bimport\b|\.(?:src|href)\s*=)\s*["\'`]((?:https?:|wss?:)?//[^"\'`]+)', js)

def foreign(addresses):
    "Those that lead to another host"
    return [a for a in addresses if re.match(r'(https?:|wss?:|ftp:)?//', a.strip(), re.I)]


# ---- the site
def test_pages_are_the_sidebar(site):
    "The site's pages are those of the sidebar, in the reader's order, at addresses without numbers"
    assert sorted(p.name for p in site.glob('*.html'))==sorted([*PAGES, '404.html'])
    for name in PAGES:
        side = [a['href'] for tag,a in parse(site, name).tags if tag=='a' and 'sidebar-item-text' in a.get('class', '') and a.get('href')]
        assert [h.removeprefix('./') for h in side]==PAGES, name

@pytest.mark.parametrize('name', PAGES)
def test_no_other_host(site, name):
    page = parse(site, name)
    assert not foreign(loads(page))
    assert not foreign(css_loads(page.code))
    assert not js_loads(page.code)

def test_no_other_host_in_files(site):
    "Nor do style sheets and scripts; and what they name is there"
    for f in site.rglob('*.css'):
        assert not foreign(css_loads(f.read_text(encoding='utf-8'))), f.name
        missing = [u for u in css_loads(f.read_text(encoding='utf-8')) if not u.startswith(('data:', '#')) and not (f.parent/re.split('[?#]', u)[0]).exists()]
        assert not missing, f.name
    for f in site.rglob('*.js'): assert not js_loads(f.read_text(encoding='utf-8')), f.name

@pytest.mark.parametrize('name', PAGES)
def test_links_lead_somewhere(site, name):
    "Every link, picture, script and style sheet of the site exists, its anchor too"
    page = parse(site, name)
    hrefs = [a['href'] for tag,a in page.tags if tag=='a' and a.get('href')] + [u for u in loads(page) if u]
    assert hrefs
    for href in hrefs:
        if re.match(r'[a-z][a-z0-9+.-]*:|//', href): continue
        path, _, anchor = unquote(href).partition('#')
        path = path.partition('?')[0].removeprefix('./') or (name if href.startswith('#') else 'index.html')
        assert (site/path).is_file(), f'{href}: no such file'
        if anchor and path.endswith('.html'): assert anchor in parse(site, path).ids, f'{href}: no such anchor'

@pytest.mark.parametrize('name', PAGES)
def test_anchors_are_unique(site, name):
    assert not parse(site, name).twice

@pytest.mark.parametrize('name', PAGES)
def test_links_to_own_site_are_relative(site, name):
    "A link to a page at its published address would leave a copy of the site that is read elsewhere (to the home page: on purpose)"
    own = docs.urls()['docs']
    assert not [a['href'] for tag,a in parse(site, name).tags if tag=='a' and re.match(rf'{re.escape(own)}\w', a.get('href', ''))]

@pytest.mark.parametrize('name', PAGES)
def test_nothing_of_the_machinery_shows(site, name):
    "No directive, no div fence, no placeholder, no attribute that was not understood"
    lines = [ln.strip() for ln in parse(site, name).text.splitlines()]
    assert not [ln for ln in lines if ln.startswith(('#|', ':::'))]
    assert not [ln for ln in lines if re.search(r'\{(repo|docs|api)\}|\{[.#][\w-]+\}|jaxtyping\.\w+\[', ln)]
    assert not re.findall(r'.{,40}(?:`|\]\().{,40}', parse(site, name).prose), 'Markdown that was not understood'

@pytest.mark.parametrize('name', PAGES)
def test_images_have_alt_text(site, name):
    "A cell with a picture has `#| fig-alt`"
    assert not [a.get('src', '')[:60] for tag,a in parse(site, name).tags if tag=='img' and not a.get('alt', '').strip()]

@pytest.mark.parametrize('name', PAGES)
def test_page_size(site, name):
    local = {u for u in loads(parse(site, name)) if re.search(r'\.(png|jpe?g|gif|svg|webp)$', u)} - set(foreign(loads(parse(site, name))))
    assert (site/name).stat().st_size + sum((site/u).stat().st_size for u in local) <= 1e6

@pytest.mark.parametrize('name', [p.name for p in sorted((ROOT/'nbs').glob('*.ipynb'))])
def test_notebook_size(name):
    "500 kB; interactive figures, which carry their data and their script, come on top"
    size = (ROOT/'nbs'/name).stat().st_size
    assert size <= 500e3 + sum(len(json.dumps(text)) for nb,_,_,text in stored() if nb==name) and size <= 1e6

def test_search_knows_every_page(site):
    "Full text: the words of each page's last paragraph are in the index"
    index = json.loads((site/'search.json').read_text(encoding='utf-8'))
    for name in PAGES:
        known = ' '.join(f"{e['title']} {e['section']} {e['text']}" for e in index if e['href'].partition('#')[0]==name)
        html = re.search(r'<main.*?(?=<nav class="page-navigation"|</main>)', (site/name).read_text(encoding='utf-8'), re.S)[0]
        last = (re.findall(r'<(?:p|td)>(.*?)</(?:p|td)>', html, re.S) or re.findall(r'<h1.*?</h1>', html))[-1]
        words = re.findall(r'[A-Za-z]{4,}', Page(last).text)
        assert words and not [w for w in words if w not in known], name

@pytest.mark.parametrize('module', MODULES, ids=lambda p: p.stem)
def test_docstring_address(site, module):
    "The `Docs:` address that `help` prints is a page of the site, in Markdown"
    m = re.search(r'^Docs: (\S+)', ast.get_docstring(ast.parse(module.read_text(encoding='utf-8'))) or '', re.M)
    assert m, f'{module.name} has no `Docs:` line'
    assert m[1].startswith(docs.urls()['docs'])
    page = site/m[1].removeprefix(docs.urls()['docs'])
    assert page.is_file() and page.read_text(encoding='utf-8').startswith('# ')

def test_llms_txt(site):
    "The list of pages for language models names a file for each page, in the reader's order, with what the page is about"
    text = (site/'llms.txt').read_text(encoding='utf-8')
    found = re.findall(r'^- \[([^]]+)\]\((\S+)\): (.+)$', text, re.M)
    assert [docs.urls()['docs']+name.replace('.html', '.llms.md') for name in PAGES]==[address for _,address,_ in found]
    for (title, address, about), name in zip(found, PAGES, strict=True):
        assert (site/address.rpartition('/')[2]).read_text(encoding='utf-8').startswith(f'# {title}\n\n{about}\n'), name
    sections = [item['section'] for item in CONFIG['website']['sidebar']['contents'] if 'section' in item]
    assert re.findall('^## (.+)', text, re.M)==sections

@pytest.mark.parametrize('name', [s for s in SOURCES if s.endswith('.ipynb')])
def test_markdown_copy_keeps_formulas_and_pictures(site, name):
    "A formula of the notebook stands in the copy, between its `$`; a picture that the copy names is there"
    copy = (site/f'{Path(docs.final_name(name)).stem}.llms.md').read_text(encoding='utf-8')
    for cell in json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells']:
        formulas = re.findall(r'(?<![\w$\\`])\$[^$\n`]+\$(?![\w$`])', ''.join(cell['source'])) if cell['cell_type']=='markdown' else []
        assert not [f for f in formulas if f not in copy and not re.search(rf'^#.*{re.escape(f)}', ''.join(cell['source']), re.M)]
    for picture in re.findall(r'!\[[^]]*\]\(([^):]+)\)', copy): assert (site/picture).is_file(), picture

@pytest.mark.parametrize('name', PAGES)
def test_card(site, name):
    "What a link to the page shows elsewhere: its title, what it is about, a picture that is there"
    meta = {a.get('property', a.get('name')): a.get('content', '') for tag,a in parse(site, name).tags if tag=='meta'}
    assert meta['og:title'] and meta['og:description']==meta['description'] and meta['twitter:card']=='summary_large_image'
    picture = meta['og:image'].removeprefix(docs.urls()['docs'])
    assert picture!=meta['og:image'] and (site/picture).stat().st_size<300e3

@pytest.mark.parametrize('name', PAGES)
def test_pictures_have_a_size(site, name):
    "A PNG of a notebook has two pixels for each one of its place"
    assert not [a['src'][:60] for tag,a in parse(site, name).tags if tag=='img' and re.match(r'data:image/png|[^:]+_files/.*png$', a.get('src', '')) and not a.get('width')]

def test_api_index(site):
    "Every public name of every module, with what it does, linked to its heading"
    plain = lambda s: ' '.join(re.findall(r'\w+', s))  # quotes and dashes have become typographic
    links = {a['href'] for tag,a in parse(site, 'api.html').tags if tag=='a' and a.get('href')}
    for module in MODULES:
        space = {}
        exec(next(ln for ln in re.split(r'\n\n', module.read_text(encoding='utf-8')) if '__all__' in ln), space)
        defs = {n.name: n for n in ast.parse(module.read_text(encoding='utf-8')).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        for name in space['__all__']:
            assert name in parse(site, 'api.html').text, f'{module.stem}.{name} is not in the API index'
            if name not in defs: continue  # a value: it has neither docstring nor heading
            assert any(h.endswith(f'#{name}') for h in links), f'{module.stem}.{name} is not in the API index'
            first = plain((ast.get_docstring(defs[name]) or '').partition('\n')[0])
            assert first and first in plain(parse(site, 'api.html').text), f'{module.stem}.{name}: no docstring in the API index'

@pytest.mark.parametrize('name', [s for s in SOURCES if s.endswith('.ipynb')])
def test_exports_show_their_source(site, name):
    "The source of an `#| exports` cell stands on its page, with the remark beside each parameter"
    text = parse(site, re.sub(r'\.\w+$', '.html', docs.final_name(name))).text
    for cell in json.loads((ROOT/'nbs'/name).read_text(encoding='utf-8'))['cells']:
        src = ''.join(cell['source'])
        if cell['cell_type']!='code' or not re.search(r'^#\| *exports', src, re.M): continue
        for line in src.splitlines():
            if line.strip() and not line.startswith('#|') and '#| hide_line' not in line: assert line.strip() in text, line

@pytest.mark.parametrize('name', [s for s in SOURCES if s.endswith('.ipynb')])
def test_links_to_colab_and_source(site, name):
    hrefs = [a.get('href', '') for tag,a in parse(site, re.sub(r'\.\w+$', '.html', docs.final_name(name))).tags if tag=='a']
    repo = docs.urls()['repo']
    assert f'{repo}/blob/main/nbs/{name}' in hrefs
    if '//github.com/' in repo: assert f"{repo.replace('//github.com', '//colab.research.google.com/github')}/blob/main/nbs/{name}" in hrefs


# ---- the steps of tools/docs.py
URL = dict(repo='https://github.com/o/r', docs='https://o.github.io/r/')
STEMS = {'22_collab': 'collab', 'index': 'index'}

def test_repository_stands_once():
    "Its address is in pyproject.toml, and nowhere else that the site is made of"
    for f in [ROOT/'_quarto.yml', ROOT/'tools'/'docs.py', *(ROOT/'nbs').glob('*.qmd')]:
        assert docs.urls()['repo'] not in f.read_text(encoding='utf-8'), f.name

def test_fix_links():
    fix = lambda s: docs.fix_links(s, STEMS, URL)
    assert fix('[a](22_collab.ipynb#x) [b](./22_collab.html)')=='[a](collab.ipynb#x) [b](collab.html)'
    assert fix('[our [`f`](https://o.github.io/r/collab.html#f) or [`g`](h.html)](22_collab.ipynb)')=='[our `f` or `g`](collab.ipynb)'
    assert fix('[`f`](a.html), [`g`](b.html)')=='[`f`](a.html), [`g`](b.html)'
    assert fix('<a href="22_collab.ipynb">')=='<a href="collab.ipynb">'
    assert fix('[`f`](https://o.github.io/r/collab.html#f)')=='[`f`](collab.html#f)'
    assert fix('[s]({repo}/blob/main/nbs/22_collab.ipynb) <{docs}>')=='[s](https://github.com/o/r/blob/main/nbs/22_collab.ipynb) <https://o.github.io/r/>'
    assert fix(r'$\text{docs}$ `22_collab.ipynb`')==r'$\text{docs}$ `22_collab.ipynb`'

def test_check_pages():
    config = lambda *pages: dict(website=dict(sidebar=dict(contents=[dict(text='Home', href='index.ipynb'), dict(section='S', contents=list(pages))])))
    docs.check_pages(config('a.ipynb'), {'index.ipynb', 'a.ipynb'})
    with pytest.raises(SystemExit, match='b.ipynb: in the sidebar'): docs.check_pages(config('a.ipynb', 'b.ipynb'), {'index.ipynb', 'a.ipynb'})
    with pytest.raises(SystemExit, match='c.ipynb: in nbs'): docs.check_pages(config('a.ipynb'), {'index.ipynb', 'a.ipynb', 'c.ipynb'})
    docs.check_pages(config('a.ipynb'), {'index.ipynb', 'a.ipynb', '404.qmd'})  # hosts show it, no menu does
    with pytest.raises(SystemExit, match='a.ipynb: twice'): docs.check_pages(config('a.ipynb', 'a.ipynb'), {'index.ipynb', 'a.ipynb'})

def test_picture_sizes(tmp_path):
    (tmp_path/'a_files').mkdir()
    Image.new('RGB', (300, 100)).save(png := tmp_path/'a_files'/'b.png')
    data = 'data:image/png;base64,' + base64.b64encode(png.read_bytes()).decode()
    for src in ('a_files/b.png', data): assert docs.picture_sizes(f'<img alt="x" src="{src}">', tmp_path)==f'<img width="150" height="50" alt="x" src="{src}">'
    for other in ('<img src="https://x.y/a_files/b.png">', '<img width="9" src="a_files/b.png">', '<img src="a_files/none.png">', '<img src="images/c.svg">'):
        assert docs.picture_sizes(other, tmp_path)==other

TITLE = '<header id="title-block-header" class="x"><h1>T</h1></header>'

def test_contents_on_top():
    "From Quarto's and from smalldocs's table of contents; without their addresses of their own"
    toc = ('<nav id="TOC" role="doc-toc"><h2 id="toc-title">On this page</h2><ul>\n<li><a href="#a" id="toc-a" class="nav-link" data-scroll-target="#a">A <code>b</code></a>'
           '<ul class="collapse"><li><a href="#c" class="nav-link">C</a></li></ul></li></ul>'
           '<div class="quarto-code-links"><h2>Code Links</h2><ul><li><a href="https://x.y/z"><i class="bi bi-github"></i>View source</a></li></ul></div></nav>')
    new = docs.contents_on_top(f'{toc}<main>{TITLE}<p>').partition(TITLE)[2]
    assert new==('<nav class="page-top" aria-label="On this page"><details><summary>On this page</summary><ul>\n<li><a href="#a">A <code>b</code></a>'
                 '<ul><li><a href="#c">C</a></li></ul></li></ul></details><a href="https://x.y/z">View source</a></nav><p>')
    for without in (f'<main>{TITLE}', toc): assert docs.contents_on_top(without)==without

def test_add_script():
    assert docs.add_script('<link href="/lib/styles.css"></head>')=='<link href="/lib/styles.css"><script src="/lib/page.js" defer></script></head>'
    assert docs.add_script('<link href="other.css"></head>')=='<link href="other.css"></head>'

def test_llms_txt_of_a_sidebar(tmp_path):
    for name in 'abc': (tmp_path/f'{name}.llms.md').write_text(f'# The {name}\n\nAbout {name}\n\nText', encoding='utf-8')
    sidebar = [dict(text='Home', href='a.ipynb'), dict(section='Last', contents=['c.qmd', 'b.ipynb'])]
    assert docs.llms_txt(sidebar, tmp_path, URL).splitlines()==[
        f'- [The a]({URL["docs"]}a.llms.md): About a', '', '## Last', '', f'- [The c]({URL["docs"]}c.llms.md): About c', f'- [The b]({URL["docs"]}b.llms.md): About b']

def test_the_card_is_the_home_pages_figure():
    "`make prepare` does not draw it: run tools/card.py when name, line or figure of the home page have changed"
    name, about, figure = card.parts()
    assert name and about and figure.width>600
    drawn, stored = (np.asarray(Image.open(f).convert('RGB'), dtype=float) for f in (io.BytesIO(card.draw()), ROOT/'nbs/images/card.png'))
    assert drawn.shape==stored.shape==(card.HEIGHT, card.WIDTH, 3) and abs(drawn-stored).mean()<1  # fonts may differ by a shade

def test_offline():
    "What Quarto and smalldocs load from elsewhere goes; what is the page's own stays"
    cdn = 'https://cdnjs.cloudflare.com/ajax/libs'
    html = (f'<script src="{cdn}/require.js/2.3.6/require.min.js" integrity="sha512-x" crossorigin="anonymous"></script>\n'
            f'<script src="{cdn}/jquery/3.5.1/jquery.min.js" data-relocate-top="true"></script>\n'
            '<script type="application/javascript">define(\'jquery\', [],function() {return window.jQuery;})</script>\n'
            '<script defer src="https://cdn.jsdelivr.net/npm/katex@0.16.11/dist/katex.min.js"></script>'
            '<script src="site_libs/quarto-nav/quarto-nav.js"></script><script>let x = 1</script>')
    assert docs.offline(html)==('<script defer src="static/katex/katex.min.js"></script>'
                                '<script src="site_libs/quarto-nav/quarto-nav.js"></script><script>let x = 1</script>')

def test_fix_anchors():
    ids = {'collab.html': {'dot', 'dot.forward'}}
    html = ' '.join(f'<a href="collab.html#{a}">' for a in ('dot', 'dot.forward', 'dot.__init__'))
    assert docs.fix_anchors(html, ids)=='<a href="collab.html#dot"> <a href="collab.html#dot.forward"> <a href="collab.html#dot">'

def _code(src, *md): return dict(cell_type='code', source=src, outputs=[dict(data={'text/markdown': m}) for m in md])

def test_order_docs():
    "Both names of a cell come before it, in its order, each without signature and docstring; a name whose source is hidden keeps them"
    doc = lambda n: _code(f'#| echo: false\nshow_doc({n})', f'---\n\n[source](u){{target="_blank" style="float:right; font-size:smaller"}}\n\n### {n}\n\n```python\ndef {n}(x:jaxtyping.Float[torch.Tensor, \'b\']):\n```\n\n*What `{n}` does*')
    cells = docs.order_docs([doc('two'), _code('#| exports: true\ndef one(x): return x\ndef two(x): return x'), doc('one'), doc('Hidden')])
    assert [docs.shown_name(c) for c in cells]==['one', 'two', None, 'Hidden']
    for c in cells: docs.fix_cell(c, STEMS, URL)
    shown = lambda c: ''.join(c['outputs'][0]['data']['text/markdown'])
    assert shown(cells[0])=='[source](u){.doc-source}\n\n### `one` {#one .doc-name}'
    assert shown(cells[3])=="[source](u){.doc-source}\n\n### `Hidden` {#Hidden .doc-name}\n\nWhat `Hidden` does\n\n```python\nclass Hidden(x:Float[Tensor, 'b']):\n```"
    assert cells[2]['source']==['def one(x): return x\n', 'def two(x): return x']

def test_order_docs_across_cells():
    "nbdev puts the documentation of the second of two adjacent cells before the first"
    cells = [_code('show_doc(two)'), _code('#| exports: true\ndef _one(x): return x'), _code('#| exports: true\ndef two(x): return x')]
    assert [docs.shown_name(c) for c in docs.order_docs(cells)]==[None, 'two', None]

def test_order_docs_of_patches():
    "A method that `@patch` adds is documented under its class's name"
    cells = [_code('show_doc(M.two)'), _code('#| exports: true\n@patch\ndef one(self:M): return 1\n\n@patch\ndef two(self:M): return 2'), _code('show_doc(M.one)')]
    assert [docs.shown_name(c) for c in docs.order_docs(cells)]==['M.one', 'M.two', None]

def test_a_class_and_a_function_of_one_spelling_have_addresses_of_their_own():
    md = '[`Conv2d`](https://o.github.io/r/collab.html#conv2d) [`collab.conv2d()`](collab.html#conv2d) [`Conv2d.forward`](collab.html#conv2d.forward) [x](a.html#Y)'
    assert docs.fix_links(md, STEMS, URL)=='[`Conv2d`](collab.html#Conv2d) [`collab.conv2d()`](collab.html#conv2d) [`Conv2d.forward`](collab.html#Conv2d.forward) [x](a.html#Y)'
    parts = '[`ReConv2d`](a.html#conv2d) [`a.Conv2d`](a.html#conv2d) [`aXConv2d`](a.html#a.conv2d) [`Conv2d`](a.html#a.conv2d)'  # whole parts of a name only
    assert docs.fix_links(parts, STEMS, URL)=='[`ReConv2d`](a.html#conv2d) [`a.Conv2d`](a.html#Conv2d) [`aXConv2d`](a.html#a.conv2d) [`Conv2d`](a.html#a.conv2d)'

def test_lower_anchors():
    "A name with capitals can be found in lower case, unless that is another name's; as smalldocs writes it, and as Quarto does"
    html = '<h3 id="Net" class="doc-name">x</h3><section id="Conv2d" class="level3 doc-name"><h3 class="doc-name" id="conv2d">y</h3><h2 id="See">z</h2>'
    assert docs.lower_anchors(html)==f'<a id="net"></a>{html}'
    twins = '<h3 id="NeT" class="doc-name"><h3 id="Net" class="doc-name">'
    assert docs.lower_anchors(twins)==twins

def test_a_class_is_found_in_lower_case(site):
    assert {'EntityEncoder', 'entityencoder'} <= parse(site, 'entity.html').ids

def test_yield_anchors():
    assert docs.yield_anchors('## Fit\n\n### Fit it\n\n## Fit {#x}', {'fit'})=='## Fit {#fit-section}\n\n### Fit it\n\n## Fit {#x}'

def test_only_nbdevs_folding_is_dropped():
    nbdevs, authors = '#| exports: \n#| code-fold: show\n#| code-summary: "Exported source"\n', '#| code-fold: true\n#| code-summary: "How it is drawn"\n'
    for source,left in ((f'{nbdevs}x = 1', 'x = 1'), (f'{authors}x = 1', f'{authors}x = 1')):
        docs.fix_cell(cell := _code(source), STEMS, URL)
        assert ''.join(cell['source'])==left

def test_renderer_is_chosen(monkeypatch, tmp_path):
    monkeypatch.setattr(docs.shutil, 'which', lambda name: None)
    assert docs.choose('auto')==docs.choose('smalldocs')=='smalldocs'
    with pytest.raises(SystemExit, match='quarto is not on the PATH'): docs.choose('quarto')
    monkeypatch.setattr(docs.shutil, 'which', lambda name: f'/usr/bin/{name}')
    assert docs.choose('auto')==docs.choose('quarto')=='quarto' and docs.choose('smalldocs')=='smalldocs'

@pytest.mark.parametrize('says, status, refusal', [('Output created', 0, None), ('WARN: a bad link', 0, '1 warnings'), ('\x1b[33m[WARNING] a citation', 0, '1 warnings'),
                                                   ('ERROR: no', 1, 'failed')])
def test_a_warning_of_quarto_is_an_error(monkeypatch, tmp_path, says, status, refusal):
    (quarto := tmp_path/'quarto').write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'\nexit {status}\n", encoding='utf-8')
    quarto.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    if not refusal: return docs.render('quarto')
    with pytest.raises(SystemExit, match=refusal): docs.render('quarto')

def test_fix_cell():
    cell = dict(cell_type='markdown', source=['#| t: x\n', '## A [b](22_collab.ipynb)\n', '::: {.callout-note}'])
    docs.fix_cell(cell, STEMS, URL)
    assert cell['source']==['## A [b](collab.ipynb)\n', '::: {.callout-note}']
    cell = dict(cell_type='markdown', source='<details><summary>Answer</summary>\nIt is `x`.\n</details>')
    docs.fix_cell(cell, STEMS, URL)
    assert ''.join(cell['source'])=='<details><summary>Answer</summary>\n\nIt is `x`.\n\n</details>'
    cell = _code('df')
    cell['outputs'] = [dict(data={'text/html': '<style scoped>x</style>\n<table border="1" class="dataframe">', 'application/vnd.jupyter.widget-view+json': {}})]
    docs.fix_cell(cell, STEMS, URL)
    assert cell['outputs'][0]['data']=={'text/html': ['<table class="dataframe table table-sm table-striped">']}
