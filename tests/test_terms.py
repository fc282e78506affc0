"Each term of the glossary is defined or linked where a page first uses it; the glossary has what the pages need"
import re
from html.parser import HTMLParser

import docs
import pytest
import yaml
from conftest import ROOT
from terms import GLOSSARY, Linker, Term, names_of, read_terms, with_anchors

TERMS = read_terms()
READ = [re.sub(r'\.\w+$', '', docs.final_name(p)) for p in docs.sidebar_pages(yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))['website']['sidebar'])]
READ = [p for p in READ if p not in docs.LOOKED_UP]  # in the reader's order


class Prose(HTMLParser):
    "The prose of a page: pairs of a text and whether it is a link or bold; no headings, code, formulas, captions, outputs"
    VOID = {'img', 'br', 'hr', 'meta', 'link', 'input', 'wbr', 'col', 'source', 'path', 'rect'}
    LEFT_OUT = {'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'pre', 'code', 'summary', 'figcaption', 'script', 'style', 'nav', 'header', 'svg', 'button', 'figure'}
    CLASSES = {'cell', 'cell-output', 'math', 'cell-code', 'code-copy-outer-scaffold', 'sourceCode', 'cell-output-display', 'cell-output-markdown', 'katex'}

    def __init__(self):
        super().__init__()
        self.stack, self.parts = [], []

    def handle_starttag(self, tag, attrs):
        classes = set((dict(attrs).get('class') or '').split())
        if tag not in self.VOID: self.stack.append((tag, tag in self.LEFT_OUT or bool(classes & self.CLASSES), tag in ('a', 'strong', 'b')))

    def handle_endtag(self, tag):
        if any(t==tag for t,_,_ in self.stack):
            while self.stack.pop()[0]!=tag: pass

    def handle_data(self, data):
        in_main = any(t=='main' for t,_,_ in self.stack)
        if in_main and not any(out for _,out,_ in self.stack): self.parts.append((data, any(known for _,_,known in self.stack)))


def undefined(html:str, terms:list[Term])->list[str]:
    "Terms that a page uses before it defines or links them, each with what stands around it"
    prose, linker, known, found = Prose(), Linker(terms), set(), []
    prose.feed(html)
    for text, is_marked in prose.parts:
        for m in linker.any.finditer(text):
            slug = linker.slug(m)
            if not is_marked and slug not in known: found.append(f'{m[0]!r} in {text[max(0, m.start()-30):m.end()+20]!r}')
            known.add(slug)
    return found


@pytest.mark.parametrize('page', READ)
def test_no_term_is_used_before_it_is_defined_or_linked(page, site):
    assert not undefined((site/f'{page}.html').read_text(encoding='utf-8'), TERMS)


def test_the_check_finds_a_term_without_a_link():
    terms = read_terms('### Learning rate {#lr}\n\nA number. Also called step size.\n\n### Step\n\nOne.\n\n### Group {.plain}\n\nSome.\n')
    page = '<main><p>{}</p><h2>Step</h2><pre>step</pre></main>'
    for text, n in (('A learning rate.', 1), ('A <a href="x">learning rate</a>; the learning rate.', 0), ('The <strong>step sizes</strong> of a group', 0),
                    ('Learning-rate, then <a>learning rate</a> and steps', 2), ('<code>step</code>', 0), ('stepwise, one-step, step/size', 0)):
        assert len(undefined(page.format(text), terms))==n, text


@pytest.mark.parametrize('before, after', [
    ('A step and a step.', 'A [step](glossary.html#step){.term} and a step.'),
    ('**Steps**, a step', '**Steps**, a step'),
    ('[my step](x.html), a step', '[my step](x.html), a step'),
    ('[`step`](x.html#step), a step', '[`step`](x.html#step), a [step](glossary.html#step){.term}'),
    ('<a href="x">step</a> and <kbd>step</kbd> <!-- a > step -->', '<a href="x">step</a> and <kbd>step</kbd> <!-- a > step -->'),
    ('## A step\n\nSteps', '## A step\n\n[Steps](glossary.html#step){.term}'),
    ('`step` and $step$ and <b id="step">', '`step` and $step$ and <b id="step">'),
    ('```\nstep\n```', '```\nstep\n```'),
    ('learning rates', '[learning rates](glossary.html#lr){.term}'),
    ('A group, SGD, sgd', 'A group, [SGD](glossary.html#sgd){.term}, sgd'),
    ('categories', '[categories](glossary.html#category){.term}')])
def test_links(before, after):
    terms = read_terms('### Learning rate {#lr}\n\nA number.\n\n### Step\n\nOne.\n\n### Group {.plain}\n\nSome.\n\n### SGD\n\nX.\n\n### Category\n\nX.\n')
    assert Linker(terms)(before)==after


def test_one_link_on_a_page():
    linker = Linker(read_terms('### Step\n\nOne.\n'))
    assert [linker('A step.'), linker('A step.')]==['A [step](glossary.html#step){.term}.', 'A step.']


def test_names_of_a_term():
    assert names_of('Bias (of a model)', 'x')==['Bias']
    assert names_of('ReLU', 'Also called rectifier, ramp or hinge: x (RLU). → [A (BCD)](x)')==['ReLU', 'rectifier', 'ramp', 'hinge', 'RLU']


def test_every_term_has_an_anchor_of_its_own(site):
    text = GLOSSARY.read_text(encoding='utf-8')
    slugs = [t.slug for t in TERMS]
    assert len(slugs)==len(set(slugs))>=250
    page = (site/'glossary.html').read_text(encoding='utf-8')
    for slug in slugs: assert page.count(f' id="{slug}"')==1, slug
    assert with_anchors('### A b\n### C {#d}\n### E {.plain}\n')=='### A b {#a-b}\n### C {#d}\n### E {#e}\n' and text.count('.plain}')<=25


def test_terms_that_readers_looked_for():
    there = {n.lower() for t in TERMS for n in t.names}
    assert {'random forest', 'gradient boosting', 'jacobian-vector product', '@patch', "float[tensor, 'b f']", 'momentum', 'rmsprop', 'dummy variable', 'matrix multiplication'}<=there


def test_every_term_leads_to_where_it_is_shown():
    parts = re.split(r'^### +.+$', GLOSSARY.read_text(encoding='utf-8'), flags=re.M)[1:]
    for term, body in zip(TERMS, parts, strict=True): assert re.search(r'\]\((#|[\w-]+\.html)', body), f'{term.names[0]} links to no page'


def test_how_to_read_is_linked_from_every_page(site):
    for page in site.glob('*.html'):
        links = re.findall(r'<a [^>]*href="[^"]*\breading\.html"', page.read_text(encoding='utf-8'))
        assert len(links)>=(1 if page.stem in ('404', 'reading') else 2), f'{page.stem}: in the menu only'
