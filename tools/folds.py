"""Sections of a notebook that a page shows folded: `### Proof: …`, `### Input checks`, `### Details: …`

In the notebook they are plain headings; on the site, all that follows up to the next heading of the same or a higher level is a `<details>`
block, which works by mouse and keyboard without a script, and which the browser's own search opens.
"""
import html, re

HEADING = re.compile(r'^(#{2,6}) +(\S.*?) *$')
FOLDED = re.compile(r'(?:Proof|Details): .*|Input checks')

def anchor(
    title:str, # of a heading, in Markdown
)->tuple[str, str]: # the title without an explicit anchor, and the anchor, as Pandoc makes it
    "Where links to a heading lead"
    if found := re.search(r'\s*\{#([^\s}]+)[^}]*\}$', title): return title[:found.start()], found[1]
    plain = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', title).replace('`', '')
    slug = re.sub(r'[^\w\s.-]', '', plain).strip().lower()
    return title, re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', slug)) or 'section'

def inline(
    md:str, # a line of Markdown
)->str: # HTML, since no renderer reads Markdown inside of a block of HTML
    "Code, links, emphasis and simple formulas of a title"
    def text(s):
        s = re.sub(r'\$([^$]+)\$', r'<i>\1</i>', s)
        return re.sub(r'(?<!\w)([*_])([^*_]+)\1(?!\w)', r'<em>\2</em>', s)
    out = html.escape(md, quote=False)
    out = re.sub(r'\[([^]]+)\]\(([^)\s]+?)(\.ipynb)?(#[^)\s]*)?\)', lambda m: f'<a href="{m[2]}{".html" if m[3] else ""}{m[4] or ""}">{m[1]}</a>', out)
    parts = re.split(r'(`[^`]+`)', out)  # within code, no mark means anything
    return ''.join(f'<code>{p[1:-1]}</code>' if p.startswith('`') else text(p) for p in parts)

def fold_text(
    md:str, # a Markdown cell
    level:int, # level of the section that is open; 0 for none
)->tuple[str, int]: # the text with the marks of folds, and the level that is open after it
    "Open a fold at each heading to be folded, and close it at the next heading that ends the section"
    out, in_code = [], False
    for line in md.splitlines():
        if line.lstrip().startswith(('```', '~~~')): in_code = not in_code
        heading = None if in_code else HEADING.match(line)
        if heading and level and len(heading[1])<=level:
            out += ['</details>', '']
            level = 0
        if heading and not level and FOLDED.fullmatch(heading[2]):
            level = len(heading[1])
            title, slug = anchor(heading[2])
            line = f'<details id="{slug}" class="fold"><summary>{inline(title)}</summary>\n'
        out.append(line)
    return '\n'.join(out), level

def fold(
    cells:list[dict], # of a notebook, changed in place
)->None:
    "Turn the sections to be folded into `<details>` blocks"
    level = 0
    for cell in cells:
        if cell['cell_type']!='markdown': continue
        before = ''.join(cell['source'])
        text, level = fold_text(before, level)
        if text!=before.rstrip('\n'): cell['source'] = (text+'\n').splitlines(keepends=True)
    if level: cells.append(dict(cell_type='markdown', id='end-fold', metadata={}, source=['</details>\n']))
