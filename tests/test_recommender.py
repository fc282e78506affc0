"`Recommender` on tables of its own: what it promises holds for any of them, whatever the names"
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.metrics import ndcg_score

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.collab_nn import HybridCollab, fold_in
from lesson8lib.interpret import nearest
from lesson8lib.recommender import Recommender
from lesson8lib.training import fit, new_generator


def table(n=600, n_users=30, n_items=20, seed=0, names=int):
    "Random ratings, each user and item once, by two tastes"
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(n_users*n_items)[:n]
    user, item = pairs//n_items, pairs % n_items
    rating = np.clip(np.round(3+1.5*np.where((user+item) % 2, 1, -1)+rng.normal(0, .5, n)), 1, 5)
    label = (lambda kind, i: int(i)+100) if names is int else (lambda kind, i: f'{kind} {i:03}')
    return pd.DataFrame({'user': [label('user', u) for u in user], 'item': [label('item', i) for i in item], 'rating': rating})


@pytest.fixture(scope='module')
def fitted(): return Recommender(n_factors=5, epochs=20, lr=.05, wd=.05, bs=64).fit(table()[:400], progress=False)


@pytest.mark.parametrize('names', [int, str])
def test_names_of_both_kinds_survive_saving(tmp_path, names):
    df = table(names=names)
    made = Recommender(n_factors=3, epochs=1, y_range=(0, 6)).fit(df[:400], progress=False)
    again = Recommender.load(made.save(tmp_path/'x'))
    assert again.predict(df).equals(made.predict(df)) and again.y_range==(0, 6) and again.n_factors==3
    user, item = df.user[0], df.item[0]
    assert again.recommend(user).equals(made.recommend(user)) and again.similar(item, min_ratings=0).equals(made.similar(item, min_ratings=0))
    assert again.explain(user, item).equals(made.explain(user, item)) and again.evaluate(df[400:])==made.evaluate(df[400:])
    assert again.fold_in({item: 5}).equals(made.fold_in({item: 5}))
    with safe_open(tmp_path/'x', 'pt') as f: about = json.loads(f.metadata()['lesson8lib'])
    assert about['users']==sorted(set(df.user[:400].tolist()))


def test_a_taste_is_learned(fitted):
    left = table()[400:]
    assert fitted.evaluate(left)['rmse']<.8<left.rating.std()


def test_recommendations_leave_out_what_was_seen_and_come_in_order(fitted):
    seen = table()[:400]
    for user in seen.user.unique()[:5]:
        mine = set(seen.item[seen.user==user])
        best, everything = fitted.recommend(user, n=100), fitted.recommend(user, n=100, exclude_seen=False)
        assert set(best.index)==set(seen.item)-mine and set(everything.index)==set(seen.item)
        assert best.prediction.is_monotonic_decreasing and everything.ratings.sum()==len(seen)
        pairs = pd.DataFrame({'user': user, 'item': best.index})
        assert np.allclose(fitted.predict(pairs), best.prediction)
        assert fitted.recommend(user, min_ratings=20).ratings.min()>=20


def test_terms_add_up_for_any_number_of_them(fitted):
    for n in range(8):
        why = fitted.explain(100, 101, n=n)
        assert len(why)==min(n, 5)+3
        low, high = fitted.model.y_range
        predicted = fitted.predict(pd.DataFrame({'user': [100], 'item': [101]})).item()
        assert low+(high-low)/(1+math.exp(-why.sum()))==pytest.approx(predicted, abs=1e-5) and why.attrs['prediction']==pytest.approx(predicted, abs=1e-5)


