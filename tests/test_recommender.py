"`Recommender` on tables of its own: what it promises holds for any of them, whatever the names"
import base64
import copy
import io
import math
import os
import pickle
import stat
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import norm
from sklearn.base import clone
from sklearn.metrics import ndcg_score

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.cold_start import fold_in
from lesson8lib.files import load_tensors, save_tensors
from lesson8lib.hybrid import HybridCollab, rate_embeddings
from lesson8lib.interpret import nearest
from lesson8lib.recommender import Recommender
from lesson8lib.training import evaluate, fit, new_generator


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
    assert again.users==sorted(set(df.user[:400].tolist()))==made.users and again.items==made.items and again.history.equals(made.history)


def test_a_taste_is_learned(fitted):
    left = table()[400:]
    assert fitted.evaluate(left)['rmse']<.8<left.rating.std()


def test_recommendations_leave_out_what_was_seen_and_come_in_order(fitted):
    seen = table()[:400]
    for user in seen.user.unique()[:5]:
        mine = set(seen.item[seen.user==user])
        best, everything = (fitted.recommend(user, n=100, exclude_seen=seen, by='rating') for seen in (True, False))
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
        assert min(max(low+(high-low)/(1+math.exp(-why.sum())), 1), 5)==pytest.approx(predicted, abs=1e-5) and why.attrs['prediction']==pytest.approx(predicted, abs=1e-5)


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
    size = min(k, train.item.nunique())  # the name stays the one asked for
    for user,group in test.groupby('user'):
        new = fitted.recommend(user, n=100).index
        assert set(new)==set(train.item)-set(train.item[train.user==user])
        relevant = np.isin(new, group.item[group.rating>=4])
        predicted = -np.arange(len(new))  # the order before clipping
        top = set(new[:size])
        shown |= top
        if not relevant.any(): continue
        ndcgs.append(ndcg_score([relevant], [predicted], k=size))
        recalls.append(len(top & set(np.array(new)[relevant]))/relevant.sum())
    assert quality[f'ndcg@{k}']==pytest.approx(np.mean(ndcgs), abs=1e-5) and quality[f'recall@{k}']==pytest.approx(np.mean(recalls), abs=1e-6)
    assert quality[f'coverage@{k}']==pytest.approx(len(shown)/train.item.nunique(), abs=1e-6)
    error = fitted.predict(test)-test.rating
    assert quality['rmse']==pytest.approx((error**2).mean()**.5, abs=1e-5) and quality['mae']==pytest.approx(error.abs().mean(), abs=1e-5)


def test_one_person_may_be_judged_and_the_default_hit_is_the_median(fitted):
    test = table()[400:]
    one = test[test.user==test.user.iloc[0]]
    assert fitted.evaluate(one[:1])['rmse']==pytest.approx(abs((fitted.predict(one[:1])-one.rating[:1]).item()), abs=1e-5)
    assert fitted.evaluate(test)==fitted.evaluate(test, relevant=table()[:400].rating.median())


def test_a_fit_that_fails_leaves_what_was_learned(fitted):
    before, wd = fitted.recommend(100), fitted.wd
    fitted.wd = -1
    with pytest.raises(ValueError, match='`wd`'): fitted.fit(table(), progress=False)
    fitted.wd = wd
    assert fitted.recommend(100).equals(before)


def test_new_users_are_not_recommended_what_they_rated(fitted):
    item = fitted.data.items[3]
    assert item not in fitted.fold_in({item: 5}, n=100).index and len(fitted.fold_in({item: 5}, n=100))==len(fitted.data.items)-2


