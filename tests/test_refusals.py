"Bad input that users are likely to give: each refusal names the argument, what was wanted and what came"
import numpy as np
import pandas as pd
import pytest
import torch

from lesson8lib.checks import check_range
from lesson8lib.collab import DotProductBias, RatingsData, sigmoid_range
from lesson8lib.data import Vocab
from lesson8lib.embedding import Embedding, create_params, one_hot
from lesson8lib.show import show_images, show_matrix, show_points
from lesson8lib.training import batches, evaluate, sgd_step

pytestmark = pytest.mark.usefixtures('words')
TABLE = pd.DataFrame({'user': ['ann', 'bob']*4, 'title': list('abcd')*2, 'rating': range(8)})
nan = float('nan')


def table(**columns): return RatingsData.from_df(TABLE.assign(**columns))


@pytest.mark.parametrize('call,error,words_', [
    # rows
    (lambda: Embedding(3, 2)([1, 2]), TypeError, '`index` must be a tensor of integers, got list'),
    (lambda: Embedding(3, 2)(torch.tensor([True, False])), TypeError, '`index` must hold integers, as indices of rows, got torch.bool'),
    (lambda: one_hot(torch.tensor([3]), 3), IndexError, '`index` must lie in 0…2, got 1 outside: 3'),
    (lambda: DotProductBias(3, 3)(torch.ones(1, 2)), TypeError, '`x` must hold integers, got torch.float32'),
    # sizes
    (lambda: create_params(3, std=-1), ValueError, '`std` must be a finite number of at least 0, got -1'),
    (lambda: one_hot(torch.tensor([0]), 0), ValueError, '`n` must be an integer of at least 1, got 0'),
    (lambda: Embedding(0, 3), ValueError, '`n` must be an integer of at least 1, got 0'),
    (lambda: DotProductBias(3, 0), ValueError, '`n_items` must be an integer of at least 1, got 0'),
    (lambda: DotProductBias(3, 3, 1.5), TypeError, '`n_factors` must be an integer of at least 1, got 1.5'),
    (lambda: DotProductBias(3, 3, y_range=5), TypeError, '`y_range` must be a pair (low, high), got 5'),
    (lambda: DotProductBias(3, 3, y_range=('a', 5)), TypeError, "`y_range` must be a finite number, got 'a'"),
    (lambda: check_range(float('inf'), 'wd', low=0), ValueError, '`wd` must be a finite number of at least 0, got inf'),
    (lambda: check_range(1234567, 'n', high=10), ValueError, '`n` must be a finite number of at most 10, got 1234567'),
    # tables of ratings
    (lambda: RatingsData.from_df([1, 2]), TypeError, '`df` must be a DataFrame of pandas or polars, got list'),
    (lambda: table(user=np.arange(8)/2), TypeError, "`df['user']` must be all str or all int, got users of type float"),
    (lambda: table(user=pd.date_range('2020', periods=8)), TypeError, "`df['user']` holds dates or times (datetime64)"),
    (lambda: table(title=['#na#', 'b']*4), ValueError, "`df['title']` must not contain '#na#', which stands for unknown items"),
    (lambda: table(user=['ann', None]*4), ValueError, "`df['user']` must have a value in every row, got 4 missing"),
    (lambda: table(rating=[True, False]*4), TypeError, "`df['rating']` must hold numbers, got bool"),
    (lambda: table(rating=[float('inf')]*8), ValueError, "`df['rating']` must hold finite numbers of at most 1e+18 in size, got 8 others, the first being inf"),
    (lambda: table(rating=[1e300]*8), ValueError, "`df['rating']` must hold finite numbers of at most 1e+18 in size, got 8 others, the first being 1e+300"),
    (lambda: table(rating=[1j]*8), TypeError, "`df['rating']` must hold numbers, got complex128"),
    (lambda: RatingsData.from_df(TABLE, user=['user']), TypeError, "`user` must be the name of one column, got ['user']"),
    (lambda: RatingsData.from_df(TABLE, item='user'), ValueError, "`user`, `item` and `rating` must be three columns, got ['user', 'user', 'rating']"),
    (lambda: RatingsData.from_df(TABLE, seed=-1), ValueError, '`seed` must be an integer of at least 0, got -1'),
    (lambda: RatingsData.from_df(pd.concat([TABLE, TABLE.user], axis=1)), ValueError, '`df` must have columns of different names'),
    (lambda: RatingsData.from_df(TABLE[::2]), ValueError, "`df['user']` must name at least two users, got only 'ann'"),
    (lambda: table(title='tea'), ValueError, "`df['title']` must name at least two items, got only 'tea'"),
    (lambda: table(rating=[None, *range(7)]), ValueError, "`df['rating']` must have a value in every row, got 1 missing"),
    (lambda: DotProductBias(3, 3, y_range=(5.5, 0)), ValueError, '`y_range` must go from a lower to a higher number, got (5.5, 0)'),
    (lambda: DotProductBias(3, 3)(torch.tensor([[3, 1]])), IndexError, '`x[:,0] (users)` must lie in 0…2, got 1 outside: 3'),
    (lambda: DotProductBias(3, 3)(torch.tensor([[1, -1]])), IndexError, '`x[:,1] (items)` must lie in 0…2, got 1 outside: -1'),
    (lambda: sigmoid_range(torch.ones(2), 5, 1), ValueError, '`high` must be greater than `low`, got low=5, high=1'),
    (lambda: sigmoid_range(torch.ones(2), 5, 5), ValueError, '`high` must be greater than `low`, got low=5, high=5'),
    (lambda: RatingsData.from_df(TABLE, valid_pct=1), ValueError, '`valid_pct` must be a finite number in [0, 1), got 1'),
    # names
    (lambda: Vocab('abc'), TypeError, "`items` must be a column of names, got one text, 'abc'"),
    (lambda: Vocab([1, 2]).index([3, 3, 4, 1]), KeyError, '2 unknown items: 3, 4'),
    (lambda: Vocab(['Fargo']).index('#na#'), KeyError, "1 unknown item: '#na#'"),
    (lambda: Vocab([1, 2]).index(None), TypeError, '`names` must be one name or a column of names, got NoneType'),
    (lambda: Vocab([1, 2]).index(True), TypeError, '`names` must be str or int, got bool'),
    (lambda: Vocab([1, 2]).index([1, True]), TypeError, '`names` must be str or int, got bool'),
    (lambda: Vocab([1, 2]).index(torch.ones(2, 2).long()), TypeError, '`names` must be one name or a column of names, got shape (2, 2)'),
    (lambda: Vocab([1, 2]).index([1, None]), KeyError, '1 unknown item: None'),
    # training
    (lambda: sgd_step(torch.ones(2, requires_grad=True), .1), TypeError, '`params` must be a list of parameters, got one tensor'),
    (lambda: list(batches((torch.ones(3), torch.ones(2)), 2)), ValueError, '`tensors` must be of one length, got lengths [3, 2]'),
    (lambda: list(batches((), 2)), ValueError, '`tensors` must not be empty, got none'),
    (lambda: evaluate(torch.nn.Identity(), (torch.ones(3), torch.ones(3)), torch.nn.MSELoss(reduction='none')), ValueError,
     '`loss` must give one number, got shape (3,): take its mean'),
    (lambda: evaluate(torch.nn.Identity(), (torch.ones(3), torch.ones(3)), lambda p, y: 0.), TypeError, '`loss` must give a tensor, got float'),
    (lambda: list(batches((torch.ones(3),), -2)), ValueError, '`bs` must be an integer of at least 1, got -2'),
    (lambda: evaluate(torch.nn.Linear(1, 1), (torch.ones(3, 1),)), TypeError, '`data` must be a tuple of tensors (inputs, …, target), got (Tensor)'),
    # pictures
    (lambda: show_images(torch.ones(3, 2, 2), axes=show_images(torch.ones(2, 2, 2))), ValueError, '`axes` must have a place for each of 3 images, got 2'),
    (lambda: show_points(torch.ones(2, 2), ['a', 'b'], n_names=-1), ValueError, '`n_names` must be an integer of at least 0, got -1'),
    (lambda: show_matrix(torch.ones(2, 2), vmax=0), ValueError, '`vmax` must be a finite number greater than 0, got 0'),
])
def test_it_is_refused_in_words(call, error, words_):
    with pytest.raises(error) as e: call()
    assert words_ in str(e.value)


