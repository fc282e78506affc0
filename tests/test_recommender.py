"`Recommender` on tables of its own: what it promises holds for any of them, whatever the names"
import base64
import io
import json
import math
import os
import stat
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.metrics import ndcg_score

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib import recommender
from lesson8lib.cold_start import fold_in
from lesson8lib.data import Vocab
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
    with safe_open(tmp_path/'x', 'pt') as f: about = json.loads(f.metadata()['about'])
    assert about['users']==sorted(set(df.user[:400].tolist())) and again.history.equals(made.history)


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
    (lambda r: r.recommend(None), TypeError, '`user` must be one ID, int as in training, got None'),
    (lambda r: r.recommend([100]), TypeError, '`user` must be one ID, int as in training, got [100]'),
    (lambda r: r.similar(1.0), TypeError, '`item` must be one ID, int as in training, got 1.0'),
    (lambda r: r.explain(100, True), TypeError, '`item` must be one ID, int as in training, got True'),
    (lambda r: r.fold_in({101: 5.2}), ValueError, '`ratings[101]` must be a finite number in [1.0, 5.0], got 5.2'),
    (lambda r: r.fold_in({101: 0}), ValueError, '`ratings[101]` must be a finite number in [1.0, 5.0], got 0'),
    (lambda r: r.fold_in({'101': 5}), TypeError, "`list(ratings)` must hold int, as in training, got '101'"),
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
     "`df['rating']` must hold at least two different ratings, got only 1.0: nothing says what is liked better"),
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
def test_nothing_leaves_the_scale(scale):
    df = table().assign(rating=lambda df: scale*np.where((df.user+df.item) % 2, 47, 3))
    made = Recommender(n_factors=4, epochs=1).fit(df, progress=False)
    made.model.item_bias.data += 4*(torch.arange(21)%2*2-1)  # beyond 4.7 and below .3, before clipping
    best, folded = made.recommend(100, n=20, exclude_seen=False), made.fold_in({101: float(df.rating.max()), 102: float(df.rating.min())}, n=20)
    for shown in (best.prediction, folded.prediction, made.predict(df)):
        assert set(shown)=={np.float32(3*scale), np.float32(47*scale)}
    assert made.explain(100, best.index[0]).attrs['prediction']==best.prediction.iloc[0]>best.prediction.iloc[-1]
    scores = made.model(made.data.items.index(best.index)[:,None]*torch.tensor([0, 1])+torch.tensor([1, 0]))
    assert scores.tolist()==sorted(scores.tolist(), reverse=True) and scores[0]>47*scale  # in their order before clipping


def test_lists_are_judged_in_groups_that_fit_into_memory(fitted, monkeypatch):
    whole, sizes, lists = fitted.evaluate(table()[400:]), [], recommender._lists
    monkeypatch.setattr(recommender, '_lists', lambda r, group, *rest: sizes.append(len(group)) or lists(r, group, *rest))
    many = pd.DataFrame({'user': np.arange(3000) % 1000, 'item': np.arange(3000) % 2999, 'rating': np.arange(3000) % 5})
    made = Recommender(n_factors=2, epochs=1).fit(many, progress=False)
    made.data = made.data._replace(items=Vocab([*range(2**21)]))
    made.model = DotProductBias(1001, 2**21+1, 2)
    assert made.evaluate(many[:7])['coverage@10']>0 and sizes==[1]*7 and fitted.evaluate(table()[400:])==whole


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
    save_file({'a': torch.ones(1)}, tmp_path/'x', {'lesson8lib': '2'})
    with pytest.raises(ValueError, match='of format 2, which a newer lesson8lib wrote'): Recommender.load(tmp_path/'x')


def test_no_byte_of_a_saved_file_can_change_unnoticed(tmp_path):
    "Names, settings and range as well as numbers: each byte flipped in turn is refused in words"
    path = Recommender(n_factors=1, epochs=1).fit(table(30, 4, 8), progress=False).save(tmp_path/'x')
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i]+bytes([whole[i]^1])+whole[i+1:])
        with pytest.raises(ValueError, match='`path` must be a saved recommender'): Recommender.load(path)


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
    for n in (50, 600): Recommender(n_factors=1).fit(table(n), progress=False)
    Recommender(n_factors=1, bs=7).fit(table(50), progress=False)
    many = pd.DataFrame({'user': np.arange(80_000) % 50, 'item': np.arange(80_000) % 49, 'rating': np.arange(80_000) % 5})
    Recommender(n_factors=1).fit(many, progress=False)
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
