"""Count what the built lesson pages show, beside the limits

    python tools/count.py [NAME…]

A page is counted in `_docs`, whichever renderer built it. Folded is what a reader has to open: `<details>`, collapsed callouts; the line that
opens it is shown. Words are those of prose, code within a sentence included; blocks of code, outputs, tables, formulas and navigation have none.
"""
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from check import COLUMNS, ROOT, lessons, page
from docs import DOCS

SHOWN, SHOWN_CELLS, CHECKED = 1800, 45, 12  # limits; folded words: at most half of those shown
VOID = set('area base br col embed hr img input link meta source track wbr'.split())  # tags that are never closed
INLINE = set('a abbr b code em i kbd mark small span strong sub sup'.split())  # do not part words
SKIPPED = set('button math nav pre script style svg table'.split())

class Counts(NamedTuple):
    "What a page shows"
    shown:int # words of prose
    folded:int # words of prose in folds
    cells:int # code cells whose source is not in a fold
    checked:int # folds whose line starts with "checked"
    columns:int # of the longest line of code, in folds too

    def over(self)->list[str]:
        "Each limit that the page is over, in words"
        limits = ('shown words', self.shown, SHOWN), ('folded words', self.folded, self.shown//2), ('shown code cells', self.cells, SHOWN_CELLS), \
                 ('"checked" folds', self.checked, CHECKED), ('columns of code', self.columns, COLUMNS)
        return [f'{n:,} {what}, at most {limit:,}' for what,n,limit in limits if n > limit]

class Counter(HTMLParser):
    "Reads a page. Each open tag is kept with what it is: `main`, `fold`, `summary`, `cell`, `source` (of code), `skipped`"
    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.cells, self.checked, self.columns = [], {'shown': '', 'folded': ''}, 0, 0, 0
        self.summary = self.code = ''
        self.feed(html)

    def inside(self, kind): return sum(kind in kinds for _,kinds in self.open)

    def handle_starttag(self, tag, attrs):
        if tag not in INLINE: self.handle_data(' ')
        if tag in VOID: return
        classes, kinds = set((dict(attrs).get('class') or '').split()), {tag}
        if tag == 'details' or {'callout-collapse', 'collapse'} <= classes and 'show' not in classes: kinds.add('fold')
        if tag in SKIPPED or classes & {'cell-output', 'math', 'katex'}: kinds.add('skipped')
        if 'sourceCode' in classes: kinds.add('source')
        if 'cell-code' in classes and not self.inside('cell'):
            kinds.add('cell')
            self.cells += not self.inside('fold')
        self.open.append((tag, kinds))

    def handle_endtag(self, tag):
        if tag not in (t for t,_ in self.open): return
        if tag == 'summary':
            self.checked += self.summary.strip().lower().startswith('checked')
            self.summary = ''
        if tag == 'pre':
            self.columns = max([self.columns, *map(len, self.code.splitlines())])
            self.code = ''
        while self.open.pop()[0] != tag: pass
        if tag not in INLINE: self.handle_data(' ')

    def handle_data(self, data):
        if not self.inside('main'): return
        if self.inside('pre') and self.inside('source'): self.code += data
        if self.inside('skipped'): return
        if self.inside('summary'): self.summary += data
        self.text['folded' if self.inside('fold') > self.inside('summary') else 'shown'] += data

def n_words(text:str)->int: return sum(any(map(str.isalnum, word)) for word in text.split())

def count(
    html:Path, # of a built page
)->Counts:
    "Count one page"
    c = Counter(html.read_text(encoding='utf-8'))
    return Counts(n_words(c.text['shown']), n_words(c.text['folded']), c.cells, c.checked, c.columns)

if __name__ == '__main__':
    names = sys.argv[1:] or [page(nb) for nb in lessons(ROOT)]
    if missing := [n for n in names if not (DOCS/f'{n}.html').exists()]: sys.exit(f'count: no page {", ".join(missing)} in {DOCS.name}: run `make docs`')
    print(f'{"page":16}{"shown":>8}{"folded":>8}{"cells":>8}{"checked":>8}{"columns":>8}')
    print(f'{"at most":16}{SHOWN:8,}{"half":>8}{SHOWN_CELLS:8}{CHECKED:8}{COLUMNS:8}')
    counts = {n: count(DOCS/f'{n}.html') for n in names}
    for name, c in counts.items(): print(f'{name:16}{c.shown:8,}{c.folded:8,}{c.cells:8}{c.checked:8}{c.columns:8}' + '  over'*bool(c.over()))
    sys.exit(any(c.over() for c in counts.values()))
