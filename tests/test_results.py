"The stored results of the benchmarks hold what is promised; `make bench` makes them anew"
import json

from conftest import ROOT


def load(name:str)->dict: return json.loads((ROOT/'benchmarks'/'results'/f'{name}.json').read_text(encoding='utf-8'))


def mean(values:list)->float: return sum(values)/len(values)


def median(values:list)->float: return sorted(values)[len(values)//2]


def test_quality_and_speed_beside_fastai():
    results = load('collab')
    models = results['models']
    ours, quick, fastai = (models[n] for n in ('DotProductBias', 'DotProductBias, batch 512', 'collab_learner, every row'))
    assert results['seeds']==[0, 1, 2, 3, 4]
    assert mean(ours['valid_mse'])<=.826
    assert abs(mean(ours['valid_mse'])-mean(fastai['valid_mse']))<=.005
    assert abs(mean(quick['valid_mse'])-mean(ours['valid_mse']))<=.002
    assert median(fastai['seconds'])>=4*median(ours['seconds']) and median(fastai['seconds'])>=20*median(quick['seconds'])


def test_a_module_costs_little_more_than_torch():
    costs = load('imports')['over_torch_seconds']
    modules = {f'lesson8lib.{p.stem}' for p in (ROOT/'lesson8lib').glob('[a-z]*.py')}
    assert modules <= set(costs) and max(costs[m] for m in modules)<=.3


def test_results_say_where_they_came_from():
    for path in (ROOT/'benchmarks'/'results').glob('*.json'):
        about = json.loads(path.read_text(encoding='utf-8'))['about']
        assert {'machine', 'python', 'versions', 'commit'} <= set(about) and not about['commit'].endswith('-dirty'), path.name
