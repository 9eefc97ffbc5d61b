"""The benchmark harness: what it reads, what it computes, what it draws, and that it ends what it starts."""

import asyncio
import gc
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest

from bench import (
    apps,
    c10k,
    cases,
    chart,
    limits,
    load,
    machine,
    options,
    pauses,
    placement,
    process,
    progress,
    race,
    ratios,
    report,
    results,
    scaling,
    servers,
    syscalls,
    table,
    venv,
)
from bench.cases import CASES, Case, Goal, expected_bytes
from bench.chart import Bar, Panel, Tone
from bench.docroot import LARGE_BYTES, WELCOME, Docroot, temporary_docroot
from bench.heat import Heat, Lane
from bench.idle import IdleClients, whole
from bench.load import Errors, Load, LoadError, Outcome
from bench.placement import Placement
from bench.process import Launch, Missing, Process
from bench.ratios import Ratio, pairwise
from bench.sample import Sample

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")

SUMMARY = (
    'MREACTOR-BENCH {"duration_us":1009418,"requests":159020,"bytes":26556340,"connect":0,"read":3,"write":0,'
    '"status":2,"timeout":1,"p50":3675,"p90":4001,"p99":7120,"p99.9":0,"p100":11820}'
)
WRK_OUTPUT = f"""Running 1s test @ http://127.0.0.1:38111/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.72ms    2.08ms  11.82ms   60.16%
    Req/Sec   159.65k    14.89k  173.45k    80.00%
  159020 requests in 1.01s, 25.33MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 2
Requests/sec: 157536.32
Transfer/sec:     25.09MB
{SUMMARY}
"""


@pytest.fixture
def docroot() -> Iterator[Docroot]:
    with temporary_docroot() as made:
        yield made


def sample(rate: float, cpu_us: float = 10.0, errors: Errors | None = None) -> Sample:
    latency = {"50": 500.0, "99": 900.0, "99.9": 2_500.0, "100": 4_000.0}
    outcome = Outcome(2.0, int(rate * 2), int(rate * 200), errors or Errors(), latency)
    return Sample(outcome, cpu_us, 0.97, 20 << 20)


def heat_of(case: str, **rates: list[float]) -> Heat:
    lanes = [
        Lane(name.replace("__", "-"), "1.0", [sample(rate) for rate in by]) for name, by in rates.items()
    ]
    return Heat(cases.BY_NAME[case], lanes)


def report_of(*heats: Heat, load_before: float = 0.1) -> report.Report:
    facts = machine.Machine(
        "2030-01-02 03:04", "A <fast> & new CPU", 2, "6.1", "Python 3.13.5t", "wrk 4", load_before, "c"
    )
    return report.Report(facts, "server on core 0, load on core 1", 3, 2.0, ("nginx", "granian"), heats)


class TestWrk:
    def test_the_summary_line_is_read_from_the_whole_output(self) -> None:
        outcome = load.parse(WRK_OUTPUT)
        assert outcome.requests == 159020
        assert outcome.seconds == pytest.approx(1.009418)
        assert outcome.requests_per_second == pytest.approx(157536.32, rel=1e-5)
        assert outcome.bytes_per_second == pytest.approx(26556340 / 1.009418)
        assert outcome.errors == Errors(read=3, status=2, timeout=1)
        assert outcome.errors.total == 6
        assert str(outcome.errors) == "3 read, 2 status, 1 timeout"

    def test_a_percentile_that_wrk_could_not_tell_is_missing(self) -> None:
        assert load.parse(WRK_OUTPUT).latency_us == {"50": 3675.0, "90": 4001.0, "99": 7120.0, "100": 11820.0}

    def test_output_without_a_summary_tells_the_last_line(self) -> None:
        with pytest.raises(LoadError, match=r"unable to connect to \S+ Connection refused"):
            load.parse("unable to connect to 127.0.0.1:1 Connection refused\n\n")
        with pytest.raises(LoadError, match="no output"):
            load.parse("")

    def test_a_run_of_no_time_is_refused(self) -> None:
        with pytest.raises(LoadError, match="no time"):
            load.parse(SUMMARY.replace("1009418", "0"))

    def test_errors_of_none_read_as_a_plain_zero(self) -> None:
        assert str(Errors()) == "0"

    def test_the_script_of_each_case_asks_what_the_case_says(self) -> None:
        scripts = {case.name: load.script(case.load) for case in CASES}
        assert 'wrk.method = "POST"' in scripts["echo"]
        assert 'wrk.body = string.rep("x", 1024)' in scripts["echo"]
        assert 'wrk.headers["Connection"] = "close"' in scripts["close"]
        assert "string.rep(one(...), 16)" in scripts["pipeline"]
        plain = scripts["root64"]
        assert 'wrk.method = "GET"' in plain
        assert not re.search("wrk.body|Connection|string.rep", plain)

    def test_the_script_writes_every_field_that_the_parser_reads(self) -> None:
        written = re.findall(r'"([\w.]+)":%', load.DONE)
        assert written == list(json.loads(SUMMARY.removeprefix(load.MARK)))

    def test_a_missing_wrk_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", os.fspath(tmp_path))
        with pytest.raises(LoadError, match="wrk is not installed"):
            load.run(Load("/", 1), 1, 0.1)
        assert machine.wrk_version() == "wrk missing"


