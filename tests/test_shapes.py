"The annotations of shape and type are checked while the tests run (see conftest.py), and they say no to what does not fit"
import jaxtyping
import pytest
import torch
from jaxtyping import TypeCheckError

from lesson8lib.checks import test_same as same
from lesson8lib.collab import DotProduct, DotProductBias, sigmoid_range
from lesson8lib.embedding import Embedding, one_hot
from lesson8lib.parameters import Linear
from lesson8lib.training import fit


@pytest.mark.parametrize('model', [DotProduct(4, 5, 2), DotProductBias(4, 5, 2)])
def test_a_model_of_ratings_takes_pairs_and_gives_one_number_each(model):
    for b in (0, 1, 7): assert model(torch.ones(b, 2).long()).shape==(b,)
    for x in (torch.ones(3, 3).long(), torch.ones(2).long(), torch.ones(3, 2)):
        with pytest.raises(TypeCheckError): model(x)


def test_an_embedding_adds_an_axis():
    for shape in ((), (3,), (2, 3), (0,)): assert Embedding(4, 5)(torch.zeros(shape).long()).shape==(*shape, 5)
    with pytest.raises(TypeCheckError): Embedding(4, 5)(torch.zeros(3))
    with pytest.raises(TypeCheckError): one_hot([1], 3)


def test_a_linear_layer_takes_two_axes():
    assert Linear(3, 4)(torch.zeros(2, 3)).shape==(2, 4)
    with pytest.raises(TypeCheckError): Linear(3, 4)(torch.zeros(3))


def test_whole_numbers_pass_for_floating_point_ones(): same(sigmoid_range(torch.zeros(1), 0, 2), torch.ones(1))


def test_text_does_not_pass_for_a_number():
    with pytest.raises(TypeCheckError): fit(DotProduct(4, 5, 2), (torch.ones(3, 2).long(), torch.ones(3)), epochs='five')


def test_the_checker_can_be_switched_off_and_then_the_words_come(words):
    assert jaxtyping.config.jaxtyping_disable
    with pytest.raises(ValueError, match=r'`x` must have axes \(b, 2\), got shape \(3, 3\)'): DotProduct(4, 5, 2)(torch.ones(3, 3).long())
