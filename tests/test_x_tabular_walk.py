"The explorable tabular_walk: its prediction is that of TabularModel with the same packed weights; its page by mouse, touch and keyboard"
import base64
import contextlib
import io
import math
import random

import numpy as np
import pandas as pd
import pytest
import torch
from explorable_pages import DESKTOP, PHONE, app, hash_is, on_its_page, says

from lesson8lib.cnn import pack_weights
from lesson8lib.explorables import Explorable
from lesson8lib.tabular import TableData, TabularModel
from lesson8lib.training import new_generator

pytestmark = pytest.mark.filterwarnings('ignore')

def packed(model):
    "The weights as float16 in base64, in the order of `state_dict`; the model is left with these weights"
    model.load_state_dict({name: p.half().to(p.dtype) for name,p in model.state_dict().items()})
    return pack_weights(model)

def table(rand, n_cats, n_conts, n=40):
    "A table with columns of categories, of text, integers and booleans, and of numbers"
    levels = [['a', 'b', 'c', 'd'], [1, 2, 3], [False, True], list(range(24))]
    cats = {f'cat{i}': rand.choices(levels[i%4], k=n) for i in range(n_cats)}
    conts = {f'cont{i}': [round(rand.gauss(10*i, 3), 3) for _ in range(n)] for i in range(n_conts)}
    return pd.DataFrame(cats | conts | {'y': [rand.gauss(0, 1) for _ in range(n)]}), list(cats), list(conts)

def case(seed, rows=3):
    "A random table, a random model, and the explorable that shows it"
    rand = random.Random(seed)
    df, cats, conts = table(rand, rand.randint(0 if seed%2 else 1, 5), rand.randint(1 if seed%2 else 0, 4))
    data = TableData(df, 'y', cats, conts, seed=0)
    sizes = [rand.randint(1, 9) for _ in range(rand.randint(1, 3))]
    model, noise = TabularModel(data.emb_szs, len(conts), 1, sizes, generator=new_generator(seed)), new_generator(seed+1)
    with torch.no_grad():
        for name, p in model.state_dict().items():
            if p.is_floating_point(): p.copy_(torch.rand(p.shape, generator=noise)+.2 if 'var' in name else torch.randn(p.shape, generator=noise))
    at = rand.sample(range(len(df)), rows)
    shown = [[c, [float(df[name].iloc[i]) for name in conts], float(df.y.iloc[i])] for c,i in zip(data.encode(df.iloc[at])[0].tolist(), at, strict=True)]
    weights = packed(model)
    scale = [data.scale[c] for c in conts]
    return df, data, model.double().eval(), Explorable('tabular_walk', 'A row.', cat_names=cats, vocabs=[data.vocabs[c].tolist() for c in cats], dims=[d for _,d in data.emb_szs], cont_names=conts,
        means=[m for m,_ in scale], stds=[s for _,s in scale], layers=sizes, weights=weights, rows=shown, names=[f'row {i}' for i in at], indices=at)

def test_half_precision(js):
    "Every float16 there is, subnormal ones included"
    bits = np.arange(2**16, dtype=np.uint16)
    want = bits.view(np.float16)
    good = np.isfinite(want)
    got = js("return [...m.floats(arg)]", base64.b64encode(bits[good].tobytes()).decode())
    assert np.array_equal(np.array(got), want[good].astype(float))

def test_predictions(js):
    "240 rows of 80 models, as they are and changed: embeddings, input, each layer, prediction"
    for seed in range(80):
        df, data, model, shown = case(seed)
        rand, states, indices = random.Random(seed), [], []
        for source in range(3):
            cats = [[rand.randint(0, len(names)) for names in shown.values['vocabs']]] if data.cat_names else [[0]]
            conts = [[round(rand.gauss(0, 20), 2) for _ in data.cont_names]] if data.cont_names else [[0]]
            states += [shown.values | dict(source=source), shown.values | dict(source=source, edited=True, cats=cats, conts=conts)]
            indices += [(shown.values['rows'][source][0], shown.values['rows'][source][1]), (cats[0] if data.cat_names else [], conts[0] if data.cont_names else [])]
        got = js("return arg.map(v => { const r = m.compute(m.tidy(v)); return [r.prediction, r.before, r.input, r.hidden.map(layer => layer.out), r.embedded.flat()] })", states)
        for (cats, conts), (prediction, _, x, hidden, embedded) in zip(indices, got, strict=True):
            x_cat = torch.tensor([cats]).long() if cats else torch.zeros(1, 0).long()
            scaled = [(c-m)/s for c,(m,s) in zip(conts, (data.scale[c] for c in data.cont_names), strict=True)]
            x_cont = torch.tensor([scaled], dtype=torch.float64)
            with torch.no_grad():
                assert abs(model(x_cat, x_cont).item()-prediction)<=1e-9*max(1, abs(prediction))
                if cats: assert torch.allclose(model.embed(x_cat)[0], torch.tensor(embedded, dtype=torch.float64))
                now = torch.tensor([x], dtype=torch.float64)
                for block, out in zip(model.layers[:-1], hidden, strict=True):
                    now = block(now)
                    assert torch.allclose(now[0], torch.tensor(out, dtype=torch.float64), rtol=1e-9, atol=1e-9)
        first = data.predict(model.float(), df.iloc[shown.values['indices']].drop(columns='y'))
        assert np.allclose(first, [row[0] for row in got[::2]], rtol=1e-4, atol=1e-4) and [row[1] for row in got[::2]]==[row[1] for row in got[1::2]]