class TestRatios:
    def test_ratios_are_taken_within_rounds_before_the_median(self) -> None:
        # The machine slows down threefold from round to round: medians alone would compare different rounds.
        assert pairwise([90, 33, 10], [100, 30, 10]) == Ratio(1.0, 0.9, 1.1)

    def test_unequal_lengths_compare_the_rounds_that_both_have(self) -> None:
        assert pairwise([10, 20], [10]) == Ratio(1.0, 1.0, 1.0)

    def test_no_common_round_gives_no_ratio(self) -> None:
        assert pairwise([], [1.0]) is None
        assert pairwise([1.0], [0.0]) is None

    def test_spread_is_a_share_of_the_median(self) -> None:
        assert ratios.spread([90, 100, 120]) == pytest.approx(0.3)
        assert ratios.spread([0, 0]) == 0

    def test_a_ratio_reads_with_its_range(self) -> None:
        assert str(Ratio(1.084, 1.0, 1.2)) == "1.08x (1.00-1.20)"


class TestHeat:
    def test_verdicts_pair_goals_with_ratios(self) -> None:
        one = heat_of("root64", **{"mreactor-epoll": [120.0, 120.0], "nginx": [100.0, 96.0]})
        (epoll, reached), (uring, missing) = one.verdicts()
        assert epoll == Goal(cases.EPOLL, "nginx", 1.0)
        assert reached == Ratio(1.225, 1.2, 1.25)
        assert (uring.server, missing) == (cases.IO_URING, None)

    def test_failed_and_never_started_lanes_retire_with_their_reason(self) -> None:
        one = heat_of("root64", nginx=[100.0], granian=[50.0], waitress=[])
        one.lanes[1].failure = "failed in round 2: connection refused"
        one.retire()
        assert [lane.name for lane in one.lanes] == ["nginx"]
        assert one.skipped["granian"] == "failed in round 2: connection refused"
        assert "before its first round" in one.skipped["waitress"]

    @pytest.mark.parametrize(
        ("ratio", "words"),
        [
            (Ratio(1.2, 1.1, 1.3), "met"),
            (Ratio(1.2, 0.9, 1.3), "met, within the noise"),
            (Ratio(0.9, 0.8, 1.05), "missed, within the noise"),
            (Ratio(0.9, 0.8, 0.95), "missed"),
            (None, "not run"),
        ],
    )
    def test_a_verdict_admits_noise(self, ratio: Ratio | None, words: str) -> None:
        assert report.verdict(ratio, 1.0) == words


