"""The glossary's terms, and a link to the glossary at the first use of each on a page

On a lesson page a term is defined in **bold**, or linked where it is first used. Authors write the bold; the links are made here, so that no page
misses one. A term that is also an everyday word is marked `{.plain}` in the glossary and is not linked.
"""
import re
from pathlib import Path
from typing import NamedTuple

from folds import anchor

GLOSSARY = Path(__file__).resolve().parents[1]/'nbs'/'glossary.qmd'
UNTOUCHED = re.compile(r'''
    ^(?P<fence>```+|~~~+).*?^(?P=fence)\s*?$  # code
  | ^\#{1,6}\s.*?$  # a heading
  | \$\$.*?\$\$ | \$[^$\n]+\$  # formulas
  | (?P<code>`+)[^`].*?(?P=code)
  | !?\[(?:[^][]|\[[^]]*\])*\](?:\([^)\s]*(?:\s"[^"]*")?\)|\[[^]]*\])?  # a link or a picture
  | <!--.*?--> | <(?P<tag>a|code|kbd|pre|script|style|summary|svg)\b.*?</(?P=tag)> | <[/a-zA-Z!][^>]*> | https?://\S+  # HTML, an address
  | \*\*.+?\*\* | \{[^}\n]*\}  # bold, attributes
    ''', re.X|re.S|re.M)


class Term(NamedTuple):
    slug:str # its anchor in the glossary
    names:list[str] # the term, and what it is also called
    linked:bool # False for a word that is an everyday word, too


def names_of(
    title:str, # a term, as `Bias (of a model)`
    text:str, # its entry
)->list[str]:
    "The term without its remark in parentheses, its other names, and its abbreviation"
    names = [re.sub(r'\s*\(.*\)$', '', title)]
    for also in re.findall(r'Also called ([^.:;(]+)', text): names += re.split(r',? or |, ', also.strip())
    return names + re.findall(r'\(([A-Z][A-Za-z-]*[A-Z])\)', text.partition('→')[0])

def read_terms(
    text:str|None=None, # the glossary; that of the site if None
)->list[Term]:
    "Every term of the glossary"
    parts = re.split(r'^### +(.+)$', GLOSSARY.read_text(encoding='utf-8') if text is None else text, flags=re.M)
    found = []
    for head, body in zip(parts[1::2], parts[2::2], strict=True):
        title, plain = re.sub(r'\s*\{\.plain\}', '', head), '.plain' in head
        if m := re.search(r'\s*\{#([^\s}]+)[^}]*\}$', title): title, slug = title[:m.start()], m[1]
        else: slug = anchor(title)[1]
        found.append(Term(slug, names_of(title, body), not plain))
    return found

def with_anchors(
    text:str, # the glossary
)->str:
    "Each term with an explicit anchor: the renderers make different ones of a title such as `1 × 1 convolution`"
    def fix(m):
        if '{' in m[1]: return re.sub(r' *\{\.plain\}', ' {#' + anchor(m[1].partition(' {')[0])[1] + '}', m[0]).replace(' .plain', '')
        return f'{m[0]} {{#{anchor(m[1])[1]}}}'
    return re.sub(r'^### +(.+?) *$', fix, text, flags=re.M)

def pattern(
    name:str, # of a term
)->str: # regular expression
    "A name, or its plural; in capitals only as it is"
    stem = re.escape(name).replace(r'\ ', r'[\s-]')
    if name.isupper() or re.search(r'[A-Z].*[A-Z]', name): return f'{stem}s?'
    plural = f'(?:{stem}|{stem[:-1]}ies)' if name.endswith('y') else f'{stem}(?:e?s)?'
    return f'(?i:{plural})'

class Linker:
    "Links the first use of each term on one page; call it with the page's Markdown cells in their order"
    def __init__(self,
        terms:list[Term], # those that are linked
    ):
        self.names = {}  # pattern -> slug
        for term in terms:
            if term.linked:
                for name in term.names: self.names.setdefault(pattern(name), term.slug)
        order = sorted(self.names, key=len, reverse=True)  # the longer name first: `learning rate schedule` before `learning rate`
        self.any = re.compile('|'.join(f'(?<![\\w.`/-])(?P<n{i}>{p})(?![\\w/-]|\\.\\w)' for i,p in enumerate(order)))
        self.slugs = [self.names[p] for p in order]
        self.seen = set()

    def slug(self, m:re.Match)->str: return self.slugs[int(m.lastgroup[1:])]

    def __call__(self,
        md:str, # a cell's Markdown
    )->str:
        "The text with links"
        out, at = [], 0
        for m in UNTOUCHED.finditer(md):
            out += [self.link(md[at:m.start()]), m[0]]
            if m[0].startswith(('**', '[')):  # defined here, or in the text of a link
                text = re.sub(r'`[^`]*`|\]\([^)]*\)$', '', m[0])
                self.seen |= {self.slug(t) for t in self.any.finditer(text)}
            at = m.end()
        return ''.join([*out, self.link(md[at:])])

    def link(self, text:str)->str:
        def fix(m):
            slug = self.slug(m)
            if slug in self.seen: return m[0]
            self.seen.add(slug)
            return f'[{m[0]}](glossary.html#{slug})' + '{.term}'
        return self.any.sub(fix, text)
