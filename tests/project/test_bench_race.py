"""The servers that race, those that are missing, and whole races."""

import asyncio
import json
import os
import shutil
import socket
import sys
import xml.etree.ElementTree as ElementTree
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from bench import apps, c10k, cases, load, pauses, process, race, scaling, servers, venv
from bench.cases import CASES, Case, expected_bytes
from bench.docroot import LARGE_BYTES, WELCOME, Docroot
from bench.idle import IdleClients
from bench.load import Load, LoadError
from bench.placement import Placement
from bench.process import Launch, Missing, Process

DEMO_CASES = [case for case in CASES if not case.load.traffic]

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


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
                for case in (case for case in DEMO_CASES if case.name not in server.unable):
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


class TestBefore:
    def test_another_checkout_runs_as_the_base(self, tmp_path: Path) -> None:
        options = race.parser().parse_args(["--before", str(tmp_path), "--servers", "mreactor-epoll"])
        plan = race.plan_of(options)
        assert [server.name for server in plan.servers] == ["mreactor-epoll", "before-epoll", "before-io_uring"]
        assert plan.bases == ("before-epoll", "before-io_uring")

    def test_it_runs_from_its_own_code(self, docroot: Docroot, tmp_path: Path) -> None:
        (earlier, _) = servers.before(tmp_path)
        launch = earlier.launch(servers.Site(1, docroot, tmp_path, 1))
        assert launch.environment["PYTHONPATH"].split(os.pathsep) == [str(tmp_path), str(servers.SERVED)]


class TestMissing:
    @pytest.fixture(autouse=True)
    def without_competitors(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))

    def test_competitors_that_are_not_installed_are_skipped_by_name(self, capsys: pytest.CaptureFixture[str]) -> None:
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
        for arguments in (["--rounds", "0"], ["--seconds", "-1"], ["--cases", "nonsense"], ["--servers", "apache"]):
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

    @pytest.mark.parametrize("case", DEMO_CASES, ids=lambda case: case.name)
    def test_wsgi_gives_the_right_answer(self, case: Case, docroot: Docroot) -> None:
        started: list[tuple[str, dict[str, str]]] = []
        body = b"x" * case.load.body_bytes
        environ: dict[str, Any] = {"PATH_INFO": case.load.path, "CONTENT_LENGTH": str(len(body))}
        environ["wsgi.input"] = BytesIO(body)
        answer = b"".join(apps.wsgi(environ, lambda status, headers: started.append((status, dict(headers)))))
        assert expected_bytes(case, docroot) in answer
        assert [status for status, _ in started] == ["200 OK"]
        assert started[0][1]["Content-Length"] == str(len(answer))

    @pytest.mark.parametrize("case", DEMO_CASES, ids=lambda case: case.name)
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
        assert measured["outcome"]["errors"] == {"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}
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

    def test_requests_that_differ_are_raced_by_their_cost(self, tmp_path: Path) -> None:
        arguments = ["--cases", "unique-head", "--servers", "floor", "--base", "floor", "--rounds", "1"]
        arguments += ["--seconds", "0.3", "--warm-up", "0.1", "--json", os.fspath(tmp_path / "json")]
        assert race.main(arguments) == 0
        (case,) = json.loads((tmp_path / "json").read_text())["cases"]
        (lane,) = case["lanes"]
        (measured,) = lane["samples"]
        assert measured["outcome"]["requests"] > 0
        assert set(measured["outcome"]["errors"].values()) == {0}
        assert 0 < measured["load_share"] < 1.1
        assert lane["cpu_ratios"]["floor"]["median"] == 1.0
        assert {goal["cpu"] for goal in case["goals"]} == {True}

    def test_the_collector_is_watched(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["--servers", "mreactor-epoll", "--seconds", "0.3", "--json", os.fspath(tmp_path / "json")]
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