class TestReport:
    def test_markdown_has_a_row_a_server_and_a_line_a_skip(self) -> None:
        one = heat_of("root64", nginx=[100_000.0, 120_000.0], granian=[50_000.0, 60_000.0])
        one.skipped["uvicorn"] = "not installed"
        words = report.markdown(report_of(one))
        row = next(line for line in words.splitlines() if line.startswith("| granian"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[:5] == ["granian 1.0", "55,000", "18%", "0.50x (0.50-0.50)", "1.00x (1.00-1.00)"]
        assert cells[5:] == ["500 µs", "900 µs", "2.5 ms", "10.0", "97%", "20.0", "0"]
        assert "- uvicorn skipped: not installed" in words
        assert "| not run |" in words

    def test_large_files_count_in_mebibytes_and_pipelines_have_no_latency(self) -> None:
        large = heat_of("file1m", nginx=[1 << 20])
        assert "| MiB/s |" in report.heat_markdown(large, ())
        assert "|   100 |" in report.heat_markdown(large, ())
        assert "|   - |   - |     - |" in report.heat_markdown(heat_of("pipeline", nginx=[10.0]), ())

    def test_a_busy_machine_is_reported_above_the_tables(self) -> None:
        one = heat_of("root64", nginx=[1.0])
        assert "do not trust" in report.markdown(report_of(one, load_before=2.0))
        assert "do not trust" not in report.markdown(report_of(one))

    def test_json_holds_every_sample(self) -> None:
        one = heat_of("echo", granian=[10.0, 20.0])
        told = json.loads(report.as_json(report_of(one)))
        (lane,) = told["cases"][0]["lanes"]
        assert [sample["outcome"]["requests"] for sample in lane["samples"]] == [20, 40]
        assert lane["ratios"]["granian"]["median"] == 1.0
        assert told["cases"][0]["goals"][0]["reached"] is None
        assert told["machine"]["kernel"] == "6.1"

    def test_the_chart_puts_the_fastest_first_and_says_the_ratio(self) -> None:
        one = heat_of("root64", **{"granian": [50.0], "mreactor-epoll": [150.0], "nginx": [100.0]})
        drawn = report.panel(one)
        assert [bar.label for bar in drawn.bars] == ["mreactor-epoll", "nginx", "granian"]
        assert [bar.tone for bar in drawn.bars] == [Tone.OWN, Tone.BASE, Tone.OTHER]
        assert drawn.bars[0].text == "150  (1.50x nginx)"

    def test_the_chart_of_a_report_is_well_formed(self) -> None:
        root = ElementTree.fromstring(report.svg(report_of(heat_of("root64", nginx=[1.0]), heat_of("echo"))))
        assert any(
            "A <fast> & new CPU" in (text.text or "") for text in root.iter() if text.tag.endswith("text")
        )


class TestResults:
    RECORDED = sorted(results.DIRECTORY.glob("*.json"))

    @pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
    def test_a_recorded_run_has_the_fields_that_a_race_saves(self, path: Path) -> None:
        run = results.load(path.stem)
        saved = results.record(report_of(heat_of("root64", nginx=[1.0])))
        assert set(run) - {"cases", "tables"} == set(saved) - {"cases"}
        assert set(run["machine"]) == set(saved["machine"])
        assert path.stem.startswith(run["machine"]["date"][:10])
        assert bool(run.get("cases")) != bool(run.get("tables"))
        for case in run.get("cases", ()):
            assert set(case) == set(saved["cases"][0])
            assert case["servers"]
            for server in case["servers"]:
                assert set(server) == set(saved["cases"][0]["servers"][0])
                assert all(set(ratio) == {"median", "low", "high"} for ratio in server["ratios"].values())
        for one in run.get("tables", ()):
            assert {len(row) for row in one["rows"]} == {len(one["columns"])}

    def test_there_are_recorded_runs(self) -> None:
        assert len(self.RECORDED) >= 10

    def test_a_race_is_recorded_by_its_medians(self) -> None:
        one = heat_of("root64", nginx=[100.0, 110.0, 400.0], granian=[50.0, 44.0, 100.0])
        saved = json.loads(results.as_json(report_of(one)))
        assert (saved["benchmark"], saved["rounds"], saved["notes"]) == ("race", 3, [])
        assert saved["machine"]["date"] == "2030-01-02 03:04"
        (case,) = saved["cases"]
        assert (case["name"], case["unit"]) == ("root64", "requests/s")
        granian = case["servers"][1]
        assert (granian["rate"], granian["cpu_us"], granian["core"]) == (50.0, 10.0, 0.97)
        assert granian["ratios"]["nginx"] == {"median": 0.4, "low": 0.25, "high": 0.5}

    def test_a_busy_machine_is_noted_in_the_record(self) -> None:
        (note,) = results.record(report_of(heat_of("echo", nginx=[1.0]), load_before=2.0))["notes"]
        assert "do not trust" in note

    def test_a_table_has_a_row_a_case_and_the_first_run_of_a_case_counts(self) -> None:
        first = results.record(
            report_of(heat_of("file1m", **{"nginx": [2.0**20], "mreactor-epoll": [2.0**21]}))
        )
        other = results.record(report_of(heat_of("file1m", nginx=[1.0]), heat_of("echo", granian=[4_000.0])))
        lines = results.cases_table([first, other]).splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        assert cells[0] == ["case", "mreactor, epoll", "mreactor, io_uring", "nginx", "granian"]
        assert cells[2] == [
            "GET /large.bin, 1 MiB, 32 connections (MiB/s)",
            "200 · 10.0 µs · 2.00x",
            "-",
            "100 · 10.0 µs",
            "-",
        ]
        assert cells[3][1:] == ["-", "-", "-", "4,000 · 10.0 µs"]
        assert len(cells) == 4

    def test_where_nginx_has_no_such_case_granian_is_the_base(self) -> None:
        one = heat_of("echo", **{"granian": [1_000.0], "mreactor-epoll": [2_000.0]})
        run = results.record(report_of(one))
        assert "2,000 · 10.0 µs · 2.00x granian" in results.cases_table([run])

    def test_what_was_not_recorded_is_left_out(self) -> None:
        server: dict[str, Any] = {"name": "nginx", "rate": None, "cpu_us": 9.6, "ratios": {}}
        assert results.cell({"servers": [server]}, "nginx") == "9.6 µs"

    def test_the_command_prints_the_tables_and_puts_them_into_the_page(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "page.md"
        page.write_text("before\n<!-- bench.results: one, two -->\nold\n<!-- bench.results end -->\nafter\n")
        monkeypatch.setattr(results, "PAGE", page)
        monkeypatch.setattr(results, "DIRECTORY", tmp_path)
        (tmp_path / "one.json").write_text(results.as_json(report_of(heat_of("root64", nginx=[7_000.0]))))
        (tmp_path / "two.json").write_text(results.as_json(report_of(heat_of("echo", granian=[5_000.0]))))
        assert results.main([]) == 0
        printed = capsys.readouterr().out
        assert "7,000" in printed
        assert "5,000" in printed
        assert results.main(["--write"]) == 0
        begin, end = "before\n<!-- bench.results: one, two -->\n", "<!-- bench.results end -->\nafter\n"
        assert page.read_text() == begin + printed + end


class TestChart:
    def test_hostile_words_stay_words(self) -> None:
        words = 'a <b> & "c"'
        root = ElementTree.fromstring(
            chart.svg(words, [words], [Panel(words, words, [Bar(words, 1.0, words)])])
        )
        texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert texts == [words] * 6
        assert root.get("aria-label") == words

    def test_bars_are_as_long_as_their_values_and_inside_the_card(self) -> None:
        bars = [Bar("a", 200.0, "200", Tone.OWN), Bar("b", 50.0, "50"), Bar("c", 0.0, "0")]
        root = ElementTree.fromstring(chart.svg("t", [], [Panel("p", "u", bars), Panel("empty", "u", [])]))
        card, *drawn = root.iter("{http://www.w3.org/2000/svg}rect")
        widths = [float(rect.get("width", "0")) for rect in drawn]
        assert widths == [chart.BAR_WIDTH, chart.BAR_WIDTH / 4, 1.0]
        bottom = max(float(rect.get("y", "0")) for rect in drawn) + chart.BAR_HEIGHT
        assert bottom < float(card.get("height", "0"))


class TestTable:
    def test_columns_are_padded_and_figures_aligned_right(self) -> None:
        assert table.markdown(["name", "n"], [["a", "1"], ["bcdef", "1,000"]]) == (
            "| name  |     n |\n| ----- | ----: |\n| a     |     1 |\n| bcdef | 1,000 |\n"
        )

    def test_bars_and_line_feeds_do_not_break_the_table(self) -> None:
        rows = table.markdown(["a", "b"], [["x|y", "1\n2"]]).splitlines()
        assert rows[2] == "| x\\|y | 1 2 |"

    @pytest.mark.parametrize(
        ("microseconds", "words"),
        [
            (None, "-"),
            (7.4, "7 µs"),
            (999.0, "999 µs"),
            (1_234.0, "1.23 ms"),
            (277_000.0, "277 ms"),
            (1.96e6, "1.96 s"),
        ],
    )
    def test_latencies_read_with_their_unit(self, microseconds: float | None, words: str) -> None:
        assert table.latency(microseconds) == words


class TestSystemCalls:
    STRACE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 75.00    0.001200          12       100         7 futex
 25.00    0.000400           8        50           sched_yield
------ ----------- ----------- --------- --------- ----------------
100.00    0.001600          10       150         7 total
"""

    def test_strace_with_and_without_an_error_column(self) -> None:
        assert syscalls.parse_strace(self.STRACE) == {"futex": 100, "sched_yield": 50}

    def test_strace_that_saw_nothing_writes_nothing(self) -> None:
        assert syscalls.parse_strace("") == {"futex": 0, "sched_yield": 0}

    def test_perf_counts_and_events_that_never_fired(self) -> None:
        told = (
            "# started on Sun Nov 22 2026\n\n"
            "42;;syscalls:sys_enter_futex;1000;100.00;;\n<not counted>;;syscalls:sys_enter_sched_yield;0;100.00;;\n"
        )
        assert syscalls.parse_perf(told) == {"futex": 42, "sched_yield": 0}

    @pytest.mark.parametrize("tool", list(syscalls.COUNTERS))
    def test_a_process_that_is_gone_cannot_be_counted(self, tool: str) -> None:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
        with pytest.raises(Missing), syscalls.COUNTERS[tool]([2**22 + 1]):
            pytest.fail("counts a process that does not exist")

    # Nobody sets the event: each wait is a futex call that times out.
    WAITER = """
import sys, threading
for line in sys.stdin:
    for _ in range(100): threading.Event().wait(0.0005)
    print("waited", flush=True)
"""

    @pytest.mark.parametrize("tool", list(syscalls.COUNTERS))
    def test_a_thread_that_waits_is_counted(self, tool: str) -> None:
        command = [sys.executable, "-c", self.WAITER]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0) as waiter:
            assert waiter.stdin is not None
            assert waiter.stdout is not None
            try:
                for context in (nullcontext(), syscalls.COUNTERS[tool]([waiter.pid])):
                    with context as counter:
                        waiter.stdin.write(b"go\n")
                        assert waiter.stdout.readline() == b"waited\n"
            except Missing as missing:
                pytest.skip(str(missing))
            finally:
                waiter.kill()
        assert counter is not None
        assert counter.calls["futex"] >= 100
        assert counter.total >= counter.calls["futex"]


class TestProcess:
    def start(self, tmp_path: Path, code: str) -> Process:
        own = Process(Launch((sys.executable, "-c", code), dict(os.environ)), process.free_port(), tmp_path)
        own.start(frozenset())
        return own

    def test_a_server_that_ends_early_says_why(self, tmp_path: Path) -> None:
        own = self.start(tmp_path, "raise SystemExit('no luck today')")
        try:
            with pytest.raises(Missing, match="status 1: no luck today"):
                own.wait_ready()
        finally:
            own.stop()

    def test_a_server_that_never_answers_is_given_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "READY_SECONDS", 0.2)
        own = self.start(tmp_path, "import signal; signal.pause()")
        try:
            with pytest.raises(Missing, match="did not answer within"):
                own.wait_ready()
        finally:
            own.stop()
        assert own.child.returncode == -signal.SIGTERM

    def test_a_program_that_does_not_exist_is_missing(self, tmp_path: Path) -> None:
        own = Process(Launch(("/nonexistent/server",)), 1, tmp_path)
        with pytest.raises(Missing, match="does not start"):
            own.start(frozenset())

    def test_stop_ends_a_deaf_server_and_its_worker(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(process, "STOP_SECONDS", 0.1)
        port = process.free_port()
        code = (
            "import http.server, os, signal\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "if os.fork() == 0: signal.pause()\n"
            f"http.server.HTTPServer(('127.0.0.1', {port}), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
        )
        own = Process(Launch((sys.executable, "-c", code), dict(os.environ)), port, tmp_path)
        own.start(frozenset())
        try:
            own.wait_ready()
            _, worker = own.pids()
            worker_end = os.pidfd_open(worker)
            assert own.resident_bytes() > 1 << 20
            assert any(target.startswith("socket:") for target in own.descriptors())
        finally:
            own.stop()
        assert own.child.returncode == -signal.SIGKILL
        ended, _, _ = select.select([worker_end], [], [], 60)
        os.close(worker_end)
        assert ended

    def test_a_command_name_with_spaces_and_parentheses_is_no_trap(self) -> None:
        fields = process.parse_stat("7 (a (b) c) S 3 7 7 0 -1 4194560 1 2 3 4 50 60 0")
        assert (fields[0], fields[1], fields[11], fields[12]) == ("S", "3", "50", "60")

    def test_the_tree_holds_descendants_only(self) -> None:
        assert process.tree(2, {2: 1, 3: 2, 4: 3, 5: 1, 6: 5}) == [2, 3, 4]

    def test_nothing_is_read_of_a_process_that_is_gone(self) -> None:
        gone = 2**22 + 1  # beyond the largest process id that Linux gives
        assert process.cpu_ticks(gone) == process.resident_bytes(gone) == 0
        assert process.descriptors(gone) == []

    def test_our_own_processor_time_is_seen(self) -> None:
        before = process.cpu_ticks(os.getpid())
        while os.times().user + os.times().system < (before + 2) / process.TICKS_PER_SECOND:
            pass
        assert process.cpu_ticks(os.getpid()) > before


def children() -> set[int]:
    """The processes that this thread has started and not yet buried."""
    return set(map(int, Path("/proc/thread-self/children").read_text().split()))


class TestPlacement:
    def test_cpulists_are_read(self) -> None:
        assert placement.parse_cores("0-2,7\n") == {0, 1, 2, 7}
        assert placement.parse_cores("5") == {5}

    def test_server_and_load_never_share_a_core(self) -> None:
        for chosen in (placement.one_core_each(), placement.halves()):
            assert not chosen.server & chosen.load
            assert bool(chosen.server) == bool(chosen.load)

    def test_pinning_ends_with_its_context(self) -> None:
        own = os.sched_getaffinity(0)
        with placement.pinned(frozenset({min(own)})):
            assert os.sched_getaffinity(0) == {min(own)}
        assert os.sched_getaffinity(0) == own

    def test_a_placement_reads_plainly(self) -> None:
        assert str(Placement()) == "server on any core, load on any core"
        assert str(Placement(frozenset({0}), frozenset({1, 2}))) == "server on core 0, load on core 1,2"
        beside = Placement(frozenset({0}), frozenset({1}), 2)
        assert str(beside) == "server on core 0 (busy neighbours there: 2), load on core 1"

    def test_neighbours_compute_on_the_servers_core_and_end(self) -> None:
        core = frozenset({min(os.sched_getaffinity(0))})
        before = children()
        with placement.busy_neighbours(Placement(core, frozenset(), 2)):
            neighbours = children() - before
            assert len(neighbours) == 2
            for pid in neighbours:
                assert os.sched_getaffinity(pid) == core
        assert children() == before

    def test_neighbours_do_not_outlive_a_harness_that_is_killed(self) -> None:
        harness = (
            "import os, signal, pathlib\n"
            "from bench.placement import Placement, busy_neighbours\n"
            "with busy_neighbours(Placement(neighbours=1)):\n"
            "    print(pathlib.Path('/proc/thread-self/children').read_text(), flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        # The neighbour has the same pipe: the end of what comes from it is its own end, too.
        root = Path(placement.__file__).parent.parent
        told = subprocess.run([sys.executable, "-c", harness], cwd=root, stdout=subprocess.PIPE, timeout=20)
        assert told.returncode == -signal.SIGKILL
        assert int(told.stdout) > 0, "there was one"


class TestServers:
    def test_nginx_is_configured_for_the_site(self, docroot: Docroot, tmp_path: Path) -> None:
        site = servers.Site(1234, docroot, tmp_path, threads=2)
        words = servers.nginx_configuration(site, servers.NGINX_CACHE)
        for part in ("worker_processes 2;", "listen 127.0.0.1:1234 ", 'return 200 "Welcome to mreactor";'):
            assert part in words
        for part in ("access_log off;", "keepalive_requests 1000000000;", "open_file_cache_valid 1s;"):
            assert part in words
        assert words.count("{") == words.count("}")

    def test_variables_that_steer_mreactor_are_not_inherited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_SERVER_LOGS", "1")
        monkeypatch.setenv("WORKER_BACKEND", "epoll")
        given = servers.environment(WORKER_BACKEND="io_uring")
        assert given["WORKER_BACKEND"] == "io_uring"
        assert "HTTP_SERVER_LOGS" not in given

    def test_a_backend_that_is_not_the_one_asked_for_is_refused(self, tmp_path: Path) -> None:
        own = Process(Launch((sys.executable, "-c", "import signal; signal.pause()")), 1, tmp_path)
        own.start(frozenset())
        try:
            servers.BY_NAME[cases.EPOLL].check(own)
            with pytest.raises(Missing, match="runs on epoll"):
                servers.BY_NAME[cases.IO_URING].check(own)
        finally:
            own.stop()

    def test_every_goal_names_servers_and_every_inability_a_case(self) -> None:
        assert {name for case in CASES for goal in case.goals for name in (goal.server, goal.base)} <= set(
            servers.BY_NAME
        )
        assert {case for server in servers.SERVERS for case in server.unable} <= set(cases.BY_NAME)

    def test_the_floor_serves_idle_clients_and_loses_them_when_it_ends(self, docroot: Docroot) -> None:
        with servers.running(servers.BY_NAME["floor"], docroot, 1, frozenset()) as own:
            assert own.answer("GET", "/") == (200, WELCOME)
            with IdleClients(own.port, 20) as clients:
                assert len(own.descriptors()) > 20
                assert clients.lost() == 0
                own.stop()
                assert clients.lost() == 20
                assert clients.clients != []
            assert clients.clients == []


if shutil.which("cc"):  # elsewhere it cannot be compiled, which the race says

    class TestCeiling:
        @pytest.mark.parametrize("name", ["ceiling", "ceiling-awake"])
        def test_the_ceiling_answers_the_cases_that_it_is_asked(self, name: str, docroot: Docroot) -> None:
            server = servers.BY_NAME[name]
            with servers.running(server, docroot, 1, frozenset()) as own:
                for case_name in sorted(set(cases.BY_NAME) - set(server.unable)):
                    case = cases.BY_NAME[case_name]
                    body = b"x" * case.load.body_bytes
                    status, answered = own.answer(case.load.method, case.load.path, body)
                    assert status == 200
                    assert cases.expected_bytes(case, docroot) in answered
                with socket.create_connection(("127.0.0.1", own.port), timeout=5) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
                    received = b""
                    while received.count(WELCOME) < 3:
                        received += client.recv(4096)
                    assert received.count(b"HTTP/1.1 200 OK\r\n") == 3

        def test_the_ceiling_is_skipped_where_it_cannot_be_compiled(
            self, docroot: Docroot, monkeypatch: pytest.MonkeyPatch
        ) -> None:
            monkeypatch.setattr(servers, "program", lambda name: "false")
            plan = race.Plan((cases.BY_NAME["root64"],), (servers.BY_NAME["ceiling"],), 1, 0.1, 0.0, ())
            (one,), _ = race.run(plan, Placement())
            assert list(one.skipped) == ["ceiling"]
            assert "does not compile" in one.skipped["ceiling"]


class TestIdleClients:
    @pytest.mark.parametrize(
        ("answer", "complete"),
        [
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", True),
            (b"HTTP/1.1 200 OK\r\nContent-Length:2\r\n\r\no", False),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
            (b"HTTP/1.1 200 OK\r\n\r\nok", False),
            (b"", False),
        ],
    )
    def test_an_answer_is_whole_by_its_content_length(self, answer: bytes, complete: bool) -> None:
        assert whole(answer) is complete


class TestBefore:
    def test_another_checkout_runs_as_the_base(self, tmp_path: Path) -> None:
        options = race.parser().parse_args(["--before", str(tmp_path), "--servers", "mreactor-epoll"])
        plan = race.plan_of(options)
        assert [server.name for server in plan.servers] == [
            "mreactor-epoll",
            "before-epoll",
            "before-io_uring",
        ]
        assert plan.bases == ("before-epoll", "before-io_uring")

    def test_it_runs_from_its_own_code(self, tmp_path: Path) -> None:
        (earlier, _) = servers.before(tmp_path)
        with temporary_docroot() as docroot:
            launch = earlier.launch(servers.Site(1, docroot, tmp_path, 1))
        assert launch.environment["PYTHONPATH"] == str(tmp_path)


class TestMissing:
    @pytest.fixture(autouse=True)
    def without_competitors(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))

    def test_competitors_that_are_not_installed_are_skipped_by_name(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = ("granian", "uvicorn", "gunicorn", "waitress")
        chosen = tuple(servers.BY_NAME[name] for name in names)
        plan = race.Plan((cases.BY_NAME["root64"],), chosen, 2, 0.1, 0.0, ("nginx",))
        (one,), whole_race = race.run(plan, Placement())
        assert whole_race
        assert one.lanes == []
        assert one.skipped == dict.fromkeys(names, venv.REMEDY)
        assert "granian skipped: install the competitors" in capsys.readouterr().err

    def test_a_server_is_not_started_for_a_case_that_it_cannot_answer(self) -> None:
        plan = race.Plan((cases.BY_NAME["echo"],), (servers.BY_NAME["floor"],), 1, 0.1, 0.0, ())
        (one,), _ = race.run(plan, Placement())
        assert one.skipped == {"floor": "has one canned reply only"}

    def test_a_wrong_answer_is_no_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(race, "expected_bytes", lambda case, docroot: b"something else")
        plan = race.Plan((cases.BY_NAME["root64"],), (servers.BY_NAME["floor"],), 1, 0.1, 0.0, ())
        (one,), _ = race.run(plan, Placement())
        assert one.skipped == {"floor": "answers / wrongly: 200, 19 bytes"}

    def test_a_server_that_hangs_up_is_no_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def hang_up(own: Process, *asked: object) -> None:
            raise ConnectionResetError("hung up")

        monkeypatch.setattr(Process, "wait_ready", lambda own: None)
        monkeypatch.setattr(Process, "answer", hang_up)
        plan = race.Plan((cases.BY_NAME["root64"],), (servers.BY_NAME["floor"],), 1, 0.1, 0.0, ())
        (one,), _ = race.run(plan, Placement())
        assert one.skipped == {"floor": "does not answer /: ConnectionResetError('hung up')"}

    def test_an_interrupted_installation_does_not_count(self, tmp_path: Path) -> None:
        (venv.home() / "bin").mkdir(parents=True)
        with pytest.raises(Missing, match="--install"):
            venv.python()
        assert venv.versions() == {}
        venv.record().write_text('{"granian": "1.2"}')
        assert venv.versions() == {"granian": "1.2"}
        assert venv.python().startswith(os.fspath(tmp_path))

    def test_the_chosen_interpreter_is_tried_first_and_a_bad_one_passed_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(venv.PYTHON_VARIABLE, "/nonexistent/python")
        assert next(venv.candidates()) == "/nonexistent/python"
        assert not venv.is_ordinary("/nonexistent/python")

    def test_a_failing_step_is_named(self) -> None:
        with pytest.raises(Missing, match="ended with status 3"):
            venv.step([sys.executable, "-c", "raise SystemExit(3)"])

    def test_the_command_line_refuses_nonsense(self, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments in (
            ["--rounds", "0"],
            ["--seconds", "-1"],
            ["--cases", "nonsense"],
            ["--servers", "apache"],
        ):
            with pytest.raises(SystemExit) as ended:
                race.main(arguments)
            assert ended.value.code == 2
        assert "has to be more than 0" in capsys.readouterr().err

    def test_without_wrk_the_race_ends_with_status_2(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", os.fspath(tmp_path))
        assert race.main([]) == scaling.main([]) == c10k.main([]) == pauses.main([]) == 2
        assert capsys.readouterr().err.count("wrk is not installed") == 4


class TestApplications:
    @pytest.fixture(autouse=True)
    def with_files(self, monkeypatch: pytest.MonkeyPatch, docroot: Docroot) -> None:
        monkeypatch.setattr(apps, "PAGE", docroot.page)
        monkeypatch.setattr(apps, "LARGE_PATH", docroot.directory / "large.bin")

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_wsgi_gives_the_right_answer(self, case: Case, docroot: Docroot) -> None:
        started: list[tuple[str, dict[str, str]]] = []
        body = b"x" * case.load.body_bytes
        environ: dict[str, Any] = {"PATH_INFO": case.load.path, "CONTENT_LENGTH": str(len(body))}
        environ["wsgi.input"] = BytesIO(body)
        answer = b"".join(apps.wsgi(environ, lambda status, headers: started.append((status, dict(headers)))))
        assert expected_bytes(case, docroot) in answer
        assert [status for status, _ in started] == ["200 OK"]
        assert started[0][1]["Content-Length"] == str(len(answer))

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_asgi_gives_the_right_answer(self, case: Case, docroot: Docroot) -> None:
        body = b"x" * case.load.body_bytes
        waiting: list[dict[str, Any]] = [{"body": body[:10], "more_body": True}, {"body": body[10:]}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return waiting.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(apps.asgi({"type": "http", "path": case.load.path}, receive, send))
        head, answer = sent
        assert head["status"] == 200
        assert expected_bytes(case, docroot) in answer["body"]
        assert (b"content-length", str(len(answer["body"])).encode()) in head["headers"]

    def test_an_unknown_path_is_not_found(self) -> None:
        assert apps.answer("/nothing")[0] == "404 Not Found"

    def test_the_large_file_is_as_large_as_the_case_says(self, docroot: Docroot) -> None:
        assert len(docroot.large) == LARGE_BYTES == 1 << 20


class TestScaling:
    def scaling_of(self, costs: dict[int, list[float]], waits: float) -> scaling.Scaling:
        facts = machine.Machine("d", "p", 2, "k", "Python 3.13.5t", "wrk 4", 0.0, "c")
        told = scaling.Scaling(facts, "somewhere", Load("/", 256), 2, 1.0, 4.0)
        for threads, by_round in costs.items():
            samples = [sample(1000.0, cost) for cost in by_round]
            told.points.append(
                scaling.Point(
                    cases.EPOLL, threads, samples, {"strace": waits}, {"strace": {"requests": 100_000}}
                )
            )
        return told

    def test_growth_is_taken_round_by_round(self) -> None:
        (line,) = self.scaling_of({1: [10.0, 20.0], 16: [10.5, 21.0]}, 0.2).lines()
        assert scaling.growth(line) == pytest.approx(1.05)
        assert scaling.growth(line[:1]) is None

    def test_the_report_says_whether_the_goals_are_met(self) -> None:
        good = scaling.markdown(self.scaling_of({1: [10.0], 16: [10.5]}, 0.2))
        assert " 0.20 of 100,000 |" in good
        assert "1.05x from 1 to 16 threads (goal: at most 1.1, met)" in good
        assert "at most 0.20 futex and sched_yield calls per 1,000 requests (goal: under 1, met)" in good
        bad = scaling.markdown(self.scaling_of({1: [10.0], 16: [12.0]}, 5.0))
        assert bad.count("missed") == 2

    def test_the_chart_is_well_formed_and_the_json_complete(self) -> None:
        told = self.scaling_of({1: [10.0], 2: [11.0]}, 0.0)
        root = ElementTree.fromstring(scaling.svg(told))
        texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "1 thread" in texts
        assert "2 threads" in texts
        assert json.loads(json.dumps(scaling.as_dict(told)))["growth"] == {cases.EPOLL: 1.1}


class TestTenThousand:
    def test_the_report_compares_with_nginx_and_counts_what_stayed_open(self) -> None:
        facts = machine.Machine("d", "p", 2, "k", "Python 3.13.5t", "wrk 4", 0.0, "c")
        quiet, leaking = c10k.State(20 << 20, 10), c10k.State(30 << 20, 13)
        own = c10k.Trial(
            cases.EPOLL,
            quiet,
            sample(10.0, errors=Errors(timeout=4)),
            quiet,
            sample(9.0),
            quiet,
            2,
            60.0,
            leaking,
        )
        nginx = c10k.Trial("nginx", quiet, sample(10.0), quiet)
        failed = c10k.Trial(cases.IO_URING, failures=["there is no mreactor to start yet"])
        words = c10k.markdown(c10k.Result(facts, 10_000, 60.0, 10.0, [own, failed, nginx]))
        assert (
            "busy errors: 4 timeout; descriptors left open: 3; p99 1.00x nginx's (goal: at most 1, met)"
            in words
        )
        assert "fresh client beside idle ones 60.0 ms (goal: 50 ms, missed)" in words
        assert "- mreactor-io_uring: there is no mreactor to start yet" in words


class TestSmallParts:
    def test_progress_counts_and_foresees(self) -> None:
        stream = StringIO()
        own = progress.Progress(4, stream)
        own.begun -= 60.0
        own.step("one")
        own.skip(1)
        own.step("two")
        own.step("three")
        assert stream.getvalue().splitlines() == [
            "[1/4, 3 min left] one",
            "[2/3, 30 s left] two",
            "[3/3] three",
        ]

    def test_more_files_than_the_machine_allows_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
        with pytest.raises(
            limits.Refused, match="needs 10000 open files in one process, the hard limit is 4096"
        ):
            limits.allow_open_files(10_000)

    def test_the_soft_limit_is_raised_only_as_far_as_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wanted: list[tuple[int, int]] = []
        monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 20_000))
        monkeypatch.setattr("resource.setrlimit", lambda which, pair: wanted.append(pair))
        limits.allow_open_files(1000)
        limits.allow_open_files(11_000)
        assert wanted == [(11_000, 20_000)]

    def test_results_are_written_only_where_asked(self, tmp_path: Path) -> None:
        options.write(None, "x")
        options.write(tmp_path / "out", "x")
        assert [path.read_text() for path in tmp_path.iterdir()] == ["x"]

    def test_the_machine_is_described(self) -> None:
        facts = machine.describe("bench.race")
        assert facts.command.startswith("python -m bench.race")
        assert facts.python in str(facts)
        assert facts.cores >= 1


class TestPauses:
    def test_each_collection_is_recorded_with_its_time(self) -> None:
        recorder = pauses.Recorder()
        gc.callbacks.append(recorder)
        try:
            for _ in range(3):
                gc.collect()
        finally:
            gc.callbacks.remove(recorder)
        assert len(recorder.pauses_ms) == 3
        assert all(0 < pause < 10_000 for pause in recorder.pauses_ms)

    def test_a_long_pause_misses_the_goal(self) -> None:
        trials = [
            pauses.Trial("a", "with", 10, (6.0, 1.0), 1.0, 2.0, 3.0),
            pauses.Trial("a", "without", 10, (), 1.0, 2.0, 3.0),
        ]
        assert "6.00 ms (goal: at most 5 ms, missed)" in pauses.markdown(trials, Load("/", 4), 1.0)
        assert "0.00 ms (goal: at most 5 ms, met)" in pauses.markdown(trials[1:], Load("/", 4), 1.0)


@needs_wrk
class TestEndToEnd:
    def test_the_floor_races_itself(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        outputs = {kind: tmp_path / kind for kind in ("json", "svg", "markdown", "save")}
        arguments = ["--cases", "root64", "--servers", "floor", "--base", "floor", "--rounds", "1"]
        arguments += ["--seconds", "0.3", "--warm-up", "0"]
        for kind, path in outputs.items():
            arguments += [f"--{kind}", os.fspath(path)]
        assert race.main(arguments) == 0
        (lane,) = json.loads(outputs["json"].read_text())["cases"][0]["lanes"]
        assert lane["ratios"]["floor"] == {"median": 1.0, "low": 1.0, "high": 1.0}
        (measured,) = lane["samples"]
        assert measured["outcome"]["requests"] > 0
        assert measured["outcome"]["errors"] == {
            "connect": 0,
            "read": 0,
            "write": 0,
            "status": 0,
            "timeout": 0,
        }
        assert 0.2 < measured["outcome"]["seconds"] < 60
        assert 0 < measured["outcome"]["latency_us"]["50"] <= measured["outcome"]["latency_us"]["99"]
        assert ElementTree.fromstring(outputs["svg"].read_text()).tag.endswith("svg")
        (server,) = json.loads(outputs["save"].read_text())["cases"][0]["servers"]
        assert server["rate"] == pytest.approx(
            measured["outcome"]["requests"] / measured["outcome"]["seconds"], abs=0.1
        )
        assert server["cpu_us"] == pytest.approx(measured["cpu_us_per_request"], abs=0.01)
        told = capsys.readouterr()
        assert outputs["markdown"].read_text() in told.out
        assert "[1/1] root64 round 1/1 floor:" in told.err

    def test_the_collector_is_watched(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = [
            "--servers",
            "mreactor-epoll",
            "--seconds",
            "0.3",
            "--json",
            os.fspath(tmp_path / "json"),
        ]
        assert pauses.main(arguments) == 0
        trials = json.loads((tmp_path / "json").read_text())["trials"]
        assert [trial["policy"] for trial in trials] == ["with", "without"]
        assert all(trial["requests"] > 0 for trial in trials)
        assert "Longest pause with the policy" in capsys.readouterr().out

    def test_pipelined_and_closing_loads_are_answered(self, docroot: Docroot) -> None:
        with servers.running(servers.BY_NAME["floor"], docroot, 1, frozenset()) as own:
            for asked in (Load("/", 4, pipeline=16), Load("/", 4, close=True)):
                outcome = load.run(asked, own.port, 0.3)
                assert outcome.requests > 0
                assert outcome.errors.total == 0

    def test_a_port_without_a_server_is_an_error_in_words(self) -> None:
        with pytest.raises(LoadError, match="unable to connect"):
            load.run(Load("/", 1), process.free_port(), 1)
