"""TLS against nginx with the same certificate and ciphers, on one core.

    python -m bench.tls [--rounds 5] [--seconds 3] [--cases computed,mib,full,resumed] [--idle 10000]

Each round measures each server for each case; the table shows the medians of the rates, of their ratios within a round,
and of the CPU time that a request or a handshake takes. Then idle connections tell what memory each of them keeps.
Needs openssl, for the certificate and for the handshakes. Runs on the harness's only thread.
"""

import argparse
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.beside_nginx import Figure, names_among, table
from bench.docroot import LARGE_NAME, temporary_docroot
from bench.idle import ANSWER_SECONDS, ask
from bench.limits import allow_open_files
from bench.load import DONE, last_line, output_of, parse, wrk
from bench.options import positive_int
from bench.placement import Placement, one_core_each, pinned
from bench.process import HOST, Launch, Process, program
from bench.servers import SERVERS, Server, Site, nginx_configuration, running

CIPHERS = "ECDHE-ECDSA-AES256-GCM-SHA384"
PROTOCOLS = "TLSv1.2 TLSv1.3"
# The end of nginx's `listen`, behind which its TLS is configured.
LISTENING = "backlog=4096;"
HANDSHAKING_CLIENTS = 4
SPARE_FILES = 200
SETTLE_SECONDS = 2.0

# By name: what is asked for, and the ratio to nginx that is wanted.
REQUESTS = {"computed": ("/hello/world", 64, 0.8), "mib": (f"/{LARGE_NAME}", 32, 0.6)}
# By name: how s_time connects, and the ratio that is wanted.
HANDSHAKES = {"full": ("-new", "*", 0.8), "resumed": ("-reuse", "r", 0.7)}
WANTED = {name: wanted for name, (*_, wanted) in (REQUESTS | HANDSHAKES).items()}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a self-signed certificate with a P-256 key."""

    chain: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """Make a certificate in a directory."""
    made = Certificate(directory / "cert.pem", directory / "key.pem")
    command = [program("openssl"), *"req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1".split()]
    command += ["-subj", "/CN=localhost", "-days", "2", "-keyout", os.fspath(made.key), "-out", os.fspath(made.chain)]
    subprocess.run(command, check=True, capture_output=True)
    return made


def with_tls(server: Server, certificate: Certificate) -> Server:
    """Return the server with TLS on its port."""

    def launch(site: Site) -> Launch:
        plain = server.launch(site)
        if server.name != "nginx":
            files = ("--tls-cert", os.fspath(certificate.chain), "--tls-key", os.fspath(certificate.key))
            return replace(plain, command=(*plain.command, *files, "--tls-ciphers", CIPHERS))
        fields = f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
        fields += f" ssl_protocols {PROTOCOLS}; ssl_ciphers {CIPHERS}; ssl_session_cache shared:bench:10m;"
        configuration = nginx_configuration(site, "")
        assert LISTENING in configuration
        (site.directory / "nginx.conf").write_text(configuration.replace(LISTENING, f"backlog=4096 ssl; {fields}"))
        return plain

    return replace(server, launch=launch)


def measure(case: str, process: Process, seconds: int, placement: Placement) -> Figure:
    """Measure one server in one case."""
    before = process.cpu_seconds()
    if case in REQUESTS:
        count, taken = request(*REQUESTS[case][:2], process.port, seconds, placement)
    else:
        count, taken = shake_hands(*HANDSHAKES[case][:2], process.port, seconds, placement)
    return Figure(count / taken, (process.cpu_seconds() - before) * 1e6 / count)


def request(path: str, connections: int, port: int, seconds: int, placement: Placement) -> tuple[int, float]:
    """Return the requests on kept connections, and the seconds that they took."""
    with TemporaryDirectory(prefix="mreactor-bench-load-") as name:
        script = Path(name, "load.lua")
        script.write_text(DONE)
        command = [wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", os.fspath(script)]
        output = output_of([*command, f"https://{HOST}:{port}{path}"], seconds, placement.load)
    outcome = parse(output)
    assert not outcome.errors.total, outcome.errors
    return outcome.requests, outcome.seconds


def shake_hands(option: str, mark: str, port: int, seconds: int, placement: Placement) -> tuple[int, float]:
    """Return the handshakes of several clients, one after the other each, and the seconds that they took.

    TLS 1.2, where s_time resumes without reading a response first. It prints a mark for each handshake, which tells
    whether it was resumed.
    """
    command = [program("openssl"), "s_time", "-connect", f"{HOST}:{port}", option, "-time", str(seconds), "-tls1_2"]
    began = time.monotonic()
    with pinned(placement.load):
        clients = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(HANDSHAKING_CLIENTS)
        ]
    outputs = [client.communicate(timeout=seconds + ANSWER_SECONDS)[0] for client in clients]
    taken = time.monotonic() - began
    count = 0
    for output in outputs:
        found = re.search(r"^(\d+) connections in \d+ real seconds", output, re.MULTILINE)
        assert found is not None, last_line(output)
        count += int(found[1])
        marks = re.search(r"[*rt]{20,}", output)
        assert marks is not None, output
        assert marks[0].count(mark) >= 0.98 * len(marks[0]), marks[0][:80]
    return count, taken


def run(
    names: list[str], processes: dict[str, Process], rounds: int, seconds: int, placement: Placement
) -> dict[tuple[str, str], list[Figure]]:
    """Measure each server in each case, one after the other, so many rounds."""
    figures: dict[tuple[str, str], list[Figure]] = {}
    for number in range(rounds + 1):
        for case in names:
            for server, process in processes.items():
                figure = measure(case, process, seconds, placement)
                if number:
                    # The first round warms up.
                    figures.setdefault((case, server), []).append(figure)
    return figures


def idle_bytes(process: Process, count: int) -> float:
    """Return the resident memory that each of so many idle connections adds, after one request on each."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    clients: list[socket.socket] = []
    before = process.resident_bytes()
    try:
        for _ in range(count):
            plain = socket.create_connection((HOST, process.port), timeout=ANSWER_SECONDS)
            clients.append(context.wrap_socket(plain))
            ask(clients[-1])
        time.sleep(SETTLE_SECONDS)
        return (process.resident_bytes() - before) / count
    finally:
        for client in clients:
            client.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="TLS against nginx, on one core.")
    parser.add_argument("--rounds", type=positive_int, default=5)
    parser.add_argument("--seconds", type=positive_int, default=3)
    parser.add_argument("--cases", type=names_among(WANTED), default=",".join(WANTED), help="comma-separated")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections, 0 for none")
    options = parser.parse_args()
    allow_open_files(options.idle + SPARE_FILES)
    placement = one_core_each()
    with temporary_docroot() as docroot, ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="mreactor-bench-certificate-")))
        certificate = make_certificate(directory)
        processes = {
            server.name: stack.enter_context(running(with_tls(server, certificate), docroot, 1, placement.server))
            for server in SERVERS
            if server.name in ("nginx", "mreactor-epoll", "mreactor-io_uring")
        }
        for line in table(run(options.cases, processes, options.rounds, options.seconds, placement), WANTED):
            sys.stdout.write(line + "\n")
        for name, process in processes.items() if options.idle else ():
            sys.stdout.write(f"{name}: {idle_bytes(process, options.idle) / 1024:.1f} KiB for an idle connection\n")


if __name__ == "__main__":
    main()