def test_names_of_any_column_are_found():
    vocab = Vocab(np.array([7, 5, 7]))
    for names in ([5, 7], (5, 7), np.array([5, 7]), pd.Series([5, 7]), torch.tensor([5, 7]), (n for n in (5, 7))): assert vocab.index(names).tolist()==[1, 2]
    assert vocab.index(np.int64(7)).ndim==0 and '#na#' not in vocab
    assert Vocab(pd.Series(['b', 'a'], dtype='category')).index(['a', 'b']).tolist()==[1, 2]


def test_infinite_numbers_do_not_spoil_a_color_scale():
    assert show_matrix(torch.tensor([[1., float('inf'), nan]])).images[0].get_clim()==(-1, 1)


def test_as_many_names_are_written_as_wanted():
    points = torch.tensor([[0., 0.], [1., 1.], [2., 2.]])
    assert [len(show_points(points, ['a', 'b', 'c'], n_names=n).texts) for n in (None, 0, 2)]==[3, 0, 2]


def test_numbers_are_readable_on_their_cells():
    "White on the dark cells at both ends of the scale, black on the light ones"
    ax = show_matrix(torch.tensor([[-1., -.5, 0., .5, 1., nan]]))
    assert [t.get_color() for t in ax.texts]==['white', 'black', 'black', 'black', 'white']