@pytest.mark.parametrize('call,error,words_', [
    (lambda r: Recommender(bs=0), ValueError, '`bs` must be an integer of at least 1, got 0'),
    (lambda r: Recommender(y_range=()), TypeError, '`y_range` must be a pair'),
    (lambda r: Recommender(y_range=(0, 1)).fit(table(), progress=False), ValueError, "`y_range` must hold all ratings of `df['rating']`, 1.0 … 5.0, got (0, 1)"),
    (lambda r: r.recommend({100: 5}), TypeError, '`user` must be a list of IDs, got dict'),
    (lambda r: r.recommend(1.5), TypeError, '`user` must be a list of IDs, got float'),
    (lambda r: r.recommend([100, '101']), TypeError, "`user` must hold int, as in training, got '101'"),
    (lambda r: r.recommend([100, 7]), KeyError, '1 unknown user: 7'),
    (lambda r: r.recommend(100, by='taste'), ValueError, "`by` must be 'both' or 'rating' or 'choice', got 'taste'"),
    (lambda r: r.recommend(100, items=[101, 7]), KeyError, '1 unknown item: 7'),
    (lambda r: r.recommend(100, exclude='101'), TypeError, '`exclude` must be a list of IDs, got str'),
    (lambda r: r.recommend(100, interval=.9), ValueError, "`interval` must be None with method='lesson', got 0.9"),
    (lambda r: r.predict(table(), interval=1), ValueError, '`interval` must be'),
    (lambda r: r.add_user(100), ValueError, '`user` must be new, got 100'),
    (lambda r: r.add_user('x'), TypeError, "`user` must be one new ID, int as in training, got 'x'"),
    (lambda r: r.add_item(7, {100: 6}), ValueError, '`ratings[100]` must be a finite number in [1.0, 5.0], got 6'),
    (lambda r: r.add_item(7, info={'year': 3}), ValueError, '`info` must be None: `fit` was given no item_info'),
    (lambda r: r.fold_in({7: 5}, unknown='na'), ValueError, "`unknown` must be 'raise' or 'skip', got 'na'"),
    (lambda r: r.set_params(wd=-1), ValueError, '`wd` must be'),
    (lambda r: r.set_params(dropout=1), ValueError, 'got dropout'),
    (lambda r: Recommender(method='svd'), ValueError, "`method` must be None or 'bayes' or 'lesson', got 'svd'"),
    (lambda r: Recommender(method='bayes', wd=.1), ValueError, "`wd` must be None with method='bayes', got 0.1"),
    (lambda r: Recommender(draws=9, epochs=1), ValueError, "`draws` must be 0 with method='lesson', got 9"),
    (lambda r: Recommender(repeats='first'), ValueError, "`repeats` must be 'last' or 'mean' or 'raise', got 'first'"),
    (lambda r: Recommender(scale=(5, 1)), ValueError, '`scale` must go from a lower to a higher number, got (5, 1)'),
    (lambda r: Recommender(scale=(1, 4)).fit(table(), progress=False), ValueError, "`df['rating']` must lie on the scale (1, 4), got 1.0 … 5.0"),
    (lambda r: Recommender(epochs=1).fit(table(), progress=False, user_info=table()), ValueError, "`user_info` must be None with method='lesson'"),
    (lambda r: r.similar(1.0), TypeError, '`item` must be one ID, int as in training, got 1.0'),
    (lambda r: r.explain(100, True), TypeError, '`item` must be one ID, int as in training, got True'),
    (lambda r: r.fold_in({101: 5.2}), ValueError, '`ratings[101]` must be a finite number in [1.0, 5.0], got 5.2'),
    (lambda r: r.fold_in({101: 0}), ValueError, '`ratings[101]` must be a finite number in [1.0, 5.0], got 0'),
    (lambda r: r.fold_in({'101': 5}), TypeError, "`ratings` must hold int, as in training, got '101'"),
    (lambda r: r.fold_in({101: 5}, min_ratings=-1), ValueError, '`min_ratings` must be an integer of at least 0, got -1'),
    (lambda r: r.recommend(100, min_ratings=None), TypeError, '`min_ratings` must be an integer of at least 0, got None'),
    (lambda r: r.recommend('100'), TypeError, "`user` must be one ID, int as in training, got '100'"),
    (lambda r: r.similar(101, n=0), ValueError, '`n` must be an integer of at least 1, got 0'),
    (lambda r: r.evaluate(table().astype({'user': str})), TypeError, "`df['user']` must hold int, as in training, got '"),
    (lambda r: r.predict(table().astype({'item': str})), TypeError, "`df['item']` must hold int, as in training, got '"),
    (lambda r: r.predict(pd.DataFrame({'user': [100, 'x'], 'item': 101}), unknown='na'), TypeError, "`df['user']` must hold int, as in training, got 'x'"),
    (lambda r: r.predict(table(), unknown='no'), ValueError, "`unknown` must be 'raise' or 'na', got 'no'"),
    (lambda r: Recommender().fit(table(names=str), progress=False).evaluate(table()), TypeError, "`df['user']` must hold str, as in training, got "),
    (lambda r: Recommender(y_range=(0, 6)).fit(table().assign(rating=1), progress=False), ValueError,
     "`df['rating']` must hold at least two different ratings, got only 1.0: nothing says what is liked better; for clicks, feedback='implicit'"),
    (lambda r: r.fold_in([5]), TypeError, '`ratings` must be a dict of item -> rating, got list'),
    (lambda r: r.evaluate(table()[:0]), ValueError, '`df` must have at least one row, got none'),
    (lambda r: r.evaluate(table(), k=0), ValueError, '`k` must be an integer of at least 1, got 0'),
])
def test_it_is_refused_in_words(fitted, words, call, error, words_):
    with pytest.raises(error) as e: call(fitted)
    assert words_ in str(e.value)


def test_names_that_look_alike_keep_their_terms():
    df = pd.DataFrame({'user': ['101', '102']*2, 'item': ['user 101', 'user 101', 'x', 'x'], 'rating': [1, 2, 3, 4]})
    small = Recommender(n_factors=2, epochs=1).fit(df, progress=False)
    why = small.explain('101', 'user 101')
    assert len(why)==5 and why.sum()==pytest.approx(why.attrs['score'])
    assert len(small.similar('x'))==1  # two ratings: the default asks for no more than there are


def test_similar_finds_n_items_beside_one_bestseller():
    df = pd.concat([table(), pd.DataFrame({'user': np.arange(100, 190), 'item': 999, 'rating': 3})])
    made = Recommender(n_factors=2, epochs=1).fit(df[300:], progress=False)
    assert [len(made.similar(101, n=n)) for n in (1, 10, 19, 20, 500)]==[1, 10, 19, 20, 20] and made.similar(101, n=1).index[0]==999


