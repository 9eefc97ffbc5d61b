"""What the tests of the benchmarks share."""

from collections.abc import Iterator

import pytest

from bench.docroot import Docroot, temporary_docroot


@pytest.fixture
def docroot() -> Iterator[Docroot]:
    with temporary_docroot() as made:
        yield made
