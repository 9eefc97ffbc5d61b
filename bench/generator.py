"""The program that sends traffic: compiled on demand, fed with the kinds of requests, run, and its figures read.

wrk sends the same bytes again and again, and compares no response. Runs on the harness's only thread. Knows no server.
"""

import functools
import hashlib
import os
import secrets
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from bench import venv
from bench.kinds import SLOT, WIDTHS, Traffic, filled
from bench.load import Load, LoadError, Outcome, last_line, output_of, parse
from bench.traffic import TRAFFIC

SOURCE = Path(__file__).resolve().with_name("traffic.c")
# A session's digits are hexadecimal, and come again when all sessions have had their turn.
FORMS = {b"hex": 0, b"number": 1, b"session": 0}
SESSIONS = 10_000
COMPILE_SECONDS = 60.0
# Where the digits start. Sixteen slots of each request are numbered from there, in 64 bits.
START_BITS = 58


def run(load: Load, port: int, seconds: float, cores: frozenset[int] = frozenset()) -> Outcome:
    """Put the load on 127.0.0.1:port for so many seconds. LoadError describes the first wrong response."""
    with tempfile.TemporaryDirectory(prefix="mreactor-bench-traffic-") as name:
        kinds = Path(name, "kinds")
        kinds.write_bytes(encode(TRAFFIC[load.traffic](), bodies=load.checks_bodies))
        command = [program(), str(port), str(load.connections), str(seconds), str(secrets.randbits(START_BITS))]
        told = output_of([*command, os.fspath(kinds)], seconds, cores)
    outcome = parse(told)
    if outcome.errors.status:
        raise LoadError(f"{outcome.errors.status} {complaint(told)}")
    return outcome


def complaint(told: str) -> str:
    """The line on the first wrong response."""
    return last_line("\n".join(line for line in told.splitlines() if line.startswith("wrong response")))


@functools.cache
def program() -> str:
    """The path of the compiled program, which stays in the user's cache; LoadError where it cannot be compiled."""
    source = SOURCE.read_bytes()
    binary = venv.home().with_name(f"bench-traffic-{hashlib.sha256(source).hexdigest()[:16]}")
    if not binary.exists():
        compile_to(binary)
    return os.fspath(binary)


def compile_to(binary: Path) -> None:
    """Compile under another name first: an interrupted compiler leaves nothing that looks whole."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise LoadError("there is no C compiler (cc) for the load of requests that differ")
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as name:
        made = Path(name, "traffic")
        command = [compiler, "-O2", "-o", os.fspath(made), os.fspath(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
        if done.returncode:
            raise LoadError(f"the load of requests that differ does not compile: {last_line(done.stderr)}")
        made.rename(binary)


def encode(traffic: Traffic, *, bodies: bool = True) -> bytes:
    """The file that the program reads. Without bodies it compares the status of each response only."""
    parts = [encode_numbers(len(traffic.kinds))]
    for one in traffic.kinds:
        parts.append(encode_numbers(one.status, one.closes))
        parts.append(encode_template(one.request))
        parts.append(encode_template(one.body or b"" if bodies else b""))
    return b"".join((*parts, encode_numbers(len(traffic.order), *traffic.order)))


def encode_template(template: bytes) -> bytes:
    """Length, number of slots, slots and bytes. A slot is its offset in the bytes, its form, name and period."""
    slots, shift = [], 0
    for slot in SLOT.finditer(template):
        period = SESSIONS if slot[1] == b"session" else 0
        slots.append(encode_numbers(slot.start() + shift, FORMS[slot[1]], int(slot[2]), period))
        shift += WIDTHS[slot[1]] - len(slot[0])
    whole = filled(template)
    return encode_numbers(len(whole), len(slots)) + b"".join(slots) + whole


def encode_numbers(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)