@pytest.mark.parametrize('scale', [1., .1])
@pytest.mark.parametrize('method', ['bayes', 'lesson'])
def test_nothing_leaves_the_scale(scale, method):
    "Ratings of two kinds, .3 and 4.7: beyond them nothing is predicted, and what is clipped keeps its order"
    df = table().assign(rating=lambda df: scale*np.where((df.user+df.item) % 2, 47, 3))
    made = Recommender(4, method=method).fit(df, progress=False)
    view = made.view
    made.view = view._replace(items=10*view.items) if method=='bayes' else view._replace(items=10*view.items, y_range=(scale*-5000, scale*5050))
    best, folded = made.recommend(100, n=20, exclude_seen=False, by='rating'), made.fold_in({101: float(df.rating.max()), 102: float(df.rating.min())}, n=20)
    low, high = made.range
    assert (low, high)==pytest.approx((df.rating.min(), df.rating.max()))
    for shown in (best.prediction, folded.prediction, made.predict(df)): assert shown.between(low, high).all()
    assert {low, high}<=set(best.prediction) and made.explain(100, best.index[0]).attrs['prediction']==best.prediction.iloc[0]>best.prediction.iloc[-1]
    users, items = made.view.users[1], made.view.items[made.data.items.index(best.index)]
    scores = (items@users).tolist()
    assert scores==sorted(scores, reverse=True)


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
    (lambda b: b[:-50]+bytes([b[-50]^8])+b[-49:], 'do not match the stored checksum'),
    (lambda b: b'', 'cannot be read'),
    (lambda b: b'\x80\x04\x95', 'cannot be read'),  # the beginning of a pickle
])
def test_a_damaged_file_is_refused_in_words(fitted, tmp_path, change, words_):
    path = fitted.save(tmp_path/'x')
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=words_): Recommender.load(path)


def test_a_file_of_another_format_is_refused(tmp_path):
    save_file({'a': torch.ones(1)}, tmp_path/'x', {'lesson8lib': '3'})
    with pytest.raises(ValueError, match='of format 3, which a newer lesson8lib wrote'): Recommender.load(tmp_path/'x')


def test_500_random_damages_are_refused(tmp_path):
    "Names, settings and range as well as numbers: test_files.py flips every single byte"
    whole, rng = Recommender().fit(table(30, 4, 8), progress=False).save(tmp_path/'x').read_bytes(), np.random.default_rng(0)
    for _ in range(500):
        at = rng.integers(len(whole))
        damaged = whole[:at] if rng.random()<.3 else whole[:at]+bytes([whole[at]^rng.integers(1, 256)])+whole[at+1:]
        with pytest.raises(ValueError, match='`path` must be a saved recommender'): Recommender.load(io.BytesIO(damaged))


# four ratings of tea and jam, saved by a version that kept no history
OLD = ('c-oy)&1%~~5LQw`a_ha9hCTGOnElgQk{gm!A(vcww2ZndtsDnM3f7v$7>7JTA#V`!208Rnmp(wRg<jfMNX|WWcV)FMCWS^YFyG96-+as<@0sVm8Ay^-r9~#RND>guK%wfoDuZGqK?E>>K*(yMO+Jf3'
       't+XDM!#W1hu7PEei&R%*hcVoZfjX<w<3F$%+Z1&W@+~~i8t8h`Ju4?gVbL@hi*l$|OOskTdYjqWNUPJP)?~Ie7S>Z!ZF5_%m2&eKnK#dt`hC<fZv2ivXs0+Q{TPU{Y^bu5F&MN1+xCfAPSi@6_T22I'
       'J{H91W;rRxK}Z>Ac}~M_=p)W~mZh1*hy@5?nlVPPqCV+LB)T#XIm0N$DIvu7LkZ^4%}V4*)b<RSo}MWq{DzWdjzxVsfWV!q%5!rJ^Rka1CWDr}yvIKTAYPZi1QKR7>@xn}0b!8x-}I+hpd7NmYD^y|'
       'vUM5@Aa~9$R%wTS(;!(Vat1@=d49C_qxb#mhu*ul8?S$Mhab1@zbv+2UiaYTw?%%(KE0sZi}3kFByZnGJD*?mJn!nj{5B@8_C4?BVAFs$HkPrP{{mZ={_g')


def test_a_file_of_an_older_version_still_loads():
    old = Recommender.load(io.BytesIO(zlib.decompress(base64.b85decode(OLD))))
    pairs = pd.DataFrame({'user': ['ann', 'bob'], 'item': 'tea'})
    assert old.predict(pairs).tolist()==pytest.approx([2.996087, 3.007302], abs=1e-6) and old.history.empty


def test_an_open_file_will_do(fitted):
    file = fitted.save(io.BytesIO())
    file.seek(0)
    assert Recommender.load(file).predict(table()).equals(fitted.predict(table()))


@pytest.mark.skipif(os.name=='nt', reason='permissions and links of POSIX')
def test_saving_keeps_permissions_and_links_and_the_old_file_if_it_fails(fitted, tmp_path, monkeypatch):
    real, link, new = tmp_path/'real', tmp_path/'link', tmp_path/'new'
    real.touch(), real.chmod(0o664), link.symlink_to('real')
    before, mask = fitted.save(link).read_bytes(), os.umask(0o027)
    fitted.save(new), os.umask(mask)
    assert [stat.S_IMODE(p.stat().st_mode) for p in (real, new)]==[0o664, 0o640] and link.is_symlink() and before==real.read_bytes()

    def full(*_): raise OSError('no space left')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(ValueError, match='`path` could not be written, .*link: no space left'): Recommender(n_factors=1, epochs=1).fit(table(), progress=False).save(link)
    assert real.read_bytes()==before and {p.name for p in tmp_path.iterdir()}=={'real', 'link', 'new'}
    (tmp_path/'loop').symlink_to('loop')
    for path in (os.devnull, tmp_path/'loop'):
        with pytest.raises(ValueError, match='`path` must be a file in a folder that exists'): fitted.save(path)


