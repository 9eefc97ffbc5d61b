"""What the benchmarks measure with: the load, the counters, the processes they start and end."""

import gc
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from io import StringIO
from pathlib import Path

import pytest

from bench import limits, load, machine, options, pauses, placement, process, progress, syscalls
from bench.cases import CASES
from bench.idle import whole
from bench.load import Errors, Load, LoadError
from bench.placement import Placement
from bench.process import Launch, Missing, Process

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

    def test_a_server_that_never_answers_is_given_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

    def test_stop_ends_a_deaf_server_and_its_worker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


class TestSmallParts:
    def test_progress_counts_and_foresees(self) -> None:
        stream = StringIO()
        own = progress.Progress(4, stream)
        own.begun -= 60.0
        own.step("one")
        own.skip(1)
        own.step("two")
        own.step("three")
        assert stream.getvalue().splitlines() == ["[1/4, 3 min left] one", "[2/3, 30 s left] two", "[3/3] three"]

    def test_more_files_than_the_machine_allows_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
        with pytest.raises(limits.Refused, match="needs 10000 open files in one process, the hard limit is 4096"):
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
