"Each lesson page is within the limits of CONTRIBUTING.md, or waits in tools/waiting.py to be rebuilt"
import pytest
import waiting
from check import ROOT, length, lessons, notebooks, page, private_names, words
from count import count

@pytest.mark.parametrize('nb', lessons(ROOT), ids=page)
def test_lesson_pages_are_within_the_limits(site, nb):
    found = [*count(site/f'{page(nb)}.html').over(), *length(nb), *words(nb)]
    if page(nb) in waiting.PAGES: assert found, f'{page(nb)} is within the limits: remove it from PAGES in tools/waiting.py'
    else: assert not found

@pytest.mark.parametrize('nb', [nb for nb in notebooks(ROOT) if nb not in lessons(ROOT)], ids=page)
def test_other_pages_keep_to_the_words(nb):
    if page(nb) in waiting.PAGES: assert list(words(nb)), f'{page(nb)} keeps to the words: remove it from PAGES in tools/waiting.py'
    else: assert not list(words(nb))

def test_what_waits_is_there():
    "An entry of tools/waiting.py that has become needless is removed"
    assert waiting.PAGES <= {page(nb) for nb in notebooks(ROOT)}
    assert waiting.PRIVATE == set(private_names(ROOT))