def test_a_place_that_cannot_be_written_is_refused_in_words(fitted, tmp_path):
    for path in (tmp_path, tmp_path/'none'/'x'):
        with pytest.raises(ValueError, match='`path` must be a file in a folder that exists'): fitted.save(path)


def test_the_batch_grows_with_the_table(monkeypatch):
    asked = []
    monkeypatch.setattr('lesson8lib.recommender.fit', lambda model, data, bs, **args: asked.append((len(data[1]), bs)))
    for n in (50, 600): Recommender(n_factors=1, method='lesson').fit(table(n), progress=False)
    Recommender(n_factors=1, bs=7).fit(table(50), progress=False)
    many = pd.DataFrame({'user': np.arange(80_000) % 400, 'item': np.arange(80_000)//400, 'rating': np.arange(80_000) % 5})
    Recommender(n_factors=1, method='lesson').fit(many, progress=False)
    assert asked==[(50, 64), (600, 64), (50, 7), (80_000, 512)]


@pytest.mark.parametrize('of', ['user', 'item'])
@pytest.mark.parametrize('make', [lambda: DotProductBias(31, 21, 4, (0, 6)), lambda: DotProductBias(31, 21, 4, None),
    lambda: HybridCollab(31, 21, torch.randn(31, 3), torch.randn(21, 2), n_factors=4, n_hidden=8, y_range=(0, 6))], ids=['range', 'no range', 'hybrid'])
def test_folding_in_finds_the_best_compromise(make, of):
    "No other row near it has a smaller sum of squared errors and distance from the crowd, with the new user's metadata if they are known"
    torch.manual_seed(0)
    data, model, other = RatingsData.from_df(table(), item='item', valid_pct=0.), make(), {'user': 'item', 'item': 'user'}[of]
    fit(model, data.train, epochs=10, lr=.05, wd=.01, seed=0)
    index, stars = torch.tensor([3, 5, 9]), torch.tensor([5., 4, 1])
    def rows_of(side): return torch.cat([getattr(model, f'{side}_factors'), getattr(model, f'{side}_bias')[:,None]], 1).detach()
    sights, noise = rows_of(other)[index], evaluate(model, data.train)['loss']
    for meta in ([None, torch.randn(3 if of=='user' else 2)] if isinstance(model, HybridCollab) else [None]):
        crowd = rows_of(of)[1:] if meta is None else (getattr(model, f'{of}s').own[1:] + meta@getattr(model, f'{of}s').from_meta).detach()
        mean, precision = crowd.mean(0), torch.linalg.inv(torch.cov(crowd.T)+1e-6*torch.eye(5))
        row = torch.cat([p.reshape(-1) for p in fold_in(model.train(), data, index, stars, of=of, meta=meta, steps=20)])
        assert model.training
        model.eval()

        def cost(row, mean=mean, precision=precision):
            score = sights[:,:-1]@row[:-1]+sights[:,-1]+row[-1]
            pair = (row.expand_as(sights), sights) if of=='user' else (sights, row.expand_as(sights))
            pred = rate_embeddings(*pair, model) if isinstance(model, HybridCollab) else score if model.y_range is None else 6*torch.sigmoid(score)
            return float((((stars-pred)**2).sum()/noise + (row-mean)@precision@(row-mean)).detach())

        best = cost(row)
        for i in range(100): assert cost(row+.05*torch.randn(5, generator=new_generator(i))*crowd.std(0))>=best-1e-3
        assert best<cost(mean)


@pytest.mark.parametrize('side', ['user', 'item'])
def test_what_is_known_by_metadata_alone_is_typical_plus_its_metadata(side):
    model = HybridCollab(9, 7, torch.randn(9, 3), torch.randn(7, 2), n_factors=4, n_hidden=0, generator=new_generator(0)).eval()
    meta = torch.randn(2, 3 if side=='user' else 2)
    mine, theirs = (model.users, model.items) if side=='user' else (model.items, model.users)
    row = mine.own[1:].mean(0) + meta[1]@mine.from_meta
    others = theirs.own + theirs.meta@theirs.from_meta
    by_hand = 5.5*torch.sigmoid(others[:,:-1]@row[:-1] + others[:,-1] + row[-1])
    found = model.for_new_user(meta) if side=='user' else model.for_new_item(meta)
    assert found.shape==(2, len(others)) and torch.allclose(found[1], by_hand, atol=1e-5)


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


def test_hidden_rows_are_typical_ones():
    model = HybridCollab(40, 3, torch.zeros(40, 1), n_factors=2, n_hidden=0, hide_users=1.)
    who, what = torch.arange(40), torch.zeros(40).long()
    rows = model.users(who, what)
    assert torch.allclose(rows, model.users.own[1:].mean(0).expand_as(rows))
    assert torch.equal(model.eval().users(who, what), model.users.own)
    assert torch.equal(model.train().user_factors, model.users.own[:,:-1])  # what is read is never hidden, not even in training mode


# ---- what both methods, and clicks alone, have in common
KINDS = {'bayes': {}, 'draws': {'draws': 8}, 'lesson': {'method': 'lesson'}, 'clicks': {'feedback': 'implicit'}}

@pytest.fixture(scope='module', params=KINDS)
def made(request): return Recommender(4, **KINDS[request.param]).fit(table()[:400], progress=False)

def rated(made, ratings): return list(ratings) if made.feedback=='implicit' else ratings

def state(made): return copy.copy(made)


def test_everything_survives_saving(made, tmp_path):
    again = Recommender.load(made.save(tmp_path/'x'))
    assert repr(again)==repr(made) and again.get_params()==made.get_params() and again.history.equals(made.history) and again.users==made.users
    assert again.recommend(n=3).equals(made.recommend(n=3)) and again.similar(103, min_ratings=0).equals(made.similar(103, min_ratings=0))
    new = rated(made, {101: 5, 102: 1})
    assert again.fold_in(new).equals(made.fold_in(new))
    assert again.evaluate(table()[400:])==made.evaluate(table()[400:])
    for r in (again, made): r = state(r); r.add_user(7, new); assert r.recommend(7, n=3).equals(state(made).add_user(7, new).recommend(7, n=3))
    if made.model is not None: assert again.predict(table()).equals(made.predict(table())) and again.explain(100, 101).equals(made.explain(100, 101))


def test_a_list_for_many_holds_the_list_of_each(made):
    everyone = made.recommend(n=4)
    assert list(everyone.user.unique())==made.users and everyone['rank'].between(1, 4).all()
    for user,mine in everyone.groupby('user'):
        one = made.recommend(user, n=4)
        assert mine.item.tolist()==one.index.tolist() and mine['rank'].tolist()==list(range(1, 1+len(one)))
        assert np.allclose(mine[one.columns], one)
    some = made.recommend([105, 101], n=2)
    assert some.user.tolist()==[105]*2+[101]*2 and made.recommend(pd.Series([105]), n=2).user.tolist()==[105]*2


def test_who_is_added_gets_what_folding_in_gives(made):
    new, copied = rated(made, {101: 5, 104: 1, 107: 4}), state(made)
    copied.add_user(7, new)
    folded, added = made.fold_in(new, n=5), copied.recommend(7, n=5)
    assert folded.index.tolist()==added.index.tolist() and 7 in copied.users and 7 not in made.users
    if made.model is not None: assert np.allclose(folded.prediction, added.prediction, atol=1e-5)
    assert len(copied.data.train[1])==403 and made.recommend(100).equals(copied.recommend(100).assign(ratings=made.recommend(100).ratings))


def test_unknown_items_can_be_skipped(made):
    with pytest.raises(KeyError, match='2 unknown items: 1, 2'): made.fold_in(rated(made, {101: 5, 1: 5, 2: 1}))
    assert made.fold_in(rated(made, {101: 5, 1: 5, 2: 1}), unknown='skip').equals(made.fold_in(rated(made, {101: 5})))


def test_candidates_and_exclusions_hold(made):
    seen = set(table()[:400].query('user==100').item)
    assert set(made.recommend(100, items=[101, 102, 103, 104]).index)=={101, 102, 103, 104}-seen
    assert not {101, 102}&set(made.recommend(100, n=50, exclude=[101, 102]).index) and len(made.recommend(100, items=[]))==0
    assert set(made.recommend(100, n=50, exclude_seen=False).index)==set(made.items)
    assert made.fold_in(rated(made, {103: 5}), items=[103, 105]).index.tolist()==[105]


def test_copies_and_pickles_answer_alike_and_go_their_own_way(made):
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), copy.copy(made)):
        before = made.recommend(100, n=5)
        assert again.recommend(100, n=5).equals(before) and repr(again)==repr(made)
        again.add_user(7, rated(made, {101: 5}))
        assert 7 not in made.users and made.recommend(100, n=5).equals(before)
    assert pickle.loads(pickle.dumps(Recommender(3))).n_factors==3


