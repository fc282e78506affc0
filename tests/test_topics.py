"""Every topic of the lesson is answered on the page it belongs to, under a heading that carries its number, with evidence below; every row of the map leads somewhere

nbs/map.tsv lists them all: topics (t001 …), entries of the video's outline (o001 …) and study questions (q001 …), with lesson, minute, page and anchor.
"""
import re

import lesson_map
import pytest
from check import banned, prose

ROWS = lesson_map.read_rows()
TOPICS, OUTLINE, QUESTIONS = ([r for r in ROWS if r['id'].startswith(kind)] for kind in 'toq')


def sections(html:str)->dict[str, str]: # id of a heading -> the page from there to the next heading of the same or a higher level
    heads = [(m.start(), int(m[1]), m[0]) for m in re.finditer(r'<h([1-6])\b.*?</h\1>', html, re.S)]
    ids = re.compile(r'<(?:section|div)[^>]*\bid="(t\d+)"[^>]*>\s*$|\bid="(t\d+)"')
    found = {}
    for i,(start,level,head) in enumerate(heads):
        end = next((s for s,lower,_ in heads[i+1:] if lower<=level), len(html))
        for m in ids.finditer(html[max(0, start-200):start][html[max(0, start-200):start].rfind('<section'):] + head): found[m[1] or m[2]] = html[start:end]
    return found


def test_the_list_is_whole():
    assert [r['id'] for r in TOPICS]==[f't{n:03}' for n in range(1, 110)]
    assert [r['id'] for r in OUTLINE]==[f'o{n:03}' for n in range(1, 190)] and all(r['lesson']=='8' and r['time'] for r in OUTLINE)
    times = [lesson_map.seconds(r['time']) for r in OUTLINE]
    assert times==sorted(times) and times[0]==3 and times[-1]==lesson_map.seconds('1:36:43')
    assert [r['id'] for r in QUESTIONS]==[f'q{n:03}' for n in range(1, len(QUESTIONS)+1)] and len(QUESTIONS)>=230
    assert {r['lesson'] for r in QUESTIONS}=={'8', '3'} and len(TOPICS+OUTLINE+QUESTIONS)==len(ROWS)


@pytest.mark.parametrize('topic', TOPICS, ids=lambda t: t['id'])
def test_a_topic_is_answered_with_evidence(topic, site):
    assert topic['anchor']==topic['id'] and topic['text'].endswith('?')
    found = sections((site/f'{topic["page"]}.html').read_text(encoding='utf-8'))
    assert topic['id'] in found, f'{topic["page"]}.html has no heading with id {topic["id"]}: {topic["text"]}'
    assert re.search(r'class="[^"]*(sourceCode|cell)|<img|<table|<li><a id="q', found[topic['id']]), f'{topic["page"]}.html#{topic["id"]} has neither a cell nor a figure below it'


def test_every_row_leads_to_a_place_on_the_site(site):
    ids = {p.stem: set(re.findall(r'\sid="([^"]+)"', p.read_text(encoding='utf-8'))) for p in site.glob('*.html')}
    lost = [(r['id'], r['page'], r['anchor']) for r in ROWS if r['page'] not in ids or r['anchor'] and r['anchor'] not in ids[r['page']]]
    assert not lost


def test_every_row_is_on_the_map(site):
    page = (site/'map.html').read_text(encoding='utf-8')
    for row in ROWS: assert len(re.findall(rf'\sid="{row["id"]}"', page))==1, row
    for lesson, video in lesson_map.VIDEOS.items():
        for row in ROWS:
            if row['lesson']==lesson and row['time']: assert f'https://youtu.be/{video}?t={lesson_map.seconds(row["time"])}"' in page, row
    assert not re.search(r'\{(map|questions)-\w+\}|lesson-picture -->', page)  # no mark is left unfilled


def test_answers_are_two_sentences_in_the_words_of_the_pages():
    for row in ROWS:
        assert not list(banned(prose(row['text']))) and not list(banned(prose(row['answer']))), row
        if row['id'][0]!='q':
            assert not row['answer']
            continue
        assert row['text'].endswith('?') and len(row['answer'].split())<=50, row
        plain = re.sub(r'`[^`]*`', 'x', row['answer'])
        assert len(re.findall(r'[.?!](?=\s+[^\s\da-z]|\s+`|$|\s+x)', plain))==2, row


def test_what_stands_on_what_has_no_circle_and_no_lesson_is_left_out(site):
    section, on = lesson_map.needs()
    at = lesson_map.places(on)
    assert set(on)==set(section)=={p.stem for p in site.glob('*.html')} & set(section) and len(section)>=26
    for page, above in on.items():
        for p in above: assert at[p][1]<at[page][1], f'{page} needs {p}'
    assert [p for p in on if not on[p]]==['gradients'], 'each lesson page but the first says in "You need" which pages it builds on'


def test_the_picture_is_on_the_home_page_and_on_the_map(site):
    section, _ = lesson_map.needs()
    for name in ('index', 'map'):
        page = (site/f'{name}.html').read_text(encoding='utf-8')
        svg = re.search(r'<svg class="lesson".*?</svg>', page, re.S)[0]
        assert set(re.findall(r'<a href="(\w+)\.html"', svg))==set(section) and 'aria-label="What builds on what.' in svg


def test_a_row_that_leads_nowhere_is_refused():
    pages = {'x': [lesson_map.Section('X', 1, 'x', '')]}
    row = dict(id='t001', page='x', anchor='none', text='?', time='', lesson='')
    with pytest.raises(KeyError, match='t001: x.html has no heading with the anchor none'): lesson_map.section_of(row, pages, {})


def test_what_is_read_in_a_notebook(tmp_path):
    (tmp_path/'20_x.qmd').write_text('---\ntitle: X\n---\n\n## One {#t001}\n\n```\n## no heading\n```\n\n### Two\n', encoding='utf-8')
    found = lesson_map.sections(tmp_path/'20_x.qmd')
    assert [(s.title, s.level, s.slug) for s in found]==[('X', 1, 'x'), ('One', 2, 't001'), ('Two', 3, 'two')]
    names = {'Dropout': 'dropout.html#Dropout', 'check_axes': 'checks.html#check_axes', 'fit': 'training.html#fit'}
    assert lesson_map.names_in('fit(x)\nclass Dropout: pass\ncheck_axes(x)', names)==['Dropout', 'fit']
    rows = [dict(id=i, lesson='8', time=t, page='p', anchor=a, text='', answer='') for i,t,a in
            (('t002', '2:00', 'a'), ('o001', '2:00', 'a'), ('o002', '2:00', 'b'), ('t001', '1:00', 'a'))]
    assert [ids for _,ids in lesson_map.merged(rows)]==[['t001'], ['t002', 'o001'], ['o002']]
