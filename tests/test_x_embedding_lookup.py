"The explorable embedding_lookup: tokens, IDs, rows and predictions are the library's; its page by mouse, touch and keyboard"
import contextlib
import io
import math
import random

import pytest
import torch
from explorable_pages import DESKTOP, PHONE, app, hash_is, on_its_page, says

from lesson8lib.collab import DotProductBias
from lesson8lib.data import Vocab
from lesson8lib.embedding import Embedding, one_hot
from lesson8lib.explorables import Explorable
from lesson8lib.text import numericalize, tokenize

pytestmark = pytest.mark.filterwarnings('ignore')

def double(x): return torch.tensor(x, dtype=torch.float64)

def texts(n):
    "Random texts of letters, digits, signs and apostrophes of many scripts"
    rand, signs = random.Random(0), "aeiouxyzABCßéÉçñøþ ŒÄöÜ   \t\n.,;!?_-'’‘\"()0123٣½²Ⅷ…—абвЖЯαβΣς日本語ひらがな한국어עבריתعربيcafe\u0301İı"
    return [''.join(rand.choices(signs, k=rand.randint(0, 40))) for _ in range(n)] + ["Don't! 'Tis o’er-ripe, thro'; room 101, _so_", '', "''", "a''b", "rock'n'roll", 'ΟΔΟΣ ΟΔΟΣ.']

def test_tokens(js):
    every = texts(600)
    assert js("return arg.map(m.tokenize)", every)==[tokenize(text) for text in every]

def state(rand, words=True, **more):
    "A random vocabulary, its matrices, and a text that has some of its words"
    names = sorted({''.join(rand.choices('abcdef', k=rand.randint(1, 4))) for _ in range(rand.randint(1, 25))})
    n, k, others = len(names)+1, rand.randint(1, 8), names if words else [f'user {i}' for i in range(rand.randint(1, 9))]
    def numbers(rows, cols): return [[round(rand.uniform(-2, 2), 3) for _ in range(cols)] for _ in range(rows)]
    m = len(others)+1
    return Explorable('embedding_lookup', 'A row.', **dict(left_words=['#na#', *others], right_words=['#na#', *names], left=numbers(m, k), right=numbers(n, k),
        left_bias=numbers(1, m)[0], right_bias=numbers(1, n)[0], low=0, high=5.5, range=rand.random()<.5, first=rand.randrange(m), second=rand.randrange(n),
        text=' '.join(rand.choices([*names, 'Unknown', 'zz', 'A.'], k=rand.randint(0, 9)))) | more)

def in_python(v):
    model = DotProductBias(len(v['left']), len(v['right']), len(v['left'][0]), y_range=(v['low'], v['high']) if v['range'] else None).double()
    for name, key in (('user_factors', 'left'), ('item_factors', 'right'), ('user_bias', 'left_bias'), ('item_bias', 'right_bias')): getattr(model, name).data = double(v[key])
    return model

def test_lookups_and_predictions(js):
    "Of 300 vocabularies: IDs, one-hot vectors, their products with the matrix, and the model's prediction"
    rand = random.Random(1)
    cases = [state(rand, words=i%3>0).values for i in range(300)]
    got = js("return arg.map(v => { const r = m.compute(m.tidy(v)); return [r.tokens, r.ids, r.code, r.row, r.b, r.prediction] })", cases)
    for v, (tokens, ids, code, row, vector, prediction) in zip(cases, got, strict=True):
        words = v['left_words']==v['right_words']
        vocab = Vocab(v['right_words'][1:], 'word')
        assert tokens==(tokenize(v['text']) if words else []) and [vocab[i] for i in range(len(vocab))]==v['right_words']
        assert ids==numericalize(tokens, vocab).tolist()
        layer = Embedding(*double(v['right']).shape)
        layer.weight.data = double(v['right'])
        index = torch.tensor(v['second'])
        assert code==one_hot(index, len(vocab)).tolist()
        assert torch.allclose(double(row), one_hot(index, len(vocab)).double() @ layer.weight, atol=1e-9) and double(vector).equal(layer(index).detach())
        assert abs(in_python(v)(torch.tensor([[v['first'], v['second']]])).item()-prediction)<=1e-9

def test_indices_beyond_the_vocabulary(js):
    v = state(random.Random(3)).values
    tidied = js("return m.tidy(arg)", v | dict(first=9999, second=9999, text='x'*500))
    assert (tidied['first'], tidied['second'], len(tidied['text']))==(len(v['left'])-1, len(v['right'])-1, 200)

@pytest.mark.parametrize('seed', range(6))
def test_shown_python_gives_what_is_shown(js, seed):
    v = state(random.Random(seed), words=seed<4, text='A "quote", dad’s cab and a bad face\\ '*2).values
    code, ids, row, prediction = js("const v = m.tidy(arg), r = m.compute(v); return [m.pythonFor(v), r.ids, r.b, r.prediction]", v)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code, {})
    assert max(len(line) for line in code.splitlines() if 'tokenize(' not in line)<=88
    lines = printed.getvalue().splitlines()
    assert seed>=4 or lines[0]==str(ids)
    vector, _, value = lines[-1].rpartition(' ')
    assert [float(x) for x in vector.strip('[]').split(',')]==pytest.approx(row, abs=1e-6) and float(value)==pytest.approx(prediction, abs=1e-5)