def test_unknown_names_are_refused_or_typical(fitted):
    unknown = pd.DataFrame({'user': [100, 7], 'item': [101, 101]})
    with pytest.raises(KeyError, match='1 unknown user: 7'): fitted.predict(unknown)
    model, there = fitted.model, fitted.data.train[0][:,0].unique()
    typical = model.user_factors[there].mean(0)@model.item_factors[int(fitted.data.items.index(101))]
    score = typical + model.user_bias[there].mean() + model.item_bias[int(fitted.data.items.index(101))]
    low, high = model.y_range
    assert fitted.predict(unknown, unknown='na')[1]==pytest.approx(float(low+(high-low)*torch.sigmoid(score.detach())), abs=1e-5)


@pytest.mark.parametrize('k', [1, 3, 10, 50])
def test_lists_are_judged_as_scikit_learn_does(fitted, k):
    train, test = table()[:400], table()[400:]
    quality, ndcgs, recalls, shown = fitted.evaluate(test, k=k, relevant=4), [], [], set()
    size = min(k, train.item.nunique())
    for user,group in test.groupby('user'):
        new = sorted(set(train.item)-set(train.item[train.user==user]))
        relevant = np.isin(new, group.item[group.rating>=4])
        predicted = fitted.predict(pd.DataFrame({'user': user, 'item': new})).to_numpy()
        top = set(np.array(new)[np.argsort(-predicted)[:size]])
        shown |= top
        if not relevant.any(): continue
        ndcgs.append(ndcg_score([relevant], [predicted], k=size))
        recalls.append(len(top & set(np.array(new)[relevant]))/relevant.sum())
    assert quality[f'ndcg@{size}']==pytest.approx(np.mean(ndcgs), abs=1e-5) and quality[f'recall@{size}']==pytest.approx(np.mean(recalls), abs=1e-6)
    assert quality[f'coverage@{size}']>=len(shown)/train.item.nunique()-1e-6
    error = fitted.predict(test)-test.rating
    assert quality['rmse']==pytest.approx((error**2).mean()**.5, abs=1e-5) and quality['mae']==pytest.approx(error.abs().mean(), abs=1e-5)


def test_the_order_of_rows_changes_no_error(fitted):
    test = table()[400:]
    shuffled = test.sample(frac=1, random_state=1)
    assert fitted.evaluate(test)==pytest.approx(fitted.evaluate(shuffled), abs=1e-5)


def test_polars_gives_what_pandas_gives(fitted):
    pl = pytest.importorskip('polars')
    df = table(names=str)
    ours, theirs = (Recommender(n_factors=3, epochs=1).fit(t, progress=False) for t in (df, pl.DataFrame(df.to_dict('list'))))
    assert ours.predict(df).tolist()==theirs.predict(pl.DataFrame(df.to_dict('list'))).tolist()
    with pytest.raises(ValueError, match='must have a value in every row'): Recommender().fit(pl.DataFrame({'user': [1, None], 'item': [1, 2], 'rating': [1, 2]}))


@pytest.mark.parametrize('change,words_', [
    (lambda b: b[:-50], 'cannot be read'),
    (lambda b: b[:-50]+bytes([b[-50]^8])+b[-49:], 'do not have the checksum'),
    (lambda b: b'', 'cannot be read'),
    (lambda b: b'\x80\x04\x95', 'cannot be read'),  # the beginning of a pickle
])
def test_a_damaged_file_is_refused_in_words(fitted, tmp_path, change, words_):
    path = fitted.save(tmp_path/'x')
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=words_): Recommender.load(path)


def test_a_file_of_another_format_is_refused(tmp_path):
    save_file({'a': torch.ones(1)}, tmp_path/'x', {'lesson8lib': json.dumps({'format': 2})})
    with pytest.raises(ValueError, match='of format 2: a newer lesson8lib wrote it'): Recommender.load(tmp_path/'x')