def test_without_a_model(js):
    "An unknown category has ID 0, as in `TableData`; other IDs than those there are give way to the row's"
    assert js("return m.compute(m.tidy(arg)).error", Explorable('tabular_walk', 'x').values)=='`weights` must hold a model'
    data, shown = next((data, shown) for _,data,_,shown in map(case, range(9)) if len(data.cat_names)>1)
    v = js("return m.tidy(arg)", shown.values | dict(edited=True, cats=[[0, 999]], source=77, layer=9, unit=999))
    assert len(v['cats'][0])==len(data.cat_names) and v['cats'][0][:2]==[0, shown.values['rows'][2][0][1]] and v['source']==2 and v['unit']==shown.values['layers'][-1]-1

# ---- on a page
@pytest.fixture(scope='module')
def bikes(): return on_its_page('tabular_walk')

def test_the_pages_own_model(js, bikes):
    "The shown Python trains the page's model and predicts the row: float16 changes the third digit at most"
    row = bikes.values['rows'][2]
    changed = bikes.values | dict(source=2, edited=True, cats=[[9, *row[0][1:-1], 0]], conts=[[.5, *row[1][1:]]])
    code, prediction = js("const v = m.tidy(arg); return [m.pythonFor(v), m.compute(v).prediction]", changed)
    assert max(map(len, code.splitlines()))<=88 and "row['hour'] = 8" in code and "row['weather'] = None" in code and "row['temp'] = 0.5" in code
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code, {})
    assert abs(float(printed.getvalue().splitlines()[-1].strip('[]'))-prediction)<=.01

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_a_change(figures, bikes, viewport):
    "A cell by keyboard, its ID and embedding, the prediction, undo, another row, the address"
    page = figures(bikes, viewport=viewport)
    it = app(page)
    before = it.locator('.x-says').inner_text()
    hour = it.get_by_label('hour', exact=True)
    hour.focus()
    page.keyboard.press('ArrowDown')
    says(page, 'Before your change: ')
    says(page, before.split('Predicted log_bikers: ')[1].split('. In')[0])
    hash_is(page, "hash.includes('tabular_walk.edited=1') && hash.includes('tabular_walk.cats=')")
    assert it.locator('tr.x-changed th').all_inner_texts()==['hour']
    assert it.locator('tbody tr').first.locator('td').nth(1).inner_text()==f"ID {hour.input_value()}"
    assert it.locator('tbody tr').first.locator('.x-vector span').count()==bikes.values['dims'][0]
    it.get_by_label('temp', exact=True).fill('0,9')
    says(page, 'Before your 2 changes: ')
    hash_is(page, "hash.includes('tabular_walk.conts=0.9,')")
    address = page.evaluate('location.hash')
    changed = it.locator('.x-says').inner_text()
    it.get_by_role('button', name='Undo all changes').click()
    page.wait_for_function('before => document.querySelector(".x-says").textContent === before', arg=before)
    it.get_by_label('row of the table').select_option('3')
    hash_is(page, "hash.includes('tabular_walk.source=3')")
    hash_is(page, "!hash.includes('edited')")
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    page = figures(bikes, hash=address)
    page.wait_for_function('text => document.querySelector(".x-says").textContent === text', arg=changed)
    assert not figures.wrong

