"""The load: one run of wrk, described, scripted, started, and its figures read.

Runs on the harness's only thread. Knows wrk, no server. The figures come from wrk's own structures through
a Lua `done` hook, not from its rounded text. `generator.py` sends what wrk cannot.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench.placement import pinned

MARK = "MREACTOR-BENCH "
GRACE_SECONDS = 20.0  # beyond its own time wrk needs a moment to connect, to join its threads and to sort
PERCENTILES = ("50", "90", "99", "99.9", "100")

DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'MREACTOR-BENCH {"duration_us":%.0f,"requests":%.0f,"bytes":%.0f,' ..
    '"connect":%.0f,"read":%.0f,"write":%.0f,"status":%.0f,"timeout":%.0f,' ..
    '"p50":%.0f,"p90":%.0f,"p99":%.0f,"p99.9":%.0f,"p100":%.0f}\\n',
    summary.duration, summary.requests, summary.bytes,
    e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9),
    latency.max))
end
"""


class LoadError(Exception):
    """wrk is missing, could not connect, or said nothing that can be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """What each connection asks, again and again.

    `traffic` names requests that all differ. `bench.generator` sends them in place of wrk. With `checks_bodies` it
    compares the bodies of their responses, too.
    """

    path: str
    connections: int
    threads: int = 1
    method: str = "GET"
    body_bytes: int = 0
    pipeline: int = 1
    close: bool = False
    traffic: str = ""
    checks_bodies: bool = True


@dataclass(frozen=True, slots=True)
class Errors:
    """wrk's counts: sockets that failed, answers over 399, answers that took over two seconds."""

    connect: int = 0
    read: int = 0
    write: int = 0
    status: int = 0
    timeout: int = 0

    @property
    def total(self) -> int:
        return self.connect + self.read + self.write + self.status + self.timeout

    def __str__(self) -> str:
        counts = {name: getattr(self, name) for name in ("connect", "read", "write", "status", "timeout")}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "0"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave. Latencies in microseconds by percentile; one that wrk could not tell is missing."""

    seconds: float
    requests: int
    bytes: int
    errors: Errors = field(default_factory=Errors)
    latency_us: dict[str, float] = field(default_factory=dict)

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds


def wrk() -> str:
    """The path of wrk; LoadError where there is none."""
    found = shutil.which("wrk")
    if found is None:
        raise LoadError("wrk is not installed")
    return found


def script(load: Load) -> str:
    """The Lua script of a load. Requests are built once, before the clock starts: the load stays cheap."""
    lines = [f'wrk.method = "{load.method}"']
    if load.body_bytes:
        lines.append(f'wrk.body = string.rep("x", {load.body_bytes})')
        lines.append('wrk.headers["Content-Type"] = "application/octet-stream"')
    if load.close:
        lines.append('wrk.headers["Connection"] = "close"')
    if load.pipeline > 1:
        lines.append("local one = wrk.format")
        lines.append(f"wrk.format = function(...) return string.rep(one(...), {load.pipeline}) end")
    return "\n".join(lines) + DONE


def parse(output: str) -> Outcome:
    """Read the line that the script's `done` hook wrote; LoadError where it is missing or empty of time."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise LoadError(f"the load gave no summary: {last_line(output)}")
    figures: dict[str, int] = json.loads(line[len(MARK) :])
    if figures["duration_us"] <= 0:
        raise LoadError("the load ran for no time at all")
    errors = Errors(*(figures[name] for name in ("connect", "read", "write", "status", "timeout")))
    latency = {rank: float(figures["p" + rank]) for rank in PERCENTILES if figures["p" + rank] > 0}
    return Outcome(figures["duration_us"] / 1e6, figures["requests"], figures["bytes"], errors, latency)


def run(load: Load, port: int, seconds: float, cores: frozenset[int] = frozenset()) -> Outcome:
    """Put the load on 127.0.0.1:port for so many seconds (fractions are fine) and return what came of it."""
    with tempfile.TemporaryDirectory(prefix="mreactor-bench-load-") as name:
        lua = Path(name, "load.lua")
        lua.write_text(script(load))
        command = [wrk(), f"-t{load.threads}", f"-c{load.connections}", f"-d{math.ceil(seconds)}s"]
        command += ["-s", os.fspath(lua), f"http://127.0.0.1:{port}{load.path}"]
        return parse(output_of(command, seconds, cores))


def output_of(command: list[str], seconds: float, cores: frozenset[int]) -> str:
    """Run a load and return all that it says.

    wrk takes whole seconds only; SIGINT makes it stop and sum up earlier.
    """
    with pinned(cores):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        return whole_output(process, seconds)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def whole_output(process: subprocess.Popen[str], seconds: float) -> str:
    """Wait for the load within its time and some grace."""
    if seconds != math.ceil(seconds):
        try:
            return process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=seconds + GRACE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        raise LoadError(f"the load did not end within {seconds + GRACE_SECONDS:.0f} s") from None


def last_line(text: str) -> str:
    """The last line that is not blank: where programs say what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
