"""Made-up machines for the tests of scripts/: a PATH, a cache and interpreters that are small shell scripts.

Nothing is downloaded or compiled: apt-get, make and uv are stand-ins that do what the test at hand is about.
"""

import io
import os
import select
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TOOLS = "awk cat cp date dirname env flock gzip ln mkdir mkfifo mv nproc readlink rm sed sleep tail tar timeout".split()
KEYRINGS = list(Path("/usr/share/keyrings").glob("debian-archive-keyring.*"))
FIT = "free gil-off 3 13 15"
SECONDS = 120.0

needs_keyring = pytest.mark.skipif(not KEYRINGS, reason="Debian's archive keyring is not installed here")
needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="a tool that the scripts need is not installed here"
)

# An interpreter: answers the check, notes that it was asked, and otherwise says who it is and what it was given.
INTERPRETER = """\
if [ "$1" = -I ]; then echo {name} >>"$HOME/asked"; echo '{facts}'; else echo "{name} $*"; fi
"""

APT_GET = """\
case $* in
    *' update') cp "$2" "${2%/*}/sources.list" "$HOME"; echo 'Get:1 InRelease' ;;
    *' source --print-uris '*)
        case $(cat "${2%/*}/sources.list") in *" ${LACKING:-none} "*) exit 100 ;; esac
        echo "'http://mirror.example/x'" ;;
    *' source '*) cp "$HOME"/archive/* . ;;
    *) echo "$*" >>"$HOME/installed" ;;
esac
"""

# Called as `make -jN` and as `make install DESTDIR=...`.
MAKE = """\
[ "$1" = install ] || exit 0
echo installed >>"$HOME/builds"
target=${2#DESTDIR=}$(cat prefix)/bin
mkdir -p "$target"
cp "$HOME/interpreter" "$target/python3.13t"
"""

CONFIGURE = """\
#!/bin/sh
for option; do case $option in --prefix=*) echo "${option#--prefix=}" >prefix ;; esac; done
echo "configured with $*"
printf '%s\\n' 'build_all: python Programs/_testembed scripts' '' \\
    'Programs/_freeze_module: x' '$(PY_CORE_LDFLAGS)' '' >Makefile
"""

# A make that says over one pipe that it began, then waits for a word over another.
BLOCKING_MAKE = (
    """\
case $1 in -j*) echo began >"$HOME/began"; read -r word <"$HOME/go" ;; esac
"""
    + MAKE
)


class Pipe:
    """A named pipe between a test and a stand-in. Open at both ends here, so that nobody waits to open it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)

    def say(self, word: str) -> None:
        os.write(self._fd, f"{word}\n".encode())

    def hear(self) -> str:
        ready, _, _ = select.select([self._fd], [], [], SECONDS)
        assert ready, "nothing was said"
        return os.read(self._fd, 100).decode().strip()

    def close(self) -> None:
        os.close(self._fd)


class Machine:
    """A home, a cache and a PATH of their own. The caller's thread only."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.bin = root / "bin"
        self.cache = root / "cache"
        self.home.mkdir()
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or "")

    @property
    def built(self) -> Path:
        return self.cache / "mreactor" / "python3.13t" / "bin" / "python3.13t"

    @property
    def log(self) -> Path:
        return self.cache / "mreactor" / "build.log"

    def command(self, name: str, body: str) -> Path:
        """Put a shell script on PATH, or at a path."""
        path = self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)
        return path

    def interpreter(self, name: str, facts: str = FIT) -> Path:
        """Put an interpreter at a path, older than whatever remembers it."""
        path = self.command(name, INTERPRETER.format(name=Path(name).name, facts=facts))
        os.utime(path, (1_000_000_000, 1_000_000_000))
        return path

    def debian(self, make: str = MAKE) -> None:
        """Make it a Debian machine that can build: mirror, source package, compiler."""
        sources = self.home / "sources.list"
        sources.write_text("deb http://mirror.example/debian bookworm main\n")
        self.command("apt-config", f"echo \"list='{sources}'\"; echo \"parts='{self.home}/none'\"\n")
        self.command("apt-get", APT_GET)
        self.command("dpkg-query", "echo installed\n")
        self.command("make", make)
        self.interpreter(str(self.home / "interpreter"))
        archive = self.home / "archive"
        archive.mkdir()
        (archive / "python3.13_3.13.15-1.dsc").write_text("signed")
        (archive / "python3.13_3.13.15.orig.tar.gz.asc").write_text("a signature, no archive")
        with tarfile.open(archive / "python3.13_3.13.15.orig.tar.gz", "w:gz") as tar:
            member = tarfile.TarInfo("Python-3.13.15/configure")
            member.size, member.mode = len(CONFIGURE), 0o755
            tar.addfile(member, io.BytesIO(CONFIGURE.encode()))

    def environment(self, **variables: str) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": str(self.home), "XDG_CACHE_HOME": str(self.cache), **variables}

    def run(self, *arguments: str, script: str = "python3.13t", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPTS / script, *arguments],
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def start(self, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [SCRIPTS / "python3.13t", *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )

    def asked(self) -> list[str]:
        """Who answered the check so far, in order."""
        record = self.home / "asked"
        return record.read_text().split() if record.exists() else []

    def builds(self) -> int:
        record = self.home / "builds"
        return len(record.read_text().split()) if record.exists() else 0


def end(process: subprocess.Popen[str]) -> None:
    """End a run and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def read_until(fd: int, text: str) -> str:
    """What comes in, up to the moment at which a text is in it."""
    seen = b""
    while text.encode() not in seen:
        ready, _, _ = select.select([fd], [], [], SECONDS)
        assert ready, seen
        seen += os.read(fd, 4096)
    return seen.decode()
