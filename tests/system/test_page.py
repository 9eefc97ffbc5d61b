"""The live page in a real browser: it loads, follows the server, works by keyboard, and survives a restart."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest

from mreactor import App, Config, Limits, Request, Server
from mreactor.net import Command
from tests.support.browser import Browser, path_of_browser

PATH = path_of_browser()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(PATH is None, reason="Chromium is not installed (Debian: chromium)")]

CHARTS = ["requests", "service", "connections", "transfer", "trouble", "lag", "cpu", "pool", "waits"]
SECONDS_MAX = 60.0
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BLOCKING = b"GET /blocking HTTP/1.1\r\nHost: x\r\n\r\n"
MISSING = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"


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
    browser.open("about:blank")  # it stops polling


@contextmanager
def serving(admin_port: int = 0, name: str = "") -> Iterator[Server]:
    app = App(name)
    release = threading.Event()

    @app.get("/", constant=True)
    def constant(request: Request) -> str:
        return "always the same"

    @app.get("/blocking", blocking=True)
    def blocking(request: Request) -> str:
        return "from a thread of the pool"

    @app.get("/held", blocking=True)
    def held(request: Request) -> str:
        release.wait(SECONDS_MAX)
        return "at last"

    @app.get("/boom")
    def boom(request: Request) -> str:
        raise RuntimeError("boom")

    @app.get("/stream")
    def stream(request: Request) -> Iterator[str]:
        yield "half"
        raise RuntimeError("boom")

    limits = Limits(blocking_threads=4)
    server = Server(Config(port=0, threads=2, admin=f"127.0.0.1:{admin_port}", limits=limits), app)
    server.start()
    try:
        yield server
    finally:
        release.set()
        server.stop()


@contextmanager
def load(server: Server) -> Iterator[None]:
    """Send requests on two connections without a pause, until the end of the block."""
    enough = threading.Event()
    threads = [threading.Thread(target=ask, args=(server, enough)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join(SECONDS_MAX)


def ask(server: Server, enough: threading.Event) -> None:
    with socket.create_connection(server.address, SECONDS_MAX) as client:
        while not enough.is_set():
            for request in (REQUEST, REQUEST, BLOCKING, MISSING):
                client.sendall(request)
                client.recv(1 << 16)


def open_page(page: Browser, server: Server) -> None:
    assert server.admin_address is not None
    page.open("http://{}:{}/".format(*server.admin_address))
    page.wait("document.querySelector('#state').textContent === 'live'")


def points(chart: str) -> str:
    """Return JavaScript for the number of points in the longest curve of a chart."""
    return (
        f"Math.max(0, ...[...document.querySelectorAll('#{chart} .plot path')]"
        ".map((path) => (path.getAttribute('d').match(/,/g) ?? []).length))"
    )


# --- Values. ---


def test_it_loads_without_an_error(page: Browser) -> None:
    with serving() as server:
        open_page(page, server)
        assert page.value("[...document.querySelectorAll('#charts section')].map((one) => one.id)") == CHARTS
        assert page.value("document.querySelector('#notice').hidden") is True
        assert page.value("document.querySelectorAll('#report li').length") >= 5
        assert page.value("document.querySelectorAll('#reactors tbody tr').length") == 2
        assert "GIL o" in page.value("document.querySelector('#what').textContent")
        assert " 2 reactors, " in page.value("document.querySelector('#what').textContent")
        assert page.complaints == []


def test_numbers_move_and_charts_have_points_under_load(page: Browser) -> None:
    with serving() as server, load(server):
        open_page(page, server)
        for chart in CHARTS:
            page.wait(f"{points(chart)} >= 6")
        page.wait("/^[1-9]/.test(document.title)")
        first = page.value("document.querySelector('#figures').textContent")
        page.wait(f"document.querySelector('#figures').textContent !== {first!r}")
        # A busy machine may leave the server no time in a second. The page then shows a dash.
        page.wait("!document.querySelector('#figures').textContent.includes('\N{EN DASH}')")
        page.wait("!document.querySelector('#trouble .legend').textContent.includes('4xx0')")
        page.wait(
            "document.querySelector('#even').textContent ==="
            " 'Connections are evenly distributed: each reactor has accepted 1 and has 1 open.'"
        )
        assert page.complaints == []


def test_rates_are_right(page: Browser) -> None:
    """The rates of the page, second by second, add up to the counts of the server."""
    with serving() as server:
        open_page(page, server)
        page.wait("samples.length >= 2")
        before = page.value("[samples.length, last.total.answered, last.total.bytes_out]")
        with load(server):
            page.wait(f"samples.length >= 6 && last.total.answered > {before[1]} + 1000")
        page.wait("samples.slice(-2).every((one) => sum(one.requests) === 0 && sum(one.transfer) === 0)")
        shown = page.value(
            f"""samples.slice({before[0]}).reduce(([requests, bytes], one, i) => {{
                const seconds = one.wall - samples[{before[0]} + i - 1].wall;
                return [requests + sum(one.requests) * seconds, bytes + one.transfer[0] * seconds];
            }}, [0, 0])"""
        )
        after = page.value("[last.total.answered, last.total.bytes_out]")
    # Rates divide by a clock that is not set, so the seconds between two wall times differ a little.
    assert shown[0] == pytest.approx(after[0] - before[1], rel=1e-2)
    # Heartbeats are a quarter of a second apart, or more.
    assert shown[1] == pytest.approx(after[1] - before[2], rel=0.5)


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_it_goes_on_after_the_clock_was_set(step: float, page: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        open_page(page, server)
        page.wait("samples.length >= 3")
        shown = page.value("[samples.length, last.time]")
        clock = SimpleNamespace(monotonic=time.monotonic, time=lambda: time.time() + step)
        monkeypatch.setattr("mreactor.admin.status.time", clock)
        page.wait(f"samples.length >= {shown[0]} + 3 && Math.abs(last.time - {shown[1]}) > 1800")
        with load(server):
            page.wait("samples.at(-1).requests && sum(samples.at(-1).requests) > 100")
        page.wait("samples.at(-1).requests && sum(samples.at(-1).requests) === 0")
        assert page.value("document.querySelector('#since').textContent").startswith("up ")
        assert "1 h" not in page.value("document.querySelector('#since').textContent")
        assert page.complaints == []


# --- Trouble. ---


def test_it_reports_a_lost_server_and_continues_with_the_next(page: Browser) -> None:
    with serving() as server:
        open_page(page, server)
        assert server.admin_address is not None
        port = server.admin_address[1]
        with load(server):
            page.wait(f"{points('requests')} >= 4")
    page.wait("!document.querySelector('#notice').hidden")
    assert page.value("document.querySelector('#notice').textContent").startswith("The server does not respond.")
    assert page.value("document.querySelector('#state').textContent") == "connection lost"
    assert page.value("document.title") == "connection lost · mreactor {}:{}".format(*server.address)
    assert float(page.value("getComputedStyle(document.querySelector('#figures')).opacity")) < 1
    with serving(port) as server, load(server):
        page.wait("document.querySelector('#state').textContent === 'live'")
        assert page.value("document.querySelector('#notice').hidden") is True
        page.wait("document.querySelectorAll('#requests .restart').length === 1")
        before = page.value(points("requests"))
        page.wait(f"{points('requests')} > {before} + 4")
        assert page.value("samples.flatMap((one) => one.requests ?? []).every((rate) => rate >= 0)") is True
        assert [one for one in page.complaints if "stats.json" not in one] == []


def test_it_shows_why_the_server_is_not_ready(page: Browser) -> None:
    with serving() as server:
        open_page(page, server)
        server.reactors[1].post(Command.STOP)
        page.wait("!document.querySelector('#notice').hidden")
        assert page.value("document.querySelector('#notice').textContent") == (
            "The server is not ready. reactor-1 has ended."
        )
        assert page.value("document.querySelector('#reactors tbody tr:last-child .bad').textContent") == " dead"


# --- Accessibility. ---


def test_it_is_usable_by_keyboard(page: Browser) -> None:
    with serving() as server, load(server):
        open_page(page, server)
        page.wait(f"{points('requests')} >= 8")
        for span in ("1 min", "5 min"):
            page.press("Tab")
            assert page.value("document.activeElement.textContent") == span
        for chart in CHARTS:
            page.press("Tab")
            assert page.value("document.activeElement.closest('section').id") == chart
        text = "document.activeElement.getAttribute('aria-valuetext')"
        page.press("ArrowLeft")
        first = page.value(text)
        assert re.search("seconds ago: p50 .+, p90 .+, p99 ", first)
        assert page.value("document.querySelectorAll('.cursor line').length") == len(CHARTS)
        page.press("ArrowLeft")
        assert page.value(text) != first
        page.press("Home")
        latest = page.value("samples.length")
        page.press("End")
        assert page.value("samples.indexOf(cursor)") >= latest - 1
        assert re.search(", [0-9]+ seconds ago: ", page.value(text))
        page.press("Escape")
        assert page.value("document.querySelectorAll('.cursor line').length") == 0
        page.press("Tab")
        assert page.value("document.activeElement.getAttribute('href')") == "metrics"


def test_the_first_minute_fills_the_charts_and_the_span_can_be_chosen(page: Browser) -> None:
    first_mark = "document.querySelector('#requests .grid text[text-anchor=start]').textContent"
    pressed = "document.querySelector('#span [aria-pressed=true]').textContent"
    with serving() as server, load(server):
        open_page(page, server)
        page.wait(f"{points('requests')} >= 4")
        assert page.value(f"[{first_mark}, {pressed}]") == ["\N{MINUS SIGN}1 min", "1 min"]
        minute = page.value("xAgo(30, CHARTS[0])")
        page.value("document.querySelector('#span [value=\"300\"]').click()")
        assert page.value(f"[{first_mark}, {pressed}]") == ["\N{MINUS SIGN}5 min", "5 min"]
        assert page.value("xAgo(30, CHARTS[0])") > minute
        page.value("document.querySelector('#span [value=\"60\"]').click()")
        # Two minutes old: it is out of sight, and no curve is drawn at the edge for it.
        page.value("samples.unshift({...samples[0], at: samples[0].at - 120})")
        assert page.value("visible().length < samples.length && nearest(0, CHARTS[0]) === visible()[0]") is True
        page.value("chosen = null")
        assert page.value("shown()") == 300
        assert page.complaints == []


def test_a_failure_is_counted_once(page: Browser) -> None:
    with serving() as server:
        open_page(page, server)
        page.wait("samples.length >= 3")
        shown = page.value("samples.length")
        with socket.create_connection(server.address, SECONDS_MAX) as client:
            for target in ("boom", "boom", "stream"):
                client.sendall(f"GET /{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                client.recv(1 << 16)
        total = f"samples.slice({shown - 1}).map((one) => sum(one.trouble ?? []))"
        page.wait(f"sum({total}) > 2 && {total}.at(-1) === 0")
        kinds = page.value(
            f"[0, 1, 2, 3, 4].map((i) => sum(samples.slice({shown - 1}).map((one) => one.trouble?.[i] ?? 0)))"
        )
    # Rates of some seconds each, so that their sum is the number but for the seconds' exact length.
    assert kinds == pytest.approx([2, 0, 0, 0, 1], rel=0.2)


def test_the_mouse_shows_the_same_moment_in_all_charts(page: Browser) -> None:
    with serving() as server, load(server):
        open_page(page, server)
        page.wait(f"{points('lag')} >= 4")
        plot = "document.querySelector('#requests .plot').getBoundingClientRect()"
        x, y = page.value(f"[{plot}.right - 3, {plot}.top + 20]")
        page.point(x, y)
        page.wait(f"document.querySelectorAll('.cursor line').length === {len(CHARTS)}")
        assert len(set(page.value("[...document.querySelectorAll('.cursor text')].map((one) => one.textContent)"))) == 1
        page.point(1, 1)
        page.wait("document.querySelectorAll('.cursor line').length === 0")


def test_a_chart_without_a_value_says_so(page: Browser) -> None:
    with serving() as server:
        open_page(page, server)
        page.wait("document.querySelector('#requests .legend').textContent.startsWith('total')")
        assert page.value("document.querySelector('#waits .legend').textContent") == "no data"
        assert page.value("document.querySelector('#waits .plot').ariaValueText") == "now: no data "
        page.wait("document.querySelector('#pool .legend').textContent === 'busy0waiting for clients0queued requests0'")
        assert page.complaints == []


def test_the_pool_shows_requests_that_wait(page: Browser) -> None:
    with serving() as server, ExitStack() as stack:
        open_page(page, server)
        for _ in range(6):
            client = stack.enter_context(socket.create_connection(server.address, SECONDS_MAX))
            client.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        page.wait("document.querySelector('#pool .legend').textContent === 'busy4waiting for clients0queued requests2'")


@pytest.mark.parametrize("width", [320, 1280])
def test_a_long_name_stays_in_the_window(page: Browser, width: int) -> None:
    name = "company.project.subproject.applications.storefront"
    with serving(name=name) as server:
        page.look(width, 800)
        open_page(page, server)
        page.wait(f"document.querySelector('h1').textContent.startsWith('{name} on ')")
        page.value("last.host = 'node-0123456789abcdef0123456789abcdef.region.internal', showServer()")
        assert page.value("document.documentElement.scrollWidth") <= width
        assert page.value("document.title").startswith(f"{name} ")


# JavaScript: tells whether two labels of a chart's time axis touch.
DEFINE_COLLISION = """
globalThis.hasCollision = (plot) => {
    const spans = [...plot.querySelectorAll(".grid text")].filter((one) => /min|now/.test(one.textContent))
        .map((one) => one.getBoundingClientRect()).sort((a, b) => a.left - b.left);
    return spans.some((span, i) => i && span.left < spans[i - 1].right + 2);
}
"""


# JavaScript: tells whether the texts of two headings of the table touch.
HEADINGS_TOUCH = """(() => {
    const spans = [...document.querySelectorAll("#reactors thead th")].filter((one) => one.offsetWidth).map((one) => {
        const range = document.createRange();
        range.selectNodeContents(one);
        return range.getBoundingClientRect();
    });
    return spans.some((span, i) => i && span.left < spans[i - 1].right + 3);
})()"""


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_it_fits_the_window(page: Browser, width: int) -> None:
    with serving() as server, load(server):
        page.look(width, 800)
        open_page(page, server)
        page.wait(f"{points('cpu')} >= 2")
        assert page.value("document.documentElement.scrollWidth") <= width
        columns = page.value(
            "new Set([...document.querySelectorAll('.plot')].map((one) => one.getBoundingClientRect().left)).size"
        )
        assert columns == (1 if width < 700 else 2)
        page.value(DEFINE_COLLISION)
        assert page.value("[...document.querySelectorAll('.plot')].filter(hasCollision).length") == 0
        page.value("document.querySelector('#span [value=\"300\"]').click()")
        assert page.value("[...document.querySelectorAll('.plot')].filter(hasCollision).length") == 0
        assert page.value(HEADINGS_TOUCH) is False


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(page: Browser, scheme: str) -> None:
    """Contrast is at least 4.5 to 1 (WCAG 2.2, section 1.4.3), and the scheme is the preferred one."""
    with serving() as server:
        page.look(1280, 900, scheme)
        open_page(page, server)
        colours = {
            name: page.value(
                f"""(() => {{
                    const one = document.createElement("i");
                    one.style.color = "var(--{name})";
                    document.body.append(one);
                    const colour = getComputedStyle(one).color.match(/\\d+/g).map(Number);
                    one.remove();
                    return colour;
                }})()"""
            )
            for name in ("paper", "ink", "soft", "red", "blue")
        }
    paper = luminance(colours.pop("paper"))
    assert (paper > 0.5) is (scheme == "light")
    for name, colour in colours.items():
        bright, dark = sorted((luminance(colour), paper), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, name


def luminance(colour: list[int]) -> float:
    """Return the relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    parts = [one / 255 for one in colour]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# --- The browser itself. ---


def test_errors_of_the_page_are_noticed(page: Browser) -> None:
    with serving() as server:
        open_page(page, server)
        page.value("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">'), console.error('so')")
        page.value("Promise.resolve().then(() => { setTimeout(() => { throw new Error('thrown') }) })")
        page.value("new Promise((resolve) => setTimeout(resolve, 50))")
    assert any("Content Security Policy" in one for one in page.complaints)
    assert any(one.startswith("error: so") for one in page.complaints)
    assert any("thrown" in one for one in page.complaints)