def test_an_update_after_a_change_of_settings_is_a_fit(made):
    one = state(made).set_params(n_factors=3)
    assert one.update(table()[400:500]).recommend(n=2).notna().all(axis=None)


def test_tensors_and_arrays_of_ids_are_lists_of_ids(made):
    for ids in (torch.tensor([100, 101]), np.array([100, 101]), pd.Series([100, 101])): assert made.recommend(ids, n=2).equals(made.recommend([100, 101], n=2))


def test_threads_answer_as_one(made):
    answers = [made.recommend(u, n=5) for u in made.users]
    with ThreadPoolExecutor(8) as pool: again = list(pool.map(lambda u: made.recommend(u, n=5), made.users*4))
    assert all(a.equals(b) for a,b in zip(again, answers*4, strict=True))


def test_an_update_learns_new_ratings_users_and_items(made):
    copied, df = state(made), table()
    new = pd.concat([df[400:500], pd.DataFrame({'user': [7, 8], 'item': [9, 101], 'rating': [5, 1]})])
    copied.update(new)
    assert len(copied.data.train[1])==502 and copied.users[-2:]==[7, 8] and copied.items[-1]==9 and len(made.users)==30
    assert copied.recommend(7, n=50).index.tolist().count(9)==0 and len(copied.recommend(7, n=50))==20
    copied.update(new[:50])  # the same ratings again change no number of ratings
    assert len(copied.data.train[1])==502
    if made.model is not None: assert copied.evaluate(df[500:])['rmse']<made.evaluate(df[500:])['rmse']+.05


# ---- Bayes
@pytest.fixture(scope='module')
def bayes(): return Recommender(4).fit(table()[:400], progress=False)


