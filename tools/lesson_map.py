"""The map of the lesson, from nbs/map.tsv: minute, question, where the site answers it, the names used there; and the study questions

One row of the list for each topic (t001 …), each entry of the video's outline (o001 …) and each study question (q001 …), which has an answer. What a
row leads to is read in the notebooks: the heading, and the public names in the code below it.
"""
import csv, html, json, re, textwrap
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import yaml
from folds import anchor

ROOT = Path(__file__).resolve().parents[1]
VIDEOS = {'8': 'htiNBPxcXgo', '3': 'hBBOjCiFcuo'}
MARK = '<!-- lesson-picture -->'
N_NAMES = 4  # at most so many names beside a row
TOOLS = {'checks', 'show'}  # whose names stand beside a row only where they are defined
COLORS = {'Foundations': '#d5e3ff', 'Embeddings': '#d3efdf', 'Convolutions': '#ffe3c7', 'Use it': '#ecdcf8'}  # of the sections that teach
WIDTH, BOX, GAP, HEIGHT, ROW = 960, 164, 14, 44, 84  # pixels: of the picture, of a box and between two, and from row to row


class Section(NamedTuple):
    title:str # of its heading, in Markdown
    level:int # of its heading
    slug:str # its anchor
    code:str # of its cells


def read_rows(
    file:Path=ROOT/'nbs'/'map.tsv', # the list
)->list[dict[str, str]]: # id, lesson, time, page, anchor, text, answer
    "The list of topics, entries of the outline and study questions"
    with file.open(encoding='utf-8', newline='') as f: return list(csv.DictReader(f, delimiter='\t', quoting=csv.QUOTE_NONE))

def seconds(
    time:str, # as `1:08:42`
)->int:
    "Seconds since the video began"
    return sum(int(part)*60**i for i,part in enumerate(reversed(time.split(':'))))