# ---- on a page
WORDS = ['#na#', 'has', 'seen', 'the', 'who', 'wind']
def poem(**more):
    values = [[i/10, -i/5] for i in range(6)]
    return Explorable('embedding_lookup', 'A poem.', **dict(left_words=WORDS, right_words=WORDS, left_kind='word nearby', right_kind='word', of='co-occurrences', left=values, right=values,
        left_bias=[0]*6, right_bias=[.1]*6, text='Who has seen the moon?', first=3, second=5) | more)

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_typing(figures, viewport):
    "What is typed is split, numbered and looked up; a word is chosen by its button, in the matrix by arrow keys, and from the list"
    page = figures(poem(), viewport=viewport)
    it = app(page)
    says(page, 'Not in the vocabulary, so ID 0: “moon”. “wind” has ID 5; its embedding vector is row 5 of the matrix: 0.50, −1.00. The sum before the sigmoid is 0.85.')
    buttons = it.locator('.x-tokens button')
    assert buttons.all_inner_texts()==['who\nID 4', 'has\nID 1', 'seen\nID 2', 'the\nID 3', 'moon\nID 0, #na#']
    buttons.first.focus()
    page.keyboard.press('Enter')
    says(page, '“who” has ID 4')
    assert page.evaluate('document.activeElement.innerText')=='who\nID 4' and buttons.first.get_attribute('aria-pressed')=='true'
    assert it.locator('tr.x-chosen').inner_text().split()==['who', '4', '1', '0.40', '−0.80']
    assert it.locator('tr.x-sum-row').first.inner_text().split()[-2:]==['0.40', '−0.80']
    text = it.get_by_label('text')
    text.fill('THE wind’s wind')
    says(page, 'Not in the vocabulary, so ID 0: “wind\'s”. “wind” has ID 5')
    hash_is(page, "hash.includes('embedding_lookup.text=THE')")
    it.locator('tbody td[tabindex="0"]').focus()
    page.keyboard.press('End')
    page.keyboard.press('ArrowDown')
    says(page, '“has” has ID 1')
    it.get_by_label('word nearby').select_option('5')
    it.get_by_label('sigmoid').check()
    says(page, 'Predicted co-occurrences of “wind” and “has”: 3.')
    hash_is(page, "hash.includes('embedding_lookup.first=5') && hash.includes('embedding_lookup.range=1')")
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    address = page.evaluate('location.hash')
    said = it.locator('.x-says').inner_text()
    page = figures(poem(), hash=address)
    page.wait_for_function('said => document.querySelector(".x-says").textContent === said', arg=said)
    assert app(page).get_by_label('text').input_value()=='THE wind’s wind'
    assert not figures.wrong

def test_mouse_and_touch(figures):
    page = figures(poem())
    app(page).locator('tbody tr').nth(2).click()
    says(page, '“seen” has ID 2')
    page = figures(Explorable('embedding_lookup', 'Users and films.'), viewport=PHONE, has_touch=True, is_mobile=True)
    assert not app(page).get_by_label('text').is_visible()
    app(page).locator('tbody tr').nth(2).tap()
    says(page, '“Casablanca” has ID 2; its embedding vector is row 2 of the matrix: −1.00, −0.30, 0.90. Predicted rating for “Ann” and “Casablanca”: 2.01.')
    app(page).get_by_label('user').select_option('2')
    says(page, 'for “Dan” and “Casablanca”: 4.67.')
    assert not figures.wrong

def test_both_vectors_of_a_word(figures):
    page = figures(poem(second=3))
    assert app(page).locator('.x-wide th').all_inner_texts()==['the, as word nearby', 'the', 'products']
    assert app(page).get_by_text('A word has a second vector, as a word nearby, from another embedding matrix.').is_visible()
    page = figures(Explorable('embedding_lookup', 'Users and films.'))
    assert app(page).locator('.x-wide th').all_inner_texts()==['Ann', 'Alien', 'products'] and 'second vector' not in app(page).inner_text()
    assert not figures.wrong

def test_printed_sums_come_out(figures):
    page = figures(on_its_page('embedding_lookup'))
    lines = app(page).locator('.x-spelled span').all_inner_texts()
    for line in lines:
        left, right = line.split(': ')[1].replace('−', '-').replace('·', '*').split(' = ')
        assert abs(eval(left, dict(sigmoid=lambda z: 1/(1+math.exp(-z))))-float(right))<=1e-4
    assert len(lines)==3 and not figures.wrong

def test_a_finger_that_scrolls_chooses_nothing(figures):
    page = figures(poem(), viewport=PHONE, has_touch=True, is_mobile=True)
    row = app(page).locator('tbody tr').nth(1)
    for kind in ('pointerdown', 'pointercancel'): row.dispatch_event(kind, dict(pointerType='touch', bubbles=True))
    page.wait_for_timeout(100)
    says(page, '“wind” has ID 5')
    row.tap()
    says(page, '“has” has ID 1')
    assert not figures.wrong

def test_lookups_are_drawn_in_time(figures):
    page = figures(poem(), reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const rows = document.querySelectorAll('tbody tr'), times = [], real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      for (let i = 0; i < 40; i++) {
        rows[i%6].click()
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    assert len(took)>=20 and took[len(took)//2]<=16