def test_predictions_lists_explanations_and_intervals_agree(bayes):
    df = table()[400:450]
    found, mean, variance = bayes.predict(df, interval=.8), *bayes.model.predict(torch.stack([bayes.data.users.index(df.user), bayes.data.items.index(df.item)], 1))
    half = norm.ppf(.9)*variance.sqrt()
    for name,exact in (('prediction', mean), ('low', mean-half), ('high', mean+half)): assert np.allclose(found[name], exact.clamp(1, 5), atol=1e-9)
    assert np.allclose(bayes.predict(df), found.prediction, atol=1e-5) and found.index.equals(df.index)
    why = bayes.explain(df.user.iloc[0], df.item.iloc[0], n=9)
    assert why.sum()==pytest.approx(mean[0].item(), abs=1e-5) and why.index[0]=='mean of all ratings'
    best = bayes.recommend(100, n=20, interval=.8, exclude_seen=False, by='rating')
    assert (best.low<=best.prediction).all() and (best.prediction<=best.high).all() and best.prediction.is_monotonic_decreasing


@pytest.mark.parametrize('level', [.5, .8, .95])
def test_intervals_contain_what_they_promise(level):
    df = table(20*90, 90, 20, seed=1)
    r = np.random.default_rng(2)
    df['rating'] = 3+r.normal(0, .6, 1000)[df.user]+r.normal(0, .8, 1000)[df.item]+r.normal(0, 1, len(df))
    made = Recommender(2).fit(df[:1200], progress=False)
    found = made.predict(df[1200:], interval=level)
    inside = df[1200:].rating.clip(*made.range).between(found.low, found.high).mean()
    assert abs(inside-level)<.05


@pytest.mark.parametrize('shift', [0, 1_700_000_000, -1e6])
def test_ratings_of_any_size_are_learned(shift):
    df = table().assign(rating=lambda df: df.rating+shift)
    made, plain = Recommender(4).fit(df[:400], progress=False), Recommender(4).fit(table()[:400], progress=False)
    assert np.allclose(made.predict(df)-shift, plain.predict(table()), atol=1e-4)
    assert made.evaluate(df[400:])['rmse']==pytest.approx(plain.evaluate(table()[400:])['rmse'], abs=1e-4)


@pytest.mark.parametrize('unit', [.1, 20])
def test_lists_do_not_depend_on_the_unit_of_the_ratings(unit):
    df = table()[:400]
    a, b = (Recommender(4).fit(df.assign(rating=df.rating*u), progress=False).recommend(n=5) for u in (1, unit))
    assert a.item.tolist()==b.item.tolist() and np.allclose(a.prediction*unit, b.prediction, rtol=1e-5)


@pytest.mark.parametrize('policy, expected', [('last', 1.), ('mean', 3.)])
def test_repeats_follow_the_policy(policy, expected):
    df = pd.concat([table()[:100], pd.DataFrame({'user': 7, 'item': 101, 'rating': [5., 3, 1]})])
    made = Recommender(repeats=policy).fit(df, progress=False)
    x, y = made.data.train
    mine = x[:,0]==made.data.users.index(7)
    assert y[mine].tolist()==[expected] and len(y)==101 and made.counts.sum()==101
    with pytest.raises(ValueError, match=r"got 2 repeats, the first of \(7, 101\); repeats='last' or 'mean' accepts them"): Recommender(repeats='raise').fit(df, progress=False)


def test_repeats_of_one_user_do_not_count_as_many():
    df = table()[:200]
    often = pd.concat([df, *[pd.DataFrame({'user': [101], 'item': [df.item[0]], 'rating': [5.]})]*50])
    once = pd.concat([df, pd.DataFrame({'user': [101], 'item': [df.item[0]], 'rating': [5.]})])
    assert Recommender(2).fit(often, progress=False).recommend(n=3).equals(Recommender(2).fit(once, progress=False).recommend(n=3))


