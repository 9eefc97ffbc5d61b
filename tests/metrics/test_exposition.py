"""The exposition: Prometheus text, OpenMetrics and JSON, and the metric names that docs/ uses."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mreactor.metrics.counters import ERRORS, TIMEOUTS, Counters
from mreactor.metrics.exposition import OPENMETRICS, PROMETHEUS, render_text, stats
from mreactor.metrics.families import BOUNDS_STEP, collect_families
from mreactor.metrics.histogram import BUCKETS
from mreactor.metrics.snapshot import PoolSnapshot, ReactorSnapshot, RouteSnapshot, Snapshot

DOCS = Path(__file__).resolve().parents[2] / "docs"
FORMATS = (PROMETHEUS, OPENMETRICS)
BOTH_FORMATS = pytest.mark.parametrize("form", FORMATS, ids=["prometheus", "openmetrics"])
INFO = {"version": "1.2", "python": "3.13.5", "backend": 'a "quoted" \\ name,\nin two lines'}

# One line of text format 0.0.4. The server never writes the timestamp.
LINE = re.compile(r"([a-z_]+)(?:\{((?:[a-z_]+=\"(?:[^\"\\\n]|\\[\\n\"])*\",?)*)\})? (\S+)")
LABEL = re.compile(r"([a-z_]+)=\"((?:[^\"\\\n]|\\[\\n\"])*)\"")


def counters(seed: int) -> Counters:
    """Make the counters of a reactor that has done everything."""
    rng = random.Random(seed)
    made = Counters()
    made.accepted, made.closed = rng.randrange(50, 99), rng.randrange(50)
    made.bytes_in, made.bytes_out = rng.randrange(10**6), rng.randrange(2**40, 2**50)
    made.unsent = rng.randrange(10**6)
    made.buffered, made.cache_hits[0] = 10, rng.randrange(10**6)
    for method, status in (("GET", 200), ("GET", 404), ("POST", 200), ("-", 400)):
        made.counter(method, status)[0] += rng.randrange(10**6)
    for kind in (*TIMEOUTS, *ERRORS)[::2]:
        (made.timeout if kind in TIMEOUTS else made.error)(kind)
    for _ in range(500):
        made.service_time.observe(int(10 ** rng.uniform(2, 11)), rng.randrange(1, 9))
        made.loop_lag.observe(int(10 ** rng.uniform(4, 8)))
    return made


POOL = PoolSnapshot(5, 16, 3, 2, 7, 9, (0, 4, 0, 6, *[0] * 27, 1), 2.5)


def snapshot(*made: Counters, reasons: tuple[str, ...] = ()) -> Snapshot:
    states = ("running", "stuck", "dead", "starting")
    return Snapshot(
        time=1000.5,
        uptime=500.25,
        started=900.25,
        info=INFO,
        report=("one line", "another"),
        reasons=reasons,
        is_draining=False,
        has_gil=False,
        connections_max=77,
        refused=5,
        lines_dropped=6,
        log_lines_dropped=7,
        cpu_seconds=1.5,
        resident_bytes=4096,
        open_fds=12,
        fds_max=1024,
        routes=(RouteSnapshot("GET", "/a/{b}", 3, 0.5),),
        reactors=tuple(ReactorSnapshot(i, states[i % 4], 0.125, one, i + 3) for i, one in enumerate(made)),
        pool=POOL,
    )


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Parse a text into its samples, by name and labels."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        matched = LINE.fullmatch(line)
        assert matched, line
        key = matched[1], tuple(LABEL.findall(matched[2] or ""))
        assert key not in found, f"{key} comes twice"
        found[key] = float(matched[3])
    return found


# --- The text. ---


@BOTH_FORMATS
def test_each_counter_has_its_name(form: str) -> None:
    one = counters(1)
    found = samples(render_text(snapshot(Counters(), one), form))
    reactor = ("reactor", "1")
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("mreactor_connections_accepted_total", (reactor,)): one.accepted,
        ("mreactor_connections_open", (reactor,)): one.open,
        ("mreactor_requests_in_flight", (reactor,)): 4,
        ("mreactor_received_bytes_total", (reactor,)): one.bytes_in,
        ("mreactor_sent_bytes_total", (reactor,)): one.bytes_out,
        ("mreactor_buffered_bytes", (reactor,)): one.buffered,
        ("mreactor_unsent_bytes", (reactor,)): one.unsent,
        ("mreactor_reply_cache_hits_total", (reactor,)): one.cache_hits[0],
        ("mreactor_request_service_seconds_count", (reactor,)): one.service_time.count,
        ("mreactor_loop_lag_seconds_sum", (reactor,)): one.loop_lag.total / 1e9,
        ("mreactor_reactor_heartbeat_age_seconds", (reactor,)): 0.125,
        ("mreactor_connections_refused_total", ()): 5,
        ("mreactor_access_log_dropped_total", ()): 6,
        ("mreactor_log_dropped_total", ()): 7,
        ("mreactor_connections_limit", ()): 77,
        ("mreactor_start_time_seconds", ()): 900.25,
        ("process_cpu_seconds_total", ()): 1.5,
        ("process_resident_memory_bytes", ()): 4096,
    }
    for (method, status), counter in one.requests.items():
        labels = (reactor, ("method", method), ("status", str(status)))
        expected["mreactor_requests_total", labels] = counter[0]
    assert {key: found[key] for key in expected} == expected


@BOTH_FORMATS
def test_numbers_are_written_exactly(form: str) -> None:
    one = Counters()
    one.bytes_out = 2**60 + 1  # no float has this value
    assert f'mreactor_sent_bytes_total{{reactor="0"}} {2**60 + 1}\n' in render_text(snapshot(one), form)


@BOTH_FORMATS
def test_kinds_without_an_event_are_zero(form: str) -> None:
    found = samples(render_text(snapshot(Counters()), form))
    for name, kinds in (("mreactor_timeouts_total", TIMEOUTS), ("mreactor_errors_total", ERRORS)):
        assert [found[name, (("reactor", "0"), ("kind", kind))] for kind in kinds] == [0] * len(kinds)


@BOTH_FORMATS
def test_a_status_that_never_came_is_not_listed(form: str) -> None:
    one = Counters()
    one.counter("DELETE", 200)
    one.counter("GET", 200)[0] = 3
    assert "DELETE" not in render_text(snapshot(one), form)
    assert stats(snapshot(one))["total"]["requests"] == {"GET": {"200": 3}}


@BOTH_FORMATS
def test_label_values_are_escaped(form: str) -> None:
    assert 'backend="a \\"quoted\\" \\\\ name,\\nin two lines"' in render_text(snapshot(), form)


@BOTH_FORMATS
def test_each_family_is_one_block_and_described_once(form: str) -> None:
    text = render_text(snapshot(counters(1), counters(2)), form)
    described = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)
    assert described == re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE)
    assert not [name for name, count in Counter(described).items() if count > 1]
    for block in text.split("# HELP ")[1:]:
        name = block.split()[0]
        assert all(line.startswith((name, "# ")) for line in block.splitlines()), block


def test_both_formats_have_the_same_samples() -> None:
    one = snapshot(counters(1), counters(2))
    prometheus, openmetrics = (render_text(one, form) for form in FORMATS)
    assert samples(prometheus) == samples(openmetrics)
    assert openmetrics.endswith("# EOF\n")
    assert "# EOF" not in prometheus
    assert "# TYPE mreactor_requests_total counter\n" in prometheus
    assert "# TYPE mreactor_requests counter\n" in openmetrics


def test_a_histogram_is_exact_at_the_bounds_shown() -> None:
    one = counters(3)
    found = samples(render_text(snapshot(one), PROMETHEUS))
    shown = {key[1][1][1]: n for key, n in found.items() if key[0] == "mreactor_request_service_seconds_bucket"}
    assert list(shown) == [repr(bound / 1e9) for bound in BUCKETS[::BOUNDS_STEP]] + ["+Inf"]
    for index in range(0, len(BUCKETS), BOUNDS_STEP):
        assert shown[repr(BUCKETS[index] / 1e9)] == sum(one.service_time.counts[: index + 1])
    assert shown["+Inf"] == one.service_time.count


@BOTH_FORMATS
def test_the_pool_is_shown(form: str) -> None:
    found = samples(render_text(snapshot(), form))
    names = ("threads", "threads_limit", "busy", "streams", "queued", "refused_total")
    assert [found[f"mreactor_pool_{name}", ()] for name in names] == [5, 16, 3, 2, 7, 9]
    buckets = {key[1][0][1]: n for key, n in found.items() if key[0] == "mreactor_pool_wait_seconds_bucket"}
    assert len(buckets) == 32
    assert [buckets[le] for le in ("1e-06", "2e-06", "4e-06", "8e-06", "1073.741824", "+Inf")] == [0, 4, 4, 10, 10, 11]
    assert found["mreactor_pool_wait_seconds_sum", ()] == 2.5
    assert found["mreactor_pool_wait_seconds_count", ()] == 11


def test_the_pool_in_json() -> None:
    pool = stats(snapshot())["pool"]
    assert {name: pool[name] for name in ("threads", "threads_max", "busy", "streams", "queued", "refused")} == {
        "threads": 5, "threads_max": 16, "busy": 3, "streams": 2, "queued": 7, "refused": 9
    }  # fmt: skip
    assert pool["wait"] == {"count": 11, "sum": 2.5, "buckets": [[2e-6, 4], [8e-6, 6], [None, 1]]}


def test_states_become_numbers() -> None:
    found = samples(render_text(snapshot(*(Counters() for _ in range(4))), PROMETHEUS))
    assert [found["mreactor_reactor_up", (("reactor", str(i)),)] for i in range(4)] == [1, 0, 0, 0]
    assert found["mreactor_ready", ()] == 1
    unready = samples(render_text(snapshot(reasons=("the server is draining",)), PROMETHEUS))
    assert unready["mreactor_ready", ()] == 0


# --- The text and the official parser. ---


@BOTH_FORMATS
def test_the_official_parser_accepts_the_text(form: str) -> None:
    if form == PROMETHEUS:
        parser = pytest.importorskip(
            "prometheus_client.parser", reason="prometheus_client is not installed (nox -s observability)"
        )
    else:
        parser = pytest.importorskip(
            "prometheus_client.openmetrics.parser", reason="prometheus_client is not installed (nox -s observability)"
        )
    one = snapshot(counters(1), counters(2))
    parsed = list(parser.text_string_to_metric_families(render_text(one, form)))
    assert {family.name for family in parsed} >= {
        family.name for family in collect_families(one) if family.name != "mreactor"
    }
    seen = {(s.name, tuple(s.labels.items())): s.value for family in parsed for s in family.samples}
    mine = {
        (family.name + suffix, labels): value
        for family in collect_families(one)
        for suffix, labels, value in family.samples
    }
    assert seen == mine


# --- JSON. ---


def test_the_object_is_complete_json() -> None:
    one, two = counters(1), counters(2)
    read = json.loads(json.dumps(stats(snapshot(one, two, reasons=("why",))), allow_nan=False))
    assert (read["ready"], read["reasons"], read["report"]) == (False, ["why"], ["one line", "another"])
    assert read["info"] == INFO
    assert [each["answered"] for each in read["reactors"]] == [one.answered, two.answered]
    assert read["reactors"][0]["requests"]["GET"] == {
        "200": one.counter("GET", 200)[0],
        "404": one.counter("GET", 404)[0],
    }
    assert [each["state"] for each in read["reactors"]] == ["running", "stuck"]


def test_the_total_is_the_sum_of_all_numbers() -> None:
    read = stats(snapshot(counters(1), counters(2), counters(3)))

    def add(objects: list[Any]) -> Any:
        if isinstance(objects[0], dict):
            return {key: add([one.get(key, 0) for one in objects]) for key in objects[0]}
        return sum(objects)

    names = set(read["total"]) - {"service_time", "loop_lag"}
    assert names > {"answered", "requests", "bytes_in", "open", "timeouts", "errors"}
    for name in names:
        assert read["total"][name] == add([one[name] for one in read["reactors"]]), name


def test_durations_are_in_seconds() -> None:
    one = Counters()
    one.service_time.observe(1_000_000, times=9)
    one.service_time.observe(10**18)
    found = stats(snapshot(one))["total"]["service_time"]
    bound = BUCKETS[BUCKETS.index(1000 * 2**10)] / 1e9
    assert (found["count"], found["p50"], found["p90"]) == (10, bound, bound)
    assert found["p99"] == BUCKETS[-1] / 1e9  # the last bound; the true value is above it
    assert found["buckets"] == [[bound, 9], [None, 1]]
    assert found["sum"] == pytest.approx(1e9 + 0.009)


# --- The names in docs/. ---


def exposed_names() -> dict[str, set[str]]:
    """Return the names of all samples, with the names of their labels."""
    found: dict[str, set[str]] = {}
    for name, labels in samples(render_text(snapshot(counters(1)), PROMETHEUS)):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


def dashboard_expressions() -> list[str]:
    panels = json.loads((DOCS / "grafana-dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def alert_expressions() -> list[str]:
    text = (DOCS / "alerts.yml").read_text()
    return [" ".join(found.split()) for found in re.findall(r"expr: (?:>-\n)?((?:.+\n)+?)\s+(?:for|labels):", text)]


def check(expression: str) -> None:
    """Fail if an expression uses a metric or a label that does not exist."""
    known = exposed_names()
    bare = re.sub(r'"[^"]*"', '""', expression)
    names = set(re.findall(r"\b(?:mreactor|process)_[a-z_]+", bare))
    assert names, expression
    assert names <= known.keys(), expression
    for name, selector in re.findall(r"\b((?:mreactor|process)_[a-z_]+)\{([^}]*)\}", bare):
        labels = set(re.findall(r"([a-z_]+)\s*[=!]", selector)) - {"job", "instance"}
        assert labels <= known[name], expression
    for group in re.findall(r"\b(?:by|without) ?\(([^)]*)\)", bare):
        labels = {label.strip() for label in group.split(",")} - {"job", "instance"}
        assert labels <= set().union(*(known[name] for name in names)), expression


def test_the_dashboard_uses_existing_metrics() -> None:
    expressions = dashboard_expressions()
    assert len(expressions) >= 10
    for expression in expressions:
        check(expression)


def test_the_alerts_use_existing_metrics() -> None:
    text = (DOCS / "alerts.yml").read_text()
    expressions = alert_expressions()
    assert len(expressions) == text.count("- alert: ") >= 6
    for expression in expressions:
        check(expression)


def test_the_check_finds_mistakes() -> None:
    check('sum by (reactor) (rate(mreactor_requests_total{status=~"5..",job="x"}[5m]))')
    for wrong in ("mreactor_request_total", 'mreactor_requests_total{class="5"}', "sum by (colour) (mreactor_ready)"):
        with pytest.raises(AssertionError):
            check(wrong)


def test_each_metric_is_documented() -> None:
    text = (DOCS / "observability.md").read_text()
    documented = set(re.findall(r"`((?:mreactor|process)_[a-z_]+)", text))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed_names()}
    assert documented == shown
