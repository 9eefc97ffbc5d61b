"""Static files in a real browser: a page with many assets, a film that seeks, and listings."""

import base64
import os
import random
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from mreactor import App, Config, Request, Response, Server
from mreactor.app import StaticFiles, StaticOptions
from tests.support.browser import Browser, path_of_browser
from tests.support.webm import make_film, vp8_of

PATH = path_of_browser()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(PATH is None, reason="Chromium is not installed (Debian: chromium)")]

WIDTH, HEIGHT, SECONDS = 320, 240, 24


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PATH is not None
    with Browser(PATH, tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def page(browser: Browser) -> Iterator[Browser]:
    browser.open("about:blank")
    browser.look(1280, 900)
    browser.complaints.clear()
    yield browser
    browser.open("about:blank")


class RecordingFiles:
    """Serves files, and records the responses: path, status and Content-Encoding, and the ranges asked for."""

    def __init__(self, root: Path, served: list[tuple[str, int, str]], ranges: list[str]) -> None:
        self._files = StaticFiles(root, options=StaticOptions(listing=True))
        self._served, self._ranges = served, ranges

    def __call__(self, request: Request) -> Response:
        response = self._files(request)
        fields = dict(response.headers)
        self._served.append((request.path, response.status, fields.get("Content-Encoding", "")))
        if asked := request.headers.get("range"):
            self._ranges.append(asked)
        return response


@contextmanager
def serving(root: Path, served: list[tuple[str, int, str]], ranges: list[str], backend: str = "epoll") -> Iterator[str]:
    app = App()
    app.mount("/", partial(RecordingFiles, root, served, ranges))
    server = Server(Config(port=0, threads=2, backend=backend), app)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.address[1]}"
    finally:
        server.stop()


def until(page: Browser, expression: str) -> None:
    """Wait until an expression holds, on this page or on the one that follows it."""
    ends = time.monotonic() + 60.0
    while True:
        try:
            if page.value(expression):
                return
        except RuntimeError:
            # The page is being replaced.
            pass
        assert time.monotonic() < ends, f"not in time: {expression}"
        time.sleep(0.05)


