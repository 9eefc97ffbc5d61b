"""The start-up report and the warnings about an interpreter."""

import sys

import pytest

from mreactor import Config, Limits, __version__
from mreactor.server import report
from mreactor.server.report import count, interpreter_warnings, render_report, url


def test_the_report_says_what_runs_and_ends_with_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "has_gil", lambda: False)
    monkeypatch.setattr(report, "usable_cpus", lambda: 1)
    monkeypatch.setattr(report, "cpu_quota", lambda: 0.5)
    limits = Limits(connections_max=1, body_bytes_max=1000, drain_seconds=0.5)
    config, urls = Config(threads=2, limits=limits), ["http://127.0.0.1:80"]
    lines = render_report(config, "epoll, accepting by accept4", urls, None)
    assert lines[0].startswith(f"mreactor {__version__} on ")
    assert lines[0].endswith(", GIL off")
    assert lines[1:] == [
        "backend epoll, accepting by accept4",
        "2 reactor threads on 1 usable CPU, CPU quota 0.5",
        "limits: 1 connection, body 1000 bytes, head 10 s, keep-alive 75 s, drain 0.5 s",
        "listening on http://127.0.0.1:80",
    ]


def test_the_report_names_the_application_and_the_admin_listener() -> None:
    urls = ["http://[::1]:80", "unix:/run/a.sock"]
    lines = render_report(Config(), "epoll", urls, ("127.0.0.1", 9100), "shop")
    assert lines[-4:] == [
        "application shop",
        "metrics and live page on http://127.0.0.1:9100",
        "listening on http://[::1]:80",
        "listening on unix:/run/a.sock",
    ]


@pytest.mark.parametrize(
    ("has_gil", "version", "begins"),
    [
        (True, (3, 13, 5), ["the GIL is on: "]),
        (True, (3, 13, 2), ["the GIL is on: "]),
        (False, (3, 13, 2), ["free-threaded Python before 3.13.3 "]),
        (False, (3, 13, 3), []),
    ],
)
def test_interpreter_warnings(
    has_gil: bool, version: tuple[int, ...], begins: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: has_gil, raising=False)
    monkeypatch.setattr(sys, "version_info", version)
    lines = interpreter_warnings()
    assert len(lines) == len(begins)
    assert all(line.startswith(begin) for line, begin in zip(lines, begins, strict=True))


def test_an_interpreter_without_the_switch_has_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    assert report.has_gil()


def test_numbers_and_urls() -> None:
    assert (count(0, "CPU"), count(1, "CPU"), count(2, "CPU")) == ("0 CPUs", "1 CPU", "2 CPUs")
    assert (url("127.0.0.1", 80), url("::1", 80)) == ("http://127.0.0.1:80", "http://[::1]:80")
