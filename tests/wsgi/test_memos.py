"""What the threads of the pool remember of fields: what never comes again takes no place."""

import pytest

from mreactor.http1.context import ReactorContext
from mreactor.wsgi import environ as environs
from mreactor.wsgi import response_head
from mreactor.wsgi.environ import Environ, EnvironMaker
from tests.http1.steps import PEER, serve

# More than a memo knows sights of.
DIFFERENT = 10_000


def environ(context: ReactorContext, number: int) -> Environ:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html, */*\r\nX-Request-Id: id-%d\r\n\r\n" % number
    request = context.route(context.parser.parse(raw)).make_argument(b"", PEER)
    return EnvironMaker("", ("localhost", 80)).make(request)


def test_lines_in_use_stay_and_others_leave_nothing_behind() -> None:
    context = serve(lambda request: "")
    known = [environ(context, number)["HTTP_ACCEPT"] for number in range(3)][-1]
    memo: dict[bytes, object] = getattr(environs._own.read_line, "__self__")  # noqa: B009
    before = set(memo)
    for number in range(3, DIFFERENT):
        made = environ(context, number)
        assert made["HTTP_X_REQUEST_ID"] == f"id-{number}"
        assert made["HTTP_ACCEPT"] is known
    assert set(memo) == before


def test_fields_of_responses_in_use_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    render = response_head._render_field

    def count(name: str, value: str) -> str:
        checked.append(name)
        return render(name, value)

    monkeypatch.setattr(response_head, "_render_field", count)
    for number in range(DIFFERENT):
        head = response_head.ResponseHead("200 OK", [("X-Once", "a"), ("ETag", f'"{number}"')])
        assert head.fields == b'X-Once: a\r\nETag: "%d"\r\n' % number
    assert checked.count("ETag") == DIFFERENT
    assert checked.count("X-Once") == 2, "at its first and its second sight"
