"""Every topic of the lesson is answered on the page it belongs to, under a heading that carries its number, with evidence below

topics.tsv lists them all: number, page, topic, and the place in the lesson (minute of Lesson 8, or of Lesson 3 where it says 004).
Pages that are not written yet are left out; a page that is there must answer all of its topics.
"""
import csv
import re

import pytest
from conftest import ROOT

with (ROOT/'tests'/'topics.tsv').open(encoding='utf-8') as f: TOPICS = list(csv.DictReader(f, delimiter='\t'))
BUILT = [t for t in TOPICS if (ROOT/'nbs'/f'{t["page"]}.ipynb').exists()]


def sections(html:str)->dict[str, str]: # id of a heading -> the page from there to the next heading of the same or a higher level
    heads = [(m.start(), int(m[1]), m[0]) for m in re.finditer(r'<h([1-6])\b.*?</h\1>', html, re.S)]
    ids = re.compile(r'<(?:section|div)[^>]*\bid="(t\d+)"[^>]*>\s*$|\bid="(t\d+)"')
    found = {}
    for i,(start,level,head) in enumerate(heads):
        end = next((s for s,lower,_ in heads[i+1:] if lower<=level), len(html))
        for m in ids.finditer(html[max(0, start-200):start][html[max(0, start-200):start].rfind('<section'):] + head): found[m[1] or m[2]] = html[start:end]
    return found


def test_the_list_is_whole(): assert [int(t['number']) for t in TOPICS]==list(range(1, len(TOPICS)+1)) and len(TOPICS)==109


def test_pages_are_there(): assert {'20_parameters', '21_embedding', '22_collab'} <= {t['page'] for t in BUILT}


@pytest.mark.parametrize('topic', BUILT, ids=lambda t: f't{int(t["number"]):03}')
def test_a_topic_is_answered_with_evidence(topic, site):
    name, number = topic['page'].split('_', 1)[1], f't{int(topic["number"]):03}'
    found = sections((site/f'{name}.html').read_text(encoding='utf-8'))
    assert number in found, f'{name}.html has no heading with id {number}: {topic["topic"]}'
    assert re.search(r'class="[^"]*(sourceCode|cell)|<img|<table', found[number]), f'{name}.html#{number} has neither a cell nor a figure below it'
