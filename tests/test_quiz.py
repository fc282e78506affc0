"The questions of the page Test yourself: whole, computed, and on the page"
import ast
import importlib
import math
import re

import lesson_map
import pytest
import quiz
import torch
import torch.nn.functional as F
from check import banned, lessons, page, prose
from conftest import ROOT
from torch import nn

BANK = quiz.read_bank()
QUESTIONS = [(f'{part["page"]}-{i}', part['page'], q) for part in BANK for i,q in enumerate(part['questions'], 1)]
COMPUTED = [pytest.param(p, q, id=name) for name,p,q in QUESTIONS if 'code' in q]
PAGES = lesson_map.read_pages()


def computed(name:str, q:dict):
    "The value of a question's code, whose last line is an expression"
    space = {'torch': torch, 'nn': nn, 'F': F, 'math': math} | vars(importlib.import_module(f'lesson8lib.{name}'))
    *lines, last = ast.parse(q['code']).body
    assert isinstance(last, ast.Expr), 'the last line of `code` is no expression'
    torch.manual_seed(0)
    exec(compile(ast.Module(lines, []), 'quiz', 'exec'), space)
    return eval(compile(ast.Expression(last.value), 'quiz', 'eval'), space)

def difference(value, q:dict)->float:
    "By how much more than allowed the computed number differs from the answer; negative where it does not"
    value = value.item() if isinstance(value, torch.Tensor) else value
    return abs(value-q['answer']) - quiz.tolerance(q)


@pytest.mark.parametrize('name, q', COMPUTED)
def test_an_answer_is_what_its_code_gives(name, q):
    value = computed(name, q)
    if 'answer' in q: assert difference(value, q)<=0, value
    elif q.get('shows')=='bug': assert value is True
    else: assert str(value)==str(q['choices'][0])


def test_a_wrong_answer_is_found():
    q = dict(answer=2.5, code='x = 2.0\nx/(1-.2)')
    assert difference(computed('dropout', q), q)<=0<difference(computed('dropout', q), q | dict(answer=2.6))


def test_there_are_eight_questions_for_each_lesson():
    assert {part['page'] for part in BANK}=={page(nb) for nb in lessons(ROOT)} - {'checks', 'data', 'show', 'files', 'explorables'} and len({part['page'] for part in BANK})==len(BANK)
    for part in BANK:
        kinds = [q['kind'] for q in part['questions']]
        assert len(kinds)>=8 and set(kinds)==set(quiz.KINDS), part['page']
        assert sum('answer' in q for q in part['questions'])>=2 and sum('choices' in q for q in part['questions'])>=4, part['page']


@pytest.mark.parametrize('name, q', [pytest.param(p, q, id=name) for name,p,q in QUESTIONS])
def test_a_question_is_whole(name, q):
    assert set(q)<={'kind', 'ask', 'answer', 'tolerance', 'choices', 'code', 'shows', 'why', 'see'} and q['kind'] in quiz.KINDS
    assert ('answer' in q)!=('choices' in q) and q['why'].strip() and q['ask'].strip()
    if 'answer' in q: assert 'code' in q and isinstance(q['answer'], int|float)
    if q['kind']=='shape': assert 'code' in q
    if 'choices' in q: assert 3<=len(q['choices'])<=4 and len({str(c) for c in q['choices']})==len(q['choices'])
    for text in (q['ask'], q['why'], *map(str, q.get('choices', []))): assert not list(banned(prose(text)))
    assert len(re.sub(r'```.*?```', '', q['ask'], flags=re.S).split())<=70 and len(q['why'].split())<=50


def test_the_longest_choice_is_not_the_sign_of_the_right_one():
    asked = [[len(str(c)) for c in q['choices']] for _,_,q in QUESTIONS if 'choices' in q and q['kind'] in ('recall', 'why', 'bug')]
    assert sum(sizes[0]==max(sizes) and sizes.count(max(sizes))==1 for sizes in asked)/len(asked)<.5


def test_the_right_choice_is_shown_anywhere():
    places = [quiz.shuffled([str(c) for c in q['choices']], name)[1] for name,_,q in QUESTIONS if 'choices' in q]
    for i in range(3): assert places.count(i)>len(places)/6
    shown, right = quiz.shuffled(['a', 'b', 'c', 'd'], 'x-1')
    assert shown[right]=='a' and sorted(shown)==['a', 'b', 'c', 'd'] and (shown, right)==quiz.shuffled(['a', 'b', 'c', 'd'], 'x-1')


def test_every_question_leads_to_where_the_answer_is_shown(site):
    for _,name,q in QUESTIONS:
        if q.get('see'): assert f'id="{q["see"]}"' in (site/f'{name}.html').read_text(encoding='utf-8'), f'{name}: {q["see"]}'


def test_all_questions_and_answers_are_on_the_page_without_a_script(site):
    html = (site/'quiz.html').read_text(encoding='utf-8')
    for name,_,q in QUESTIONS:
        part = html.partition(f'id="{name}"')[2].partition('<div class="question"')[0]
        assert re.search(r'<summary>\s*Answer\s*</summary>', part), name
        assert part.count('<li')>=len(q['choices']) if 'choices' in q else f'{q["answer"]}' in part, name