def test_units(figures, bikes):
    "A unit by mouse, by arrow keys and by touch: its sum, ReLU and batch normalization are spelled out"
    page = figures(bikes)
    spelled = lambda text, page: page.wait_for_function('text => document.querySelector(".x-spelled").textContent.includes(text)', arg=text)
    spelled('Unit 1 of layer 1, 32 weights times 32 inputs:', page)
    layers = app(page).locator('canvas[role=application]')
    layers.nth(1).scroll_into_view_if_needed()
    box = layers.nth(1).bounding_box()
    page.mouse.click(box['x']+box['width']*.5, box['y']+box['height']*.6)
    spelled('Unit 63 of layer 2, 200 weights', page)
    for key in ('ArrowRight', 'ArrowDown', 'End'): page.keyboard.press(key)
    spelled('Unit 100 of layer 2', page)
    layers.nth(0).focus()
    page.keyboard.press('ArrowDown')
    spelled('Unit 26 of layer 1', page)
    page = figures(bikes, viewport=PHONE, has_touch=True, is_mobile=True)
    app(page).locator('canvas[role=application]').nth(0).scroll_into_view_if_needed()
    box = app(page).locator('canvas[role=application]').nth(0).bounding_box()
    page.touchscreen.tap(box['x']+box['width']*.99, box['y']+box['height']*.02)
    spelled('Unit 25 of layer 1', page)
    assert not figures.wrong

def test_batch_normalization_comes_out(figures, bikes):
    page = figures(bikes)
    line = app(page).locator('.x-spelled span').last.inner_text().split(': ')[1]
    left, right = line.replace('−', '-').replace('·', '*').replace('√', 'sqrt').split(' = ')
    assert abs(eval(left, dict(sqrt=math.sqrt))-float(right))<=2e-3 and len(right.split('.')[1])==4
    assert not figures.wrong

def test_a_long_vector_is_all_there(figures, bikes):
    "On a phone, the tenth number of an hour's embedding"
    page = figures(bikes, viewport=PHONE)
    place, last = app(page).locator('.x-wide').first, app(page).locator('.x-vector').first.locator('span').last
    assert place.evaluate('el => el.scrollWidth - el.clientWidth')<=0
    assert last.bounding_box()['y']+last.bounding_box()['height']<=app(page).get_by_label('weekday', exact=True).bounding_box()['y']
    assert last.bounding_box()['x']+last.bounding_box()['width']<=place.bounding_box()['x']+place.bounding_box()['width']
    assert not figures.wrong

def test_a_wrong_number_is_said(figures, bikes):
    page = figures(bikes, viewport=PHONE)
    temp = app(page).get_by_label('temp', exact=True)
    before = temp.input_value()
    temp.fill('warm')
    assert app(page).get_by_text('a number from −1000000 to 1000000').is_visible() and temp.get_attribute('aria-invalid')=='true'
    wrong = app(page).locator('.x-wrong:not(:empty)').bounding_box()
    assert wrong['y']+wrong['height']<=app(page).get_by_label('feels', exact=True).bounding_box()['y']
    temp.blur()
    assert temp.input_value()==before and 'Before your' not in app(page).locator('.x-says').inner_text()
    assert not figures.wrong

def test_the_address_has_what_was_edited_only(figures, bikes):
    "Not the values of the row, where a unit or another row was chosen"
    page = figures(bikes)
    app(page).locator('canvas[role=application]').nth(0).focus()
    page.keyboard.press('ArrowRight')
    hash_is(page, "hash === '#tabular_walk.unit=1'")
    app(page).get_by_label('row of the table').select_option('3')
    hash_is(page, "hash === '#tabular_walk.source=3&tabular_walk.unit=1'")
    app(page).get_by_label('temp', exact=True).fill('0.9')
    hash_is(page, "hash.includes('tabular_walk.cats=') && hash.includes('tabular_walk.conts=0.9,')")
    app(page).get_by_role('button', name='Undo all changes').click()
    hash_is(page, "hash === '#tabular_walk.source=3&tabular_walk.unit=1'")
    assert not figures.wrong

def test_dragging_is_smooth(figures, bikes):
    page = figures(bikes, reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const canvas = document.querySelectorAll('canvas[role=application]')[0], box = canvas.getBoundingClientRect(), times = [], real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      canvas.setPointerCapture = () => {}
      for (let i = 0; i < 40; i++) {
        canvas.dispatchEvent(new PointerEvent(i ? 'pointermove' : 'pointerdown', { pointerId: 1, buttons: 1, clientX: box.x + box.width*i/40, clientY: box.y + box.height*.3, bubbles: true }))
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    assert len(took)>=20 and took[len(took)//2]<=16
