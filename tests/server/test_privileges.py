"""The user and group of a process, and the file with its number."""

import grp
import os
import pwd
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mreactor import ConfigError, StartError
from mreactor.server.privileges import become, remove_pid_file, write_pid_file
from tests.support.processes import ROOT, ask, environment, run, start
from tests.support.vectors import get

NOBODY = pwd.getpwnam("nobody")

IDENTITY = """
import os
from mreactor import App

app = App()
imported = f"{os.getuid()} {os.getgid()}"

@app.get("/")
def identity(request):
    return f"{os.getresuid()} {os.getresgid()} {os.getgroups()} {imported}"
"""


def in_child(source: str) -> str:
    """Run a program, which may change its user; return what it prints."""
    command = [sys.executable, "-c", f"import os\nfrom mreactor.server.privileges import become\n{source}"]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or done.stderr.strip()


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")


def test_a_user_by_name_brings_its_group() -> None:
    needs_root()
    found = in_child("become('nobody', ''); print(os.getresuid(), os.getresgid(), os.getgroups())")
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert found == f"({uid}, {uid}, {uid}) ({gid}, {gid}, {gid}) [{gid}]"


def test_a_user_and_a_group_by_number() -> None:
    needs_root()
    found = in_child("become('12345', '54321'); print(os.getresuid(), os.getresgid(), os.getgroups())")
    assert found == "(12345, 12345, 12345) (54321, 54321, 54321) [54321]"


def test_a_group_alone() -> None:
    needs_root()
    assert in_child("become('', '54321'); print(os.getuid(), os.getresgid())") == "0 (54321, 54321, 54321)"


def test_what_the_process_is_already_needs_no_privileges() -> None:
    needs_root()
    found = in_child("become('nobody', ''); become('nobody', ''); become('', ''); print(os.getuid())")
    assert found == str(NOBODY.pw_uid)


def test_without_privileges_it_is_refused() -> None:
    needs_root()
    found = in_child("become('nobody', ''); become('12345', '54321')")
    # More may follow: what measures the coverage of the child cannot write as another user.
    assert "--user: cannot become 12345: Operation not permitted; start the server as root" in found


@pytest.mark.parametrize(
    ("user", "group", "said"),
    [
        ("no-such-user", "", "--user: there is no user 'no-such-user'"),
        ("", "no-such-group", "--group: there is no group 'no-such-group'"),
        ("12345", "", "--user: the user 12345 has no entry; give --group as well"),
    ],
)
def test_a_name_that_is_unknown(user: str, group: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        become(user, group)


@pytest.mark.slow
def test_the_application_is_imported_as_the_user_and_the_port_is_opened_before(tmp_path: Path) -> None:
    needs_root()
    (tmp_path / "identity.py").write_text(IDENTITY)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    group = grp.getgrgid(NOBODY.pw_gid).gr_name
    options = ("--user", "nobody", "--group", group, "--threads", "1")
    with start(tmp_path, *options, "--bind", "127.0.0.1:0", "identity:app", cwd=tmp_path) as server:
        uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
        expected = f"({uid}, {uid}, {uid}) ({gid}, {gid}, {gid}) [{gid}] {uid} {gid}"
        assert ask(server, get("/"))[2] == expected
        assert server.stop() == 0


@pytest.mark.slow
def test_a_server_that_may_not_says_so_in_one_line() -> None:
    done = run("--user", "no-such-user", "--port", "0")
    assert (done.returncode, done.stderr) == (2, "mreactor: --user: there is no user 'no-such-user'\n")


# The file.


def test_the_file_holds_the_number_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    path.write_text("an old one")
    write_pid_file(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == [path]
    remove_pid_file(str(path))
    remove_pid_file(str(path))
    assert not path.exists()


def test_a_file_of_another_process_stays(tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    path.write_text("1\n")
    remove_pid_file(str(path))
    assert path.read_text() == "1\n"


def test_a_file_that_cannot_be_written() -> None:
    with pytest.raises(StartError, match=r"^--pid-file: cannot write /nowhere/x: No such file or directory$"):
        write_pid_file("/nowhere/x")


@pytest.mark.slow
def test_a_server_writes_its_number_when_it_serves(tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    with start(tmp_path, "--threads", "1", "--pid-file", str(path)) as server:
        server.wait_until_said("listening on")
        assert int(path.read_text()) == server.pid
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait() == 0
    assert not path.exists()
    done = run("--port", "0", "--pid-file", "/nowhere/x")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "mreactor: --pid-file: cannot write /nowhere/x: No such file or directory",
    )
