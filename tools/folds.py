"""Sections of a notebook that a page shows folded: `### Proof: …`, `### Input checks`, `### Details: …`

In the notebook they are plain headings; on the site, all that follows up to the next heading of the same or a higher level is a collapsed callout.
"""
import re

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

def fold_text(
    md:str, # a Markdown cell
    level:int, # level of the section that is open; 0 for none
)->tuple[str, int]: # the text with the marks of callouts, and the level that is open after it
    "Open a callout at each heading to be folded, and close it at the next heading that ends the section"
    out, in_code = [], False
    for line in md.splitlines():
        if line.lstrip().startswith(('```', '~~~')): in_code = not in_code
        heading = None if in_code else HEADING.match(line)
        if heading and level and len(heading[1])<=level:
            out += [':::', '']
            level = 0
        if heading and not level and FOLDED.fullmatch(heading[2]):
            level = len(heading[1])
            title, slug = anchor(heading[2])
            line = f'<a id="{slug}" class="fold-anchor"></a>\n\n::: {{.callout-note collapse="true" icon="false"}}\n## {title}\n'
        out.append(line)
    return '\n'.join(out), level

def fold(
    cells:list[dict], # of a notebook, changed in place
)->None:
    "Turn the sections to be folded into collapsed callouts"
    level = 0
    for cell in cells:
        if cell['cell_type']!='markdown': continue
        before = ''.join(cell['source'])
        text, level = fold_text(before, level)
        if text!=before.rstrip('\n'): cell['source'] = (text+'\n').splitlines(keepends=True)
    if level: cells.append(dict(cell_type='markdown', id='end-fold', metadata={}, source=[':::\n']))