@pytest.mark.parametrize('ratings, warned', [([0]*300+[1]*20+[8]*280, True), ([0]*100+[1]*100+[2]*400, False), ([0]*10+[1]*0+[5]*590, False), ([-1]*100+[0]*400+[1]*100, False)])
def test_zeros_that_look_like_missing_ratings_are_pointed_out(ratings, warned):
    df = table().assign(rating=ratings).sample(frac=1, random_state=0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        Recommender(1).fit(df, progress=False)
    assert [('if 0 stands for "not rated"' in str(w.message)) for w in told]==[True]*warned
    if warned: eval(str(told[0].message).split('fit to ')[1])  # the advice can be typed


def test_a_wide_table_gets_a_line_that_works():
    df = table(names=str)
    wide = df.pivot_table(index='user', columns='item', values='rating')
    for given in (wide, wide.reset_index()):
        with pytest.raises(KeyError) as e: Recommender().fit(given, progress=False)
        advice = e.value.args[0].split('for each item: ')[1]
        assert len(eval(advice, {'df': given}))==len(df)
        Recommender(1).fit(eval(advice, {'df': given}), progress=False)


def test_scikit_learn_can_clone_and_search_it():
    made = Recommender(3, scale=(0, 6), repeats='mean')
    again = clone(made)
    assert again.get_params()==made.get_params() and again is not made and again.model is None
    assert repr(made.set_params(n_factors=2, scale=None))=="Recommender(n_factors=2, repeats='mean')"
    assert "400 ratings of 20 items by 30 users" in repr(made.fit(table()[:400], progress=False))


# ---- metadata
USERS = pd.DataFrame({'user': range(100, 140), 'age': np.arange(40)%7, 'club': ['red', 'blue']*20})
ITEMS = pd.DataFrame({'item': [*range(100, 120), 300], 'kind': ['red', 'blue']*10+['blue'], 'weight': 1.})


@pytest.fixture(scope='module')
def informed(): return Recommender(2).fit(table()[:400], progress=False, user_info=USERS, item_info=ITEMS)


def test_who_has_only_metadata_is_known(informed, tmp_path):
    assert 139 in informed.users and 300 in informed.items and len(informed.users)==40
    both = pd.DataFrame({'user': [138, 139, 138, 139], 'item': [300, 300, 101, 101]})
    found = informed.predict(both, interval=.9)
    assert found.prediction.nunique()>1 and (found.high-found.low).min()>0
    again = Recommender.load(informed.save(tmp_path/'x'))
    assert again.predict(both, interval=.9).equals(found)
    new = {'age': 3, 'club': 'red'}
    assert again.fold_in({101: 5}, info=new).equals(informed.fold_in({101: 5}, info=new))
    assert not informed.fold_in({101: 5}, info=new).prediction.equals(informed.fold_in({101: 5}).prediction)


def test_new_ones_have_the_metadata_that_they_are_given(informed):
    one = copy.copy(informed)
    one.add_user(7, info={'club': 'blue', 'age': 4}).add_item(9, info={'kind': 'red'}).add_item(10)
    like = USERS[(USERS.club=='blue') & (USERS.age==4) & ~USERS.user.isin(table()[:400].user)]
    assert len(like)
    pairs = pd.DataFrame({'user': [7, like.user.iloc[0]], 'item': 101})
    assert np.ptp(one.predict(pairs))<.01  # who was there without ratings may rate a little less
    later = one.update(pd.DataFrame({'user': [555], 'item': [9], 'rating': [5]}), user_info=pd.DataFrame({'user': [555], 'age': [1], 'club': ['red']}))
    assert 555 in later.users and len(later.meta['user'])==len(later.users)+1


def test_an_update_replaces_the_metadata_that_it_is_given_and_no_other(informed):
    one, new = copy.copy(informed), pd.DataFrame({'user': [101, 777], 'age': [6, 0], 'club': ['red', 'red']})
    one.update(table()[:1], user_info=new)
    at, before = one.data.users.index([101, 777, 102]), informed.meta['user']
    assert torch.equal(one.meta['user'][at[:2]], informed.info['user'].encode(new)) and not torch.equal(one.meta['user'][at[0]], before[at[0]])
    assert torch.equal(one.meta['user'][at[2]], before[at[2]]) and torch.equal(informed.meta['user'], before) and len(before)==41<len(one.meta['user'])==42


@pytest.mark.parametrize('call, error, words_', [
    (lambda r: r.add_user(7, info={'height': 3}), KeyError, "`info` must have the columns ['age', 'club'], got 'height'"),
    (lambda r: r.add_user(7, info={'club': 'green'}), KeyError, "1 unknown words in `info['club']`: ['green']"),
    (lambda r: r.add_user(7, info={'age': '34'}), TypeError, "`info['age']` must hold numbers, got str"),
    (lambda r: r.add_user(7, info=USERS.iloc[0]), TypeError, '`info` must be a dict of column -> value, got Series'),
    (lambda r: r.add_user(7, pd.Series({101: 5})), TypeError, '`ratings` must be a dict of item -> rating, got Series'),
    (lambda r: r.recommend([[100]]), TypeError, '`user` must be a list of IDs, got [100] in it'),
    (lambda r: r.update(table()[:5].assign(user=7), user_info=USERS.assign(club='green')), KeyError, "1 unknown words in `user_info['club']`"),
    (lambda r: Recommender().fit(table(), progress=False, user_info=USERS[['user']]), ValueError, "`user_info` must have columns beside 'user', got none"),
    (lambda r: Recommender().fit(table(), progress=False, user_info=USERS.assign(age=np.inf)), ValueError, "`user_info['age']` must hold finite numbers"),
    (lambda r: Recommender().fit(table(), progress=False, user_info=pd.concat([USERS, USERS[:1].assign(user=None)])), ValueError, "`user_info['user']` must have a name in every row, got 1 missing"),
    (lambda r: Recommender().fit(table(names=str), progress=False).add_user('#na#'), ValueError, "`user` must not contain '#na#'"),
    (lambda r: Recommender(feedback='implicit').fit(table(), progress=False).recommend(100, interval=.9), ValueError, "`interval` must be None with feedback='implicit', got .9".replace('.9', '0.9')),
    (lambda r: Recommender(feedback='implicit').fit(table(names=str), progress=False).fold_in('item 001'), TypeError, '`ratings` must be a list of IDs, got str'),
    (lambda r: Recommender(feedback='implicit', draws=5), ValueError, "`draws` must be 0 with feedback='implicit', got 5: it would have no effect"),
    (lambda r: Recommender(feedback='implicit', epochs=5), ValueError, "`epochs` must be None with feedback='implicit', got 5"),
    (lambda r: Recommender(feedback='implicit', method='lesson'), ValueError, "`method` must be None with feedback='implicit', got 'lesson'"),
    (lambda r: Recommender(implicit='implicit'), ValueError, "`implicit` must be True or False, got 'implicit'"),
    (lambda r: Recommender(item='prediction'), ValueError, "`item` must not be 'prediction', which is a column of the results"),
    (lambda r: Recommender().fit(table(), progress=False, user_info=USERS.drop(columns='user')), KeyError, "`user_info` must have the column 'user'"),
    (lambda r: Recommender().fit(table(), progress=False, user_info=USERS.astype({'user': str})), TypeError, "`user_info['user']` must hold int, as in training, got '"),
    (lambda r: Recommender().fit(table(), progress=False, item_info=ITEMS.assign(name=[f'n{i}' for i in range(21)])), ValueError,
     "`item_info['name']` must hold values that rows share, got 21 different texts in 21 rows: leave it out"),
    (lambda r: r.update(table()[:5].assign(item=range(5)), item_info=ITEMS.drop(columns='kind')), KeyError, 'kind'),
    (lambda r: Recommender(feedback='implicit').fit(table(), user_info=USERS, progress=False), ValueError, "`user_info` must be None with method='lesson' and with feedback='implicit'"),
    (lambda r: Recommender(feedback='implicit').fit(table(), progress=False).predict(table()), ValueError, "ratings cannot be predicted with feedback='implicit'"),
    (lambda r: Recommender(feedback='implicit').fit(table(), progress=False).recommend(100, by='rating'), ValueError, "`by` must be 'choice', got 'rating'"),
])
def test_metadata_and_clicks_are_refused_in_words(informed, words, call, error, words_):
    with pytest.raises(error) as e: call(copy.copy(informed))
    assert words_ in str(e.value)


def test_an_update_knows_who_has_only_metadata(informed):
    one, more = copy.copy(informed), pd.DataFrame({'user': [600, 601], 'age': [1, 6], 'club': ['red', 'blue']})
    one.update(pd.DataFrame({'user': [600], 'item': [101], 'rating': [5]}), user_info=more)
    assert {600, 601}<=set(one.users) and (one.meta['user'][-2:]!=0).any(1).all() and 601 not in informed.users


def test_columns_need_not_be_text(tmp_path, words):
    plain = table().rename(columns={'user': 0, 'item': 1, 'rating': 2})
    made = Recommender(3, user=0, item=1, rating=2).fit(plain, progress=False, user_info=USERS.rename(columns={'user': 0, 'age': 3, 'club': 4}))
    again = Recommender.load(made.save(tmp_path/'x'))
    assert again.fold_in({101: 5}, info={3: 2, 4: 'red'}).equals(made.fold_in({101: 5}, info={3: 2, 4: 'red'}))
    clicks = Recommender(user=0, item=1, rating=2, feedback='implicit').fit(plain[[0, 1]], progress=False)
    assert clicks.recommend(100, n=1, exclude_seen=False).index.name==1


def test_metadata_cannot_exhaust_the_memory():
    many = pd.DataFrame({'item': range(100, 5100), 'author': [f'a{i//2}' for i in range(5000)]})
    with pytest.raises(ValueError, match="`item_info` must have at most 2,000 numeric columns and different words in text, got 2,500, most of them in 'author'"):
        Recommender().fit(table(), progress=False, item_info=many)


@pytest.mark.parametrize('scale', [[0, 6], np.array([0, 6]), (np.float32(0), np.int64(6))])
def test_a_scale_of_any_kind_is_kept(scale, tmp_path, words):
    made = Recommender(3, scale=scale).fit(table(), progress=False)
    again = Recommender.load(made.save(tmp_path/'x'))
    assert made.range==again.range==(0, 6) and repr(made).startswith('Recommender(n_factors=3, scale=') and clone(made).scale is not None


def test_factors_of_clicks_are_as_many_as_asked_for():
    for n in (5, 48): assert Recommender(None if n==48 else n, feedback='implicit').fit(table(), progress=False).choice['q'].shape[1]==n


@pytest.mark.parametrize('change', [
    lambda t: t | {'x': t['x']+10**9}, lambda t: t | {'x': t['x'].float()}, lambda t: {k: v for k,v in t.items() if k!='model.item_mean'}, lambda t: t | {'choice.p': t['choice.p'][1:]},
    lambda t: t | {'model.user_mean': t['model.user_mean'][:-1], 'model.user_cov': t['model.user_cov'][:-1]}, lambda t: t | {'users.int64': t['users.int64'][:-1]}, lambda t: {}])
def test_a_file_with_the_right_checksum_and_parts_that_do_not_fit_is_refused(change, informed, tmp_path, words):
    about, tensors = load_tensors(informed.save(tmp_path/'x'), 'recommender', newest=2)
    with pytest.raises(ValueError, match='`path` must be a saved recommender.* whose parts do not fit together'):
        Recommender.load(save_tensors(tmp_path/'y', change(tensors), about, 'recommender', number=2))


def test_a_new_user_costs_no_pass_over_all_ratings(informed):
    "Whatever needs the training ratings was computed when they were learned"
    one = copy.copy(informed)
    expected = one.fold_in({101: 5, 103: 1}), one.fold_in({})
    one.data = one.data._replace(train=None)
    assert all(a.equals(b) for a,b in zip(expected, (one.fold_in({101: 5, 103: 1}), one.fold_in({})), strict=True))


def test_a_consistent_file_with_absurd_settings_allocates_nothing(fitted, tmp_path):
    "Its checksum is right: sizes come from the tensors, never from the settings"
    about, tensors = load_tensors(fitted.save(tmp_path/'x'), 'recommender', newest=2)
    about['settings']['n_factors'] = 10**12
    again = Recommender.load(save_tensors(tmp_path/'y', tensors, about, 'recommender', number=2))
    assert again.recommend(100).equals(fitted.recommend(100))
