"What the tests of explorables share: their script, a function that evaluates its maths in the browser, pages that show them"
import json
import re
from functools import cache

from conftest import ROOT

from lesson8lib import explorables
from lesson8lib.explorables import Explorable, explorable_names

STATIC = ROOT/'lesson8lib'/'static'
DESKTOP, PHONE = dict(width=1280, height=800), dict(width=390, height=844)
HELPERS = 'pack, unpack, floats, encode, decode, fits, clean, fmt, short, readNumber, tidy, SPEC'

def module(name): return explorables._module(name)

def run_js(browser, name):
    "A function that evaluates an expression beside the module `m`, with the helpers it has inside"
    page = browser.new_page()
    page.set_content('<title>x</title>')
    source = module(name)
    missing = [h for h in HELPERS.split(', ') if not re.search(rf'^export (const|function) {h}\b', source, re.M)]
    page.evaluate("""async source => {
      const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))
      window.m = await import(url)
    }""", source + f'\nexport {{ {", ".join(missing)} }}')
    return lambda expression, arg=None: page.evaluate(f'arg => {{ {expression} }}', arg)

@cache
def stored():
    "What the notebooks show: (notebook, name, state, HTML) of each explorable"
    found = []
    for nb in sorted((ROOT/'nbs').glob('*.ipynb')):
        for out in (out for cell in json.loads(nb.read_text(encoding='utf-8'))['cells'] for out in cell.get('outputs', [])):
            text = ''.join(out.get('data', {}).get('text/html', ''))
            for name, state in re.findall(r'data-explorable="(\w+)".*?<script type="application/json">(.*?)</script>', text, re.S):
                found.append((nb.name, name, json.loads(state), text))
    return found

def on_its_page(name):
    "The explorable as its page shows it, with today's script; the page on `Explorable` itself counts only where no other shows it"
    states = [state for nb,n,state,_ in stored() if n==name and not nb.startswith('05_')] or [state for _,n,state,_ in stored() if n==name]
    return Explorable(name, f'{name}, as its page shows it.', **states[0])

def every(): return [on_its_page(name) for name in explorable_names()]

def page_of(*shown, scheme='light'):
    css = (ROOT/'nbs'/'styles.css').read_text(encoding='utf-8')
    body = '\n'.join(f'<h2>{i}</h2>{e._repr_html_()}' for i,e in enumerate(shown))
    return (f'<!doctype html><html lang="en" data-scheme="{dict(light="default", dark="alternate")[scheme]}"><head><meta charset="utf-8"><title>Explorables</title>'
            f'<meta name="viewport" content="width=device-width"><style>{css}</style></head><body><main class="content" style="max-width:740px;padding:0 12px">'
            f'<h1>Explorables</h1><p id="t060">An anchor</p>{body}</main></body></html>')

def app(page, i=0): return page.locator('.x-app').nth(i)
def says(page, text, i=0): page.wait_for_function('([i, text]) => document.querySelectorAll(".x-says")[i].textContent.includes(text)', arg=[i, text])
def hash_is(page, test): page.wait_for_function(f'() => {{ const hash = decodeURIComponent(location.hash); return {test} }}')
def all_there(page, n): page.wait_for_function(f"document.querySelectorAll('.x-app[data-theme]').length === {n}")

def other_value(spec, value):
    "Another value that fits, where one can be told from the specification"
    if 'choices' in spec: return next((c for c in spec['choices'] if c!=value), value)
    if isinstance(value, bool): return not value
    if isinstance(value, (int, float)): return next((v for v in (value+1, value-1, spec.get('low', value)) if spec.get('low', v)<=v<=spec.get('high', v)), value)
    return value

def other_state(name, state):
    "A key of the address and a value that is not the state's"
    spec = json.loads(re.search(r'^const SPEC = (\{.*?^\})', (STATIC/f'{name}.js').read_text(encoding='utf-8'), re.M|re.S)[1])
    return next((key, value) for key,s in spec.items() if not s.get('fixed') and (value := other_value(s, state[key]))!=state[key])
