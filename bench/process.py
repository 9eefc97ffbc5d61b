"""A server as a child process: started on its cores, waited for, measured from outside, ended for certain.

Owned by the harness's only thread. Knows the kernel's view of a process (proc(5)), nothing of HTTP servers
in particular. Everything is summed over the process tree, because most servers put workers under a master.
"""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import last_line
from bench.placement import pinned

HOST = "127.0.0.1"
READY_SECONDS = 20.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02  # there is no event to wait for: a foreign process says "ready" by answering
ANSWER_SECONDS = 5.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Missing(Exception):
    """The server is not installed, does not start or does not answer rightly; says which in one line."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start: the command and what it needs in its environment."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


class Process:
    """One running server. `stop` ends it and all its children, whatever state they are in."""

    def __init__(self, launch: Launch, port: int, directory: Path) -> None:
        self.launch = launch
        self.port = port
        self.log = directory / "output.log"
        self.stopped = False

    def start(self, cores: frozenset[int]) -> None:
        """Start the command on these cores; Missing where the program is not there."""
        try:
            with self.log.open("wb") as log, pinned(cores):
                self.child = subprocess.Popen(
                    self.launch.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self.launch.environment,
                    cwd=self.log.parent,
                    start_new_session=True,
                )
        except OSError as error:
            raise Missing(f"does not start: {error}") from error

    def wait_ready(self) -> None:
        """Return as soon as it answers; Missing with the last line of its output where it does not."""
        limit = time.monotonic() + READY_SECONDS
        while time.monotonic() < limit:
            if self.child.poll() is not None:
                raise Missing(f"ended with status {self.child.returncode}: {self.last_words()}")
            try:
                self.answer("GET", "/")
                return
            except (OSError, http.client.HTTPException):
                time.sleep(POLL_SECONDS)
        raise Missing(f"did not answer within {READY_SECONDS:.0f} s: {self.last_words()}")

    def answer(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Ask once on a new connection: the status and the body."""
        client = http.client.HTTPConnection(HOST, self.port, timeout=ANSWER_SECONDS)
        try:
            headers = {"Content-Type": "application/octet-stream"} if body else {}
            client.request(method, path, body, headers)
            response = client.getresponse()
            return response.status, response.read()
        finally:
            client.close()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to the whole session, so that no orphaned worker stays behind.

        Once only: after that the numbers of the dead may belong to others.
        """
        if self.stopped:
            return
        self.stopped = True
        if self.child.poll() is None:
            self.child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def last_words(self) -> str:
        return last_line(self.log.read_text(errors="replace"))

    def pids(self) -> list[int]:
        return tree(self.child.pid, parents())

    def cpu_seconds(self) -> float:
        """User and system time so far, in steps of one clock tick (10 ms on most machines)."""
        return sum(cpu_ticks(pid) for pid in self.pids()) / TICKS_PER_SECOND

    def resident_bytes(self) -> int:
        """Resident memory; pages that a master shares with its workers count once for each."""
        return sum(resident_bytes(pid) for pid in self.pids())

    def descriptors(self) -> list[str]:
        """What the tree's open descriptors stand for, such as `socket:[1234]`, `anon_inode:[io_uring]`."""
        return [target for pid in self.pids() for target in descriptors(pid)]


def free_port() -> int:
    """A port that is free now.

    Somebody may take it before the server does: then the server fails and says so.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str:
    """The path of a program on PATH or among the system's daemons; Missing where there is none."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def parents() -> dict[int, int]:
    """Parent by process id, for all processes that are visible."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = stat_fields(int(entry.name))
            if fields:
                found[int(entry.name)] = int(fields[1])
    return found


def tree(root: int, parent_of: dict[int, int]) -> list[int]:
    """The process and all its descendants."""
    members = [root]
    for member in members:
        members.extend(pid for pid, parent in parent_of.items() if parent == member)
    return members


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from field 3, the state, on; none for a process that is gone."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return []


def parse_stat(text: str) -> list[str]:
    """Split behind the last parenthesis: the command's name may hold spaces and parentheses itself."""
    return text[text.rindex(")") + 1 :].split()


def cpu_ticks(pid: int) -> int:
    """utime and stime (fields 14 and 15 of proc(5)); 0 for a process that is gone."""
    fields = stat_fields(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def resident_bytes(pid: int) -> int:
    """VmRSS; 0 for a process that is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> list[str]:
    """The targets of /proc/PID/fd; none for a process that is gone."""
    try:
        return [target for link in Path(f"/proc/{pid}/fd").iterdir() if (target := target_of(link))]
    except OSError:
        return []


def target_of(link: Path) -> str:
    """Where the link points; nothing for a descriptor that was closed while we looked."""
    try:
        return os.readlink(link)
    except OSError:
        return ""
