"A user's script with every public class: it runs, and a type checker finds nothing in it"
import ast
import re
import runpy

from check import ROOT
from mypy import api

SCRIPT = ROOT/'tests'/'user_script.py'

def type_errors(path):
    out, err, _ = api.run(['--config-file', str(ROOT/'pyproject.toml'), '--no-error-summary', '--hide-error-context', str(path)])
    assert not err
    return {re.sub(r'^.*?: error: ', '', line) for line in out.splitlines() if ': error: ' in line}

def test_types_of_a_users_script(): assert not type_errors(SCRIPT)

def test_a_wrong_type_is_found(tmp_path):
    "The types of the package reach its user"
    script = tmp_path/'script.py'
    script.write_text("from lesson8lib.recommender import Recommender\nRecommender(n_factors='5').nothing\n", encoding='utf-8')
    assert len(type_errors(script)) == 2

def test_a_users_script_runs(tmp_path):
    ours = runpy.run_path(str(SCRIPT))
    assert ours['recommend'](tmp_path).predict(ours['ratings']).between(0, 6).all() and ours['known']
    assert ours['store'](tmp_path/'names')==['Ann', 'Ben'] and ours['show_curve']('mae')=='n_factors' and ours['lists'].shape==(2, 2)
    assert abs(ours['large'](tmp_path))<1
    for draws in (0, 4): assert 'Sequel' in ours['serve'](draws).items
    assert ours['new_film'].shape == (1, ours['n_users']) and len(ours['rents']) == len(ours['flats']) == len(ours['encoded'])

def test_every_public_class_is_used():
    names = {getattr(n, 'attr', getattr(n, 'id', '')) for n in ast.walk(ast.parse(SCRIPT.read_text(encoding='utf-8')))}
    for module in (ROOT/'lesson8lib').glob('[!_]*.py'):
        classes = {n.name for n in ast.parse(module.read_text(encoding='utf-8')).body if isinstance(n, ast.ClassDef) and not n.name.startswith('_')}
        assert classes <= names, f'{module.stem}: {sorted(classes - names)} stands nowhere in {SCRIPT.name}'
