"""The configuration file: names and types, what overrides it, and its errors."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mreactor.cli import parse
from mreactor.config import Config, ConfigError, Limits

type Write = Callable[[str | bytes], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file; return its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> str:
        path = tmp_path / "server.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def test_keys_are_the_names_of_the_options(write: Write) -> None:
    path = write(
        'app = "shop:app"\nbind = ["127.0.0.1:1", "unix:/run/a.sock"]\nthreads = 3\nadmin-public = true\n'
        "keepalive-seconds = 620\nhead_seconds = 2.5\nbody-bytes-max = 1_000\naccess-log = 'json:logs/x.log'\n"
    )
    wanted = Config(
        bind=("127.0.0.1:1", "unix:/run/a.sock"),
        threads=3,
        admin_public=True,
        access_log=f"json:{Path.cwd()}/logs/x.log",
        limits=Limits(keepalive_seconds=620, head_seconds=2.5, body_bytes_max=1000),
    )
    assert parse(["--config", path], {}) == (wanted, "shop:app")


def test_one_text_may_stand_for_a_list_of_one(write: Write) -> None:
    assert parse(["--config", write('bind = "x:1"')], {})[0].bind == ("x:1",)


def test_an_empty_file_changes_nothing(write: Write) -> None:
    assert parse([f"--config={write('')}"], {}) == (Config(), "")


def test_variables_override_the_file_and_options_override_both(write: Write) -> None:
    path = write('app = "a:app"\nbackend = "io_uring"\nlog-level = "error"\nthreads = 3\nbind = ["x:1", "x:2"]')
    environment = {"WORKER_BACKEND": "auto", "HTTP_SERVER_LOG": "debug"}
    config, app = parse(["--config", path, "--log-level", "off", "--bind", "y:1", "b:app"], environment)
    assert (config.backend, config.log_level, config.threads, config.bind) == ("auto", "off", 3, ("y:1",))
    assert app == "b:app"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("thread = 3", "unknown key 'thread'; did you mean 'threads'?"),
        ("keep-alive-seconds = 3", "unknown key 'keep-alive-seconds'; did you mean 'keepalive-seconds'?"),
        ("Threads = 3", "unknown key 'Threads'; did you mean 'threads'?"),
        ("zzz = 3", "unknown key 'zzz'"),
        ("limits = 3", "unknown key 'limits'"),
        ("[limits]\nhead-seconds = 3", "unknown key 'limits'"),
        ("config = 'x'", "unknown key 'config'"),
        ("head-seconds = 3\nhead_seconds = 4", "'head_seconds' is there twice"),
        ("threads = 'three'", "--config: FILE: threads: 'three' is not a whole number"),
        ("threads = 3.0", "--config: FILE: threads: 3.0 is not a whole number"),
        ("threads = true", "--config: FILE: threads: True is not a whole number"),
        ("head-seconds = true", "--config: FILE: head-seconds: True is not a number"),
        ("head-seconds = inf", "--config: FILE: head-seconds: inf is not a positive number"),
        ("admin-public = 1", "--config: FILE: admin-public: 1 is not True or False"),
        ("bind = 3", "--config: FILE: bind: 3 is not a list of texts"),
        ("bind = [3]", "--config: FILE: bind: (3,) is not a list of texts"),
        ("bind = ['x']", "--config: FILE: bind: 'x' is not HOST:PORT"),
        ("app = 3", "app: 3 is not text"),
        ("threads = ", "is not valid TOML: Invalid value (at end of document)"),
        ("threads = 1\nthreads = 2", "is not valid TOML: Cannot overwrite a value"),
        (b"\xff = 1", "is not valid TOML: "),
    ],
)
def test_an_error_is_one_line(write: Write, text: str | bytes, said: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        parse(["--config", path], {})
    assert said in str(caught.value).replace(path, "FILE")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--config: cannot read /nowhere/x\.toml: No such file or directory$"):
        parse(["--config", "/nowhere/x.toml"], {})


def test_an_error_of_an_option_is_not_the_file_s(write: Write) -> None:
    with pytest.raises(ConfigError, match=r"^--port: 70000 is more"):
        parse(["--config", write("port = 80"), "--port", "70000"], {})
