"""Who survived? The course's models of the Titanic over 100 random splits, beside simple rules and scikit-learn

Seed s means: 178 of 891 passengers for validation, drawn with seed s (as fastai's RandomSplitter draws them), initial weights from seed s. "learned"
says from which rows the most frequent values and the maxima come: the training rows, or all, as in the course. "split 42" is the course's split with
100 other initial weights. The three-column rule, "women survive, but not in third class from Southampton", was read off the course's trained models,
so it has seen all splits. `fit` is AdamW with the one-cycle policy and binary cross-entropy, once from the course's initial weights and once from
PyTorch's; its rate and epochs, those of TabularModel and the forest's leaf size were chosen after a few runs with seeds 0 to 11.
`python benchmarks/titanic.py` takes three minutes.
"""
import torch
from common import record, save
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn.functional import binary_cross_entropy, cross_entropy
from tqdm import tqdm

from lesson8lib.data import load_titanic
from lesson8lib.tabular import TableData, TabularModel
from lesson8lib.titanic import TitanicNet, fit_titanic, prepare_titanic, titanic_recipes
from lesson8lib.training import evaluation_copy, fit, new_generator, new_linear

SEEDS, N_VALID, CATS, CONTS = range(100), 178, ['Sex', 'Pclass', 'Embarked'], ['Age', 'SibSp', 'Parch', 'Fare']
df = load_titanic()
y = torch.tensor(df.Survived.to_numpy('float32'))


def split(seed:int)->tuple[torch.Tensor, torch.Tensor]:
    order = torch.randperm(len(df), generator=new_generator(seed))
    return order[N_VALID:], order[:N_VALID]


def right(survives:torch.Tensor, rows:torch.Tensor)->float:
    return round((survives==(y[rows]==1)).float().mean().item(), 4)


def simple_rules(rows:torch.Tensor)->dict[str,torch.Tensor]:
    some = df.iloc[rows]
    woman = some.Sex=='female'
    poor = (some.Pclass==3) & (some.Embarked.fillna('S')=='S')
    return {name: torch.tensor(rule.to_numpy()) for name,rule in (
        ('all die', woman & False), ('women survive', woman), ('three-column rule', woman & ~poor))}


def default_net(n_in:int, seed:int)->nn.Sequential:
    "Two hidden layers with PyTorch's initialization"
    generator = new_generator(seed)
    first, second, last = (new_linear(a, b, generator=generator) for a,b in ((n_in, 10), (10, 10), (10, 1)))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last, nn.Sigmoid(), nn.Flatten(0))


def with_fit(model:nn.Module, x:torch.Tensor, target:torch.Tensor, seed:int)->nn.Module:
    fit(model, (x, target), loss=binary_cross_entropy, epochs=20, lr=.02, wd=.01, bs=64, seed=seed, progress=False)
    return model


def tabular(rows:torch.Tensor, seed:int)->torch.Tensor:
    data = TableData(df.assign(Survived=y.numpy()==1), 'Survived', CATS, CONTS, valid=rows.tolist())
    model = TabularModel(data.emb_szs, len(data.cont_names), data.out_sz, [10, 10], generator=new_generator(seed))
    fit(model, data.train, loss=cross_entropy, epochs=20, lr=.01, bs=64, seed=seed, progress=False)
    return data.predict(evaluation_copy(model), df.iloc[rows])


def on_split(seed:int)->list[dict]:
    "All models on one split"
    train, valid = split(seed)
    found = []
    def add(model, survives, learned='train'): found.append(record(model, 'accuracy', right(survives, valid), seed, learned=learned))
    for name,rule in simple_rules(valid).items(): add(name, rule)
    for learned in ('train', 'all'):
        like = prepare_titanic(df.iloc[train] if learned=='train' else df)
        x, x_valid = (prepare_titanic(df.iloc[rows], like).x for rows in (train, valid))
        for kind in titanic_recipes: add(kind, fit_titanic(x, y[train], kind, new_generator(seed))(x_valid)>.5, learned)
        if learned=='all': continue
        kinds = 'one hidden layer', 'two hidden layers'
        nets = {f'{kind}, fit': TitanicNet(kind, x.shape[1], new_generator(seed)) for kind in kinds}
        nets['two hidden layers, fit, default weights'] = default_net(x.shape[1], seed)
        for name,net in nets.items(): add(name, with_fit(net, x, y[train], seed)(x_valid)>.5)
        add('TabularModel', torch.tensor(tabular(valid, seed)[True].to_numpy()>.5))
        for name,peer in (('logistic regression', LogisticRegression(max_iter=1000)),
                          ('random forest', RandomForestClassifier(100, min_samples_leaf=5, random_state=seed))):
            add(name, torch.tensor(peer.fit(x, y[train]).predict(x_valid)==1))
    return found


def main()->None:
    torch.set_num_threads(1)
    found = [r for seed in tqdm(SEEDS, desc='splits') for r in on_split(seed)]
    train, valid = split(42)
    x = prepare_titanic(df).x
    for seed in tqdm(SEEDS, desc='initial weights'):
        for kind in titanic_recipes:
            survives = fit_titanic(x[train], y[train], kind, new_generator(seed))(x[valid])>.5
            found.append(record(kind, 'accuracy', right(survives, valid), seed, learned='all', split=42))
    save('titanic', found, ('torch', 'scikit-learn', 'numpy', 'pandas'), threads=1, splits=len(SEEDS), validation=N_VALID)


if __name__ == '__main__': main()