def test_the_batch_grows_with_the_table(monkeypatch):
    asked = []
    monkeypatch.setattr('lesson8lib.recommender.fit', lambda model, data, bs, **args: asked.append((len(data[1]), bs)))
    for n in (50, 600): Recommender(n_factors=1).fit(table(n), progress=False)
    Recommender(n_factors=1, bs=7).fit(table(50), progress=False)
    many = pd.DataFrame({'user': np.arange(80_000) % 50, 'item': np.arange(80_000) % 49, 'rating': np.arange(80_000) % 5})
    Recommender(n_factors=1).fit(many, progress=False)
    assert asked==[(50, 64), (600, 64), (50, 7), (80_000, 512)]


@pytest.mark.parametrize('make', [lambda: DotProductBias(31, 21, 4, (0, 6)), lambda: DotProductBias(31, 21, 4, None),
    lambda: HybridCollab(31, 21, torch.randn(31, 3), torch.randn(21, 2), n_factors=4, n_hidden=8, y_range=(0, 6))], ids=['range', 'no range', 'hybrid'])
def test_folding_in_finds_the_best_compromise(make):
    "No other row near it has a smaller sum of squared errors and distance from the crowd"
    torch.manual_seed(0)
    data, model = RatingsData.from_df(table(), item='item', valid_pct=0.), make()
    fit(model, data.train, epochs=10, lr=.05, wd=.01, seed=0)
    items, stars, noise = torch.tensor([3, 5, 9]), torch.tensor([5., 4, 1]), .5
    rows = torch.cat([model.user_factors, model.user_bias[:,None]], 1).detach()[1:]
    mean, precision = rows.mean(0), torch.linalg.inv(torch.cov(rows.T)+1e-6*torch.eye(5))
    sights = torch.cat([model.item_factors, model.item_bias[:,None]], 1).detach()[items]
    row = torch.cat([p.reshape(-1) for p in fold_in(model, data, items, stars, noise=noise, steps=20)])
    assert model.training
    model.eval()

    def cost(row):
        score = sights[:,:-1]@row[:-1]+sights[:,-1]+row[-1]
        pred = model.rate(row.expand_as(sights), sights) if isinstance(model, HybridCollab) else score if model.y_range is None else 6*torch.sigmoid(score)
        return float((((stars-pred)**2).sum()/noise + (row-mean)@precision@(row-mean)).detach())

    best = cost(row)
    for i in range(200): assert cost(row+.05*torch.randn(5, generator=new_generator(i))*rows.std(0))>=best-1e-4
    assert best<cost(mean)


def test_neighbors_among_the_rows_of_a_hybrid():
    data = RatingsData.from_df(table(), item='item', valid_pct=0.)
    model = HybridCollab(31, 21, item_meta=torch.randn(21, 2, generator=new_generator(0)), n_factors=4)
    near = nearest(model, data, 101, n=3)
    factors = model.item_factors.detach()
    by_hand = torch.cosine_similarity(factors[int(data.items.index(101))][None], factors[data.items.index(near.index)])
    assert near.cosine.tolist()==pytest.approx(by_hand.tolist(), abs=1e-6)


def test_what_a_pair_is_seen_with_leaves_out_the_pair_itself():
    "A training row must not see its own existence: changing the weight of that item changes nothing"
    x = torch.tensor([[1, 1], [1, 2], [2, 2]])
    model = HybridCollab(3, 3, rated=x, n_factors=2, n_hidden=0)
    before = model(x[:1]).detach()
    model.users.from_seen.data[1] += 5  # item 1, the one to be predicted
    model.items.from_seen.data[1] += 5  # user 1, the one to predict for
    assert torch.equal(model(x[:1]), before)
    model.users.from_seen.data[2] += 5  # another item that user 1 has rated
    assert not torch.equal(model(x[:1]), before)


def test_hidden_rows_are_those_of_nobody_in_particular():
    model = HybridCollab(40, 3, torch.zeros(40, 1), n_factors=2, n_hidden=0, hide_users=1.)
    rows = model.users(torch.arange(40))
    assert torch.allclose(rows, model.users.own[1:].mean(0).expand_as(rows))
    assert torch.equal(model.eval().users(torch.arange(40)), model.users.own)