def make_png(shade: int) -> bytes:
    """Return a picture of one pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    head = b"\0\0\0\1\0\0\0\1\x08\0\0\0\0"
    pixels = zlib.compress(bytes([0, shade]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def make_site(root: Path) -> None:
    """Write a page with 20 scripts, 20 style sheets and 20 pictures. Half of the scripts have compressed copies."""
    lines = ["<!doctype html><link rel=icon href=data:,><script>var loaded = []</script>"]
    for number in range(20):
        script = f"loaded.push({number});" + f"// {random.Random(number).randbytes(3000).hex()}\n" * 20
        (root / f"s{number}.js").write_text(script)
        (root / f"s{number}.css").write_text(f".c{number} {{ width: {number + 1}px; display: inline-block }}")
        (root / f"p{number}.png").write_bytes(make_png(number))
        lines.append(
            f"<link rel=stylesheet href=s{number}.css><script src=s{number}.js defer></script>"
            f"<img src=p{number}.png><i class=c{number}></i>"
        )
        if number % 2:
            packed = zlib.compressobj(wbits=31)
            (root / f"s{number}.js.gz").write_bytes(packed.compress(script.encode()) + packed.flush())
    (root / "index.html").write_text("\n".join(lines))


@pytest.mark.parametrize("backend", ["epoll", "io_uring"])
def test_a_page_with_60_assets(page: Browser, tmp_path: Path, backend: str) -> None:
    make_site(tmp_path)
    served: list[tuple[str, int, str]] = []
    with serving(tmp_path, served, [], backend) as url:
        page.open(f"{url}/")
        until(page, "document.readyState == 'complete'")
        assert page.value("loaded.join()") == ",".join(map(str, range(20)))
        assert page.value("[...document.images].every(image => image.naturalWidth == 1)")
        assert page.value("[...document.querySelectorAll('i')].every((one, i) => one.offsetWidth == i + 1)")
        assert len(served) == 61
        assert {status for _, status, _ in served} == {200}
        codings = {path: coding for path, _, coding in served}
        assert codings["/s1.js"] == "gzip"
        assert codings["/s0.js"] == ""
        assert page.complaints == []
        served.clear()
        page.call("Page.reload")
        until(page, "document.readyState == 'complete' && loaded.length == 20")
        assert {status for _, status, _ in served} <= {200, 304}
        assert ("/", 304, "") in served
        assert page.complaints == []


def make_pictures(page: Browser) -> list[bytes]:
    """Have the browser draw a picture for each second: noise, and a square whose shade tells the second."""
    page.value(
        f"""(() => {{
            const canvas = window.canvas = document.createElement("canvas");
            canvas.width = {WIDTH}; canvas.height = {HEIGHT};
            window.draw = second => {{
                const context = canvas.getContext("2d", {{ alpha: false }});
                const noise = context.createImageData({WIDTH}, {HEIGHT});
                noise.data.forEach((_, i) => {{ noise.data[i] = i % 4 == 3 ? 255 : Math.random() * 255; }});
                context.putImageData(noise, 0, 0);
                context.fillStyle = `rgb(${{second * 6}}, ${{second * 6}}, ${{second * 6}})`;
                context.fillRect(100, 60, 120, 120);
                return canvas.toDataURL("image/webp", 0.8);
            }};
        }})()"""
    )
    urls = [page.value(f"draw({second})") for second in range(SECONDS)]
    return [vp8_of(base64.b64decode(url.partition(",")[2])) for url in urls]


def test_a_film_seeks(page: Browser, tmp_path: Path) -> None:
    """The browser asks for the region behind the point, and does not load what is before it."""
    film = make_film(make_pictures(page), WIDTH, HEIGHT)
    assert len(film) > 5_000_000
    (tmp_path / "film.webm").write_bytes(film)
    (tmp_path / "index.html").write_text(
        "<!doctype html><link rel=icon href=data:,><video src=film.webm muted preload=metadata></video>"
    )
    ranges: list[str] = []
    with serving(tmp_path, [], ranges) as url:
        page.open(f"{url}/")
        until(page, "document.readyState == 'complete'")
        page.value("window.film = document.querySelector('video')")
        page.value(
            "new Promise((done, fail) => { film.readyState ? done() : film.onloadedmetadata = done;"
            " film.onerror = () => fail(film.error.message) })"
        )
        assert page.value("film.duration") == SECONDS
        for second in (20, 3, 12):
            page.value(f"new Promise(done => {{ film.onseeked = done; film.currentTime = {second}.5 }}).then(() => 1)")
            shade = page.value(
                f"""(() => {{
                    const canvas = document.createElement("canvas");
                    canvas.width = {WIDTH}; canvas.height = {HEIGHT};
                    const context = canvas.getContext("2d");
                    context.drawImage(film, 0, 0);
                    return context.getImageData(160, 120, 1, 1).data[0];
                }})()"""
            )
            assert abs(shade - second * 6) <= 8
        assert any(int(asked.removeprefix("bytes=").partition("-")[0]) > len(film) // 2 for asked in ranges), ranges
        assert page.complaints == []


def make_listed(root: Path) -> None:
    """Write a directory such as people have."""
    for name, size in {
        "photos/2026/beach.jpg": 1,
        "archive/a.txt": 1,
        "README.md": 4_210,
        "report 2026 (final).pdf": 1_482_110,
        "film.webm": 734_003_200,
        "größe & maß.txt": 77,
        "a-very-long-name-without-any-space-that-has-to-break-somewhere-on-a-small-screen-01234567.tar.gz": 52_428_800,
        "chapter 2.txt": 20_480,
        "chapter 10.txt": 20_481,
        "empty": 0,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, size)
        os.utime(path, (1_700_000_000 + size % 10**7, 1_700_000_000 + size % 10**7))


LOOKS = [
    pytest.param(1280, 800, "light", 1.0, id="desktop-light"),
    pytest.param(1280, 800, "dark", 1.0, id="desktop-dark"),
    pytest.param(390, 760, "light", 2.0, id="phone-light"),
    pytest.param(390, 760, "dark", 2.0, id="phone-dark"),
]


@pytest.mark.parametrize(("width", "height", "scheme", "scale"), LOOKS)
def test_a_listing(
    page: Browser, tmp_path: Path, width: int, height: int, scheme: str, scale: float, request: pytest.FixtureRequest
) -> None:
    """It fits the window, keeps to its policy, sorts by its heads, and leads to the files."""
    root = tmp_path / "root"
    make_listed(root / "public files")
    with serving(root, [], []) as url:
        page.look(width, height, scheme, scale)
        page.open(f"{url}/public%20files/")
        until(page, "document.readyState == 'complete'")
        page.picture(pictures(tmp_path) / f"listing-{request.node.callspec.id}.png")
        assert page.value("document.documentElement.scrollWidth") <= width
        background = page.value("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 28)")
        rows = "[...document.querySelectorAll('tbody a')].map(one => one.textContent)"
        assert page.value(rows)[:3] == ["..", "archive/", "photos/"]
        assert page.value(rows).index("chapter 2.txt") < page.value(rows).index("chapter 10.txt")
        page.value("[...document.querySelectorAll('th a')].find(one => one.textContent == 'Size').click()")
        until(page, "location.search == '?sort=size' && document.readyState == 'complete'")
        assert page.value(rows)[3] == "empty"
        page.value("[...document.querySelectorAll('tbody a')].find(one => one.textContent == 'photos/').click()")
        until(page, "location.pathname == '/public%20files/photos/' && document.readyState == 'complete'")
        assert page.value(rows) == ["..", "2026/"]
        page.value("document.querySelector('h1 a:last-of-type').click()")
        until(page, "location.pathname == '/public%20files/' && document.readyState == 'complete'")
        assert page.complaints == []


def pictures(default: Path) -> Path:
    """Where screenshots go: the directory of MREACTOR_PICTURES, to be looked at, or else one that is forgotten."""
    folder = Path(os.environ.get("MREACTOR_PICTURES", default))
    folder.mkdir(exist_ok=True)
    return folder
