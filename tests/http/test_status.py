"""The error that carries a status."""

from http import HTTPStatus
from typing import Any

import pytest

from mreactor import HTTPError


@pytest.mark.parametrize("headers", [{"X-A": "b"}, [("X-A", "b")], (("X-A", "b"),), iter([("X-A", "b")])])
def test_header_fields_are_a_mapping_or_pairs(headers: Any) -> None:
    assert HTTPError(HTTPStatus.NOT_FOUND, "No.", headers).headers == (("X-A", "b"),)


@pytest.mark.parametrize("status", ["404", 404.0, None])
def test_a_status_is_an_integer(status: Any) -> None:
    with pytest.raises(TypeError, match="the status of an error is an integer, not "):
        HTTPError(status)


@pytest.mark.parametrize("status", [0, 200, 399, 600])
def test_a_status_of_no_error(status: int) -> None:
    with pytest.raises(ValueError, match="is not the status of an error"):
        HTTPError(status)