def cells_of(
    path:Path, # a notebook or a text in Markdown
)->list[tuple[str, str]]: # kind of cell, source
    "The cells of a page"
    if path.suffix!='.ipynb': return [('markdown', path.read_text(encoding='utf-8'))]
    return [(c['cell_type'], ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]

def sections(
    path:Path, # a notebook or a text in Markdown
)->list[Section]:
    "The headings of a page, each with the code up to the next heading of the same or a higher level"
    found, code = [], []  # code: (number of headings before it, source)
    for kind, src in cells_of(path):
        if kind=='code': code.append((len(found), src))
        elif m := re.match(r'---\ntitle: *(.+?)\n', src): found.append((m[1], 1))
        if kind=='markdown': found += [(m[2], len(m[1])) for m in re.finditer(r'^(#{1,6}) +(\S.*?) *$', re.sub(r'^```.*?^```', '', src, flags=re.S|re.M), re.M)]
    def end(i): return next((j for j in range(i+1, len(found)) if found[j][1]<=found[i][1]), len(found))
    return [Section(anchor(title)[0], level, anchor(title)[1], '\n'.join(src for n,src in code if i<n<=end(i)))
            for i,(title, level) in enumerate(found)]

def read_pages(
    nbs:Path=ROOT/'nbs', # folder of the pages' sources
)->dict[str, list[Section]]: # name on the site -> its sections
    "The sections of every page"
    return {re.sub(r'^\d+[a-zA-Z]*_', '', p.stem): sections(p) for p in sorted([*nbs.glob('[!._]*.ipynb'), *nbs.glob('*.qmd')])}

def section_of(
    row:dict[str, str], # of the list
    pages:dict[str, list[Section]], # from `read_pages`
    names:dict[str, str], # public name -> its address
)->Section:
    "The section that a row leads to; KeyError if there is none"
    there = pages[row['page']]
    if not row['anchor']: return there[0]._replace(slug='')
    found = next((s for s in there if s.slug==row['anchor']), None)
    if found: return found
    if names.get(row['anchor'], '').startswith(row['page'] + '.html'):  # a name, whose documentation is a heading on the site
        return Section(f'`{row["anchor"]}`', 3, row['anchor'], f'def {row["anchor"]}(')
    raise KeyError(f'{row["id"]}: {row["page"]}.html has no heading with the anchor {row["anchor"]}')

def names_in(
    code:str, # of a section
    names:dict[str, str], # public name -> its address
)->list[str]:
    "The public names in the code, those that it defines first"
    defines = [n for n in re.findall(r'^(?:def|class) (\w+)', code, re.M) if n in names]
    called = re.findall(r'(?<![\w.])(\w+)(?=\()', code)
    uses = [n for n in called if n in names and names[n].partition('.')[0] not in TOOLS and n!='new_generator']
    return list(dict.fromkeys(defines + uses))[:N_NAMES]

def cell(text:str)->str: return text.replace('|', '\\|')

def link(
    row:dict[str, str], # of the list
    section:Section, # that it leads to
    pages:dict[str, list[Section]], # from `read_pages`
)->str: # Markdown
    "Page and heading"
    page, title = pages[row['page']][0].title, re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', section.title)
    if not section.slug: return f'[{page}]({row["page"]}.html)'
    return f'{page}: [{title}]({row["page"]}.html#{section.slug})'

def minute(row:dict[str, str])->str:
    "A link to the second of the video; nothing where a row has none"
    if not row['time']: return ''
    return f'[{row["time"]}](https://youtu.be/{VIDEOS[row["lesson"]]}?t={seconds(row["time"])})'

def merged(
    rows:list[dict[str, str]], # topics and entries of the outline, of one lesson
)->list[tuple[dict[str, str], list[str]]]: # a row, and the ids that it stands for
    "In the order of the video; an entry of the outline at the place of a topic, and with its answer, makes no second row"
    found = {}
    for row in sorted(rows, key=lambda r: (seconds(r['time']) if r['time'] else 0, 'toq'.index(r['id'][0]), r['id'])):
        key = (row['time'], row['page'], row['anchor'] if row['time'] else row['id'])
        found.setdefault(key, (row, []))[1].append(row['id'])
    return list(found.values())

def table(
    rows:list[dict[str, str]], # of one lesson
    pages:dict[str, list[Section]], # from `read_pages`
    names:dict[str, str], # public name -> its address
)->str: # Markdown
    "Minute, question, page and heading, names"
    out = ['| minute | what happens, or what is asked | where to read it | names |', '|:---|:--------------|:-----------|:--------|']
    for row, ids in merged(rows):
        section = section_of(row, pages, names)
        marks = ''.join(f'<a id="{i}"></a>' for i in ids if not (row['page']=='map' and i==row['anchor']))
        used = ' '.join(f'[`{n}`]({names[n]})' for n in names_in(section.code, names))
        out.append(f'| {marks}{minute(row)} | {cell(row["text"])} | {cell(link(row, section, pages))} | {used} |')
    return '\n'.join(out)

def questions(
    rows:list[dict[str, str]], # study questions of one lesson
    pages:dict[str, list[Section]], # from `read_pages`
    names:dict[str, str], # public name -> its address
)->str: # Markdown
    "Each question with its answer, and where it is shown"
    out = []
    for row in rows:
        where = link(row, section_of(row, pages, names), pages)
        out.append(f'- <a id="{row["id"]}"></a>**{row["text"]}** {row["answer"]} {minute(row)} → {where}')
    return '\n'.join(out)

# ---- The picture
def needs(
    nbs:Path=ROOT/'nbs', # folder of the notebooks
    config:Path=ROOT/'_quarto.yml', # whose sidebar has the sections
)->tuple[dict[str, str], dict[str, list[str]]]: # page -> its section; page -> the pages that it needs
    "What each lesson page builds on, as its **You need** says"
    sidebar = yaml.safe_load(config.read_text(encoding='utf-8'))['website']['sidebar']['contents']
    stems = {n.removesuffix('.ipynb'): item['section'] for item in sidebar if item.get('section') in COLORS for n in item['contents']}
    section = {re.sub(r'^\d+[a-zA-Z]*_', '', stem): name for stem,name in stems.items()}
    on = {}
    for stem in stems:
        text = '\n'.join(src for kind,src in cells_of(nbs/f'{stem}.ipynb') if kind=='markdown')
        found = re.search(r'\*\*You need\*\*.*?(?=\n\n|\Z)', text, re.S)
        pages = re.findall(r'\]\((?:\d+[a-z]*_)?(\w+)\.(?:ipynb|html)', found[0]) if found else []
        on[re.sub(r'^\d+[a-zA-Z]*_', '', stem)] = [p for p in dict.fromkeys(pages) if p in section]
    return section, on

def reduced(
    on:dict[str, list[str]], # page -> the pages that it needs
)->dict[str, list[str]]:
    "Without the pages that a needed page needs itself"
    order, above = TopologicalSorter(on).static_order(), {}
    for page in order: above[page] = {a for p in on[page] for a in (p, *above[p])}
    return {page: [p for p in ps if not any(p in above[q] for q in ps)] for page,ps in on.items()}

def places(
    on:dict[str, list[str]], # page -> the pages that it needs
)->dict[str, tuple[float, int]]: # page -> center and row
    "A page stands below all that it needs, and as near to them as its row allows"
    row, at = {}, {}
    def wish(p): return sum(at[q][0] for q in on[p])/len(on[p]) if on[p] else WIDTH/2
    for page in TopologicalSorter(on).static_order(): row[page] = 1 + max((row[p] for p in on[page]), default=-1)
    for i in range(max(row.values())+1):
        here = sorted((p for p in on if row[p]==i), key=wish)
        n, apart = len(here), BOX+GAP
        x = [(wish(p) + WIDTH*(k+.5)/n)/2 for k,p in enumerate(here)]  # half way between those above and an even row
        for k in range(1, n): x[k] = max(x[k], x[k-1]+apart)
        for k in range(n): x[k] = max(min(x[k], WIDTH-BOX/2-1-(n-1-k)*apart), BOX/2+1+k*apart)
        at |= {p: (x[k], i) for k,p in enumerate(here)}
    return at

def picture(
    pages:dict[str, list[Section]], # from `read_pages`
)->str: # SVG; each box is a link
    "The pages, and what builds on what"
    section, on = needs()
    on = reduced(on)
    at = places(on)
    def x(p): return at[p][0]
    def y(p): return at[p][1]*ROW + 6
    lines, boxes = [], []
    for page,above in on.items():
        for p in above:
            top, end = y(p)+HEIGHT, y(page)-5
            lines.append(f'<path d="M{x(p):.0f} {top}C{x(p):.0f} {top+26} {x(page):.0f} {end-26} {x(page):.0f} {end}" marker-end="url(#tip)"/>')
        words = textwrap.wrap(pages[page][0].title, 21)
        text = ''.join(f'<tspan x="{x(page):.0f}" dy="{17*(i>0)}">{html.escape(w)}</tspan>' for i,w in enumerate(words))
        name = html.escape(pages[page][0].title)
        box = f'<rect x="{x(page)-BOX/2:.0f}" y="{y(page)}" width="{BOX}" height="{HEIGHT}" rx="6" fill="{COLORS[section[page]]}"/>'
        top = y(page)+27-8.5*(len(words)-1)
        boxes.append(f'<a href="{page}.html" aria-label="{name}">{box}<text x="{x(page):.0f}" y="{top:.0f}">{text}</text></a>')
    height = max(r for _,r in at.values())*ROW + HEIGHT + 12
    tip = '<path d="M0 0L8 4L0 8z" fill="#7a8494"/>'
    return (f'<svg class="lesson" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="group"\n'
            f'aria-label="{html.escape(alt(on, pages))}">\n'
            f'<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">{tip}</marker></defs>\n'
            f'<g fill="none" stroke="#7a8494" stroke-width="1.5">{"".join(lines)}</g>\n'
            '<g font-family="system-ui, sans-serif" font-size="14.5" text-anchor="middle" fill="#14171c">\n' + '\n'.join(boxes) + '\n</g>\n</svg>')

def with_picture(
    text:str, # Markdown
    pages:dict[str, list[Section]], # from `read_pages`
)->str:
    "The picture in the place of its mark, which is invisible where the picture is not made"
    return text.replace(MARK, f'```{{=html}}\n<figure class="figure lesson-picture">{picture(pages)}</figure>\n```') if MARK in text else text

def alt(
    on:dict[str, list[str]], # page -> the pages that it needs
    pages:dict[str, list[Section]], # from `read_pages`
)->str:
    "The picture in words"
    def title(p): return pages[p][0].title
    return 'What builds on what. ' + ' '.join(f'{title(p)}: {", ".join(map(title, above)) or "nothing"}.' for p,above in on.items())

def fill(
    text:str, # of map.qmd
    names:dict[str, str], # public name -> its address
)->str:
    "The page, with its picture, tables and lists"
    rows, pages = read_rows(), read_pages()
    text = with_picture(text, pages)
    lessons = {'8': [r for r in rows if r['lesson']=='8'], '3': [r for r in rows if r['lesson']=='3'], 'none': [r for r in rows if not r['lesson']]}
    for lesson, there in lessons.items():
        text = text.replace(f'{{map-{lesson}}}', table([r for r in there if r['id'][0]!='q'], pages, names))
        text = text.replace(f'{{questions-{lesson}}}', questions([r for r in there if r['id'][0]=='q'], pages, names))
    return text
