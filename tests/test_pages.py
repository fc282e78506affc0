"Each lesson page shows no more than CONTRIBUTING.md allows; `make check` reads length and words in the notebooks"
import pytest
from check import ROOT, lessons, page
from count import count

@pytest.mark.parametrize('nb', lessons(ROOT), ids=page)
def test_lesson_pages_are_within_the_limits(site, nb): assert not count(site/f'{page(nb)}.html').over()
