"""The comparison of two checkouts: it finds what differs, and nothing else."""

from collections import Counter
from pathlib import Path

import pytest

from tests.equivalence.compare import Comparer, Result, Side, Suite, compare_lines, compare_metrics
from tests.equivalence.conversations import CONVERSATIONS, ENDINGS, talk
from tests.equivalence.messages import Source, corpus_scripts
from tests.equivalence.responses import blot_dates, blot_sentences, find_end
from tests.equivalence.script import CLOSED, OPEN, Await, Outcome, Script, Send
from tests.equivalence.server import APP, NotStarted, read_metrics
from tests.equivalence.suites import SMALL

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("epoll", "io_uring")
OPTIONS = (*SMALL, "served:app")
SCRIPTS = (*CONVERSATIONS[:20], *list(corpus_scripts())[:20], *map(Source(1).script, range(5)))
OK = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\nok"


def compare(folder: Path, suite: Suite, changes: dict[str, str], backend: str = "epoll") -> Result:
    """Compare this tree with itself; the new side serves the application with some of its text replaced."""
    text = APP.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    changed = folder / "changed.py"
    changed.write_text(text)
    return Comparer(Side(ROOT), Side(ROOT, changed), backend, folder).run(suite)


def suite_of(*scripts: Script) -> Suite:
    return Suite("test", OPTIONS, lambda: scripts)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_code_does_not_differ(backend: str, tmp_path: Path) -> None:
    try:
        result = compare(tmp_path, suite_of(*SCRIPTS), {}, backend)
    except NotStarted as error:
        if "io_uring" not in str(error):
            raise
        pytest.skip(f"io_uring: {error}")
    assert not result.differences
    assert result.scripts == len(SCRIPTS)
    assert result.messages == sum(script.messages for script in SCRIPTS)


def test_endings_do_not_differ(tmp_path: Path) -> None:
    result = compare(tmp_path, Suite("test", OPTIONS, lambda: ENDINGS, apart=True), {})
    assert not result.differences


def test_one_byte_is_found_and_its_message_is_shown(tmp_path: Path) -> None:
    result = compare(tmp_path, suite_of(*SCRIPTS), {": hello {name}": ": hallo {name}"})
    first = result.differences[-1]
    assert "Send(data=b'GET /hello/" in first
    assert "old: b'HTTP/1.1 200 OK" in first
    assert ": hallo " in first.partition("  new: ")[2]
    assert ": hallo " not in first.partition("  new: ")[0]


def test_a_call_more_is_found(tmp_path: Path) -> None:
    """No byte of the response differs, but the number of calls does, which the next response shows."""
    twice = {'    raise RuntimeError("broken on purpose")': '    count(request)\n    raise RuntimeError("broken")'}
    script = talk("broken, then hello", Send(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n"), Await(),
                  Send(b"GET /hello/you HTTP/1.1\r\nHost: a\r\n\r\n"), Await())  # fmt: skip
    (difference,) = compare(tmp_path, suite_of(script), twice).differences
    assert "1: hello " in difference
    assert "2: hello " in difference


def test_what_differs_once_is_unsteady(tmp_path: Path) -> None:
    """The first response of each process differs, the further ones do not."""
    once = {'lambda request: "probe"': 'lambda request: "PROBE" if _first.acquire(False) else "probe"'}
    once["_calls: dict"] = "_first = threading.Lock()\n_calls: dict"
    script = talk("probe", Send(b"GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"), Await())
    result = compare(tmp_path, suite_of(script), once)
    assert not result.differences
    assert result.unsteady == ["probe"]


def test_how_a_connection_ends_matters_but_not_by_what() -> None:
    closed, opened = Outcome(((1, b"x"),), (CLOSED,)), Outcome(((1, b"x"),), (OPEN,))
    assert closed.essence(False) != opened.essence(False)
    assert closed.essence(False) == closed._replace(resets=1).essence(False)


def test_metrics_are_summed_and_compared() -> None:
    text = (
        'mreactor_requests_total{reactor="0",method="GET",status="200"} 3\n'
        'mreactor_requests_total{reactor="1",method="GET",status="200"} 4\n'
        'mreactor_connections_open{reactor="0"} 2\n'
        'mreactor_reply_cache_hits_total{reactor="0"} 5\n'
        'mreactor_errors_total{reactor="0",kind="peer"} 5\n'
        "# HELP mreactor_sent_bytes_total 1\n"
        'mreactor_sent_bytes_total{reactor="0"} 100\n'
    )
    metrics = read_metrics(text)
    name = 'mreactor_requests_total{method="GET",status="200"}'
    assert metrics == {name: 7, "mreactor_sent_bytes_total": 100, "mreactor_connections_open": 2}
    assert not compare_metrics(metrics, dict(metrics), False)
    assert len(compare_metrics(metrics, metrics | {name: 8}, False)) == 1
    assert len(compare_metrics(metrics, metrics | {"mreactor_sent_bytes_total": 99}, False)) == 1
    assert not compare_metrics(metrics, metrics | {"mreactor_sent_bytes_total": 99}, True)
    assert len(compare_metrics(metrics, {}, False)) == 3


def test_log_lines_are_compared_as_a_multiset() -> None:
    old = Counter(['127.0.0.1 - - [] "GET / HTTP/1.1" 404 100'] * 2)
    assert not compare_lines(old, Counter(old), False)
    assert "1 lines are missing, 0 are new" in compare_lines(old, Counter(set(old)), False)["access log"]
    resized = Counter({line.replace("100", "99"): number for line, number in old.items()})
    assert compare_lines(old, resized, False)
    assert not compare_lines(old, resized, True)


@pytest.mark.parametrize(
    ("data", "methods", "end"),
    [
        (OK, (b"GET",), len(OK)),
        (OK[:-1], (b"GET",), -1),
        (OK + OK, (b"GET",), len(OK)),
        (OK + OK, (b"GET", b"GET"), 2 * len(OK)),
        (OK[:-2] + OK, (b"HEAD", b"GET"), 2 * len(OK) - 2),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (b"POST",), 25 + len(OK)),
        (OK.replace(b"200 OK", b"304 OK")[:-2] + OK, (b"GET", b"GET"), 2 * len(OK) - 2),
        (OK.replace(b"Date: now", b"Connection: close"), (b"GET",), -1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore", (b"GET",), 59),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r", (b"GET",), -1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", (b"GET",), -1),
        (b"", (b"GET",), -1),
    ],
)  # fmt: skip
def test_where_responses_end(data: bytes, methods: tuple[bytes, ...], end: int) -> None:
    assert find_end(data, methods) == end


def test_what_is_left_out() -> None:
    assert blot_dates(OK) == OK.replace(b"now", b"*")
    page = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\nX: y\r\n\r\n<!doctype html>\n<h1>404</h1>\n<p>%b</p>\n"
    assert blot_sentences(page % (50, b"Gone.")) == blot_sentences(page % (60, b"It is not here."))
    assert blot_sentences(page % (50, b"Gone.")) != blot_sentences(page.replace(b"X: y", b"X: z") % (50, b"Gone."))
    assert blot_sentences(OK) == OK
