"""The page "Test yourself", from the bank of questions nbs/quiz.yml

Each question has choices, of which the first is right in the bank, or a number to type. `quiz.js` makes buttons and boxes of what stands here;
without scripts the page lists the choices, and the answer is in a fold.
"""
import random
import re
from pathlib import Path

import yaml
from lesson_map import Section, read_pages

ROOT = Path(__file__).resolve().parents[1]
KINDS = {'recall': 'recall', 'shape': 'predict the shape', 'number': 'predict the number', 'bug': 'find the bug', 'why': 'why'}


def read_bank(
    file:Path=ROOT/'nbs'/'quiz.yml', # the bank
)->list[dict]: # page, questions
    "The questions of each page, in the reader's order"
    return yaml.safe_load(file.read_text(encoding='utf-8'))

def shuffled(
    choices:list[str], # the right one first
    seed:str, # of the question: the order never changes
)->tuple[list[str], int]: # the choices, and the place of the right one
    "The choices in the order in which the page shows them"
    order = list(range(len(choices)))
    random.Random(seed).shuffle(order)
    return [choices[i] for i in order], order.index(0)

def tolerance(
    q:dict, # of the bank, with a number as its answer
)->float:
    "By how much a typed number may differ: by 1 in 1,000, but what is an integer by no more than rounding"
    return q.get('tolerance', 1e-4 if float(q['answer']).is_integer() else 1e-3*abs(q['answer']))

def question(
    q:dict, # of the bank
    n:int, # its number on the page
    page:str, # name of the page that answers it
    pages:dict[str, list[Section]], # from `read_pages`
)->str: # Markdown
    "One question, its choices, and its answer in a fold"
    name, see = f'{page}-{n}', str(q.get('see') or '')
    found = next((s for s in pages[page] if s.slug==see), pages[page][0])
    title = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', found.title)  # without links of its own
    where = f'[{title}]({page}.html{"#" + see if see else ""})'
    kind = f'<span class="kind">{KINDS[q["kind"]]}</span>'
    if 'choices' in q:
        choices, right = shuffled([str(c) for c in q['choices']], name)
        data, below, answer = f'data-right="{right}"', '\n'.join(f'- {c}' for c in choices) + '\n\n', str(q['choices'][0])
    else: data, below, answer = f'data-answer="{q["answer"]}" data-tolerance="{tolerance(q):.3g}"', '', f'{q["answer"]}'
    return (f'<div class="question" id="{name}" {data}>\n\n{kind} {q["ask"].strip()}\n\n{below}<details><summary>Answer</summary>\n\n'
            f'**{answer.rstrip(".")}.** {q["why"].strip()} → {where}\n\n</details>\n\n</div>')

def fill(
    text:str, # of quiz.qmd
)->str:
    "The page, with its questions"
    pages, out = read_pages(), []
    for part in read_bank():
        out.append(f'## {pages[part["page"]][0].title} {{#{part["page"]}}}')
        out += [question(q, i, part['page'], pages) for i,q in enumerate(part['questions'], 1)]
    return text.replace('{quiz}', '\n\n'.join(out))
