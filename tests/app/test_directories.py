"""Directories of the configuration: where they are mounted, with which options, and what is refused at the start."""

from pathlib import Path
from typing import Any

import pytest

from mreactor.app.application import App
from mreactor.app.directories import mount_directories
from mreactor.config import Config, ConfigError, Limits
from mreactor.demo import DIRECTORY, OWN_FILES, make_demo
from mreactor.http1.connection import Connection
from mreactor.http1.context import ReactorContext


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in {
        "site/index.html": "front",
        "site/404.html": "nothing here",
        "site/a.css": "css",
        "site/docs/b.txt": "listed",
        "media/a.foo": "media",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def make(root: Path, **settings: Any) -> App:
    app = App()

    @app.get("/api")
    def api(request: object) -> str:
        return "the API"

    mount_directories(app, Config(**settings))
    return app


def ask(app: App, target: str, *fields: str) -> tuple[int, str]:
    """Return the status of a response, and the whole of it as text."""
    connection = Connection(ReactorContext(Limits(), app.routes), ("192.0.2.1", 1))
    lines = "".join(f"{field}\r\n" for field in ("Host: a", *fields))
    response = connection.receive_data(f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode())
    if response is None:
        # The file is not in the page cache; the pool would read it.
        job = connection.next_job()
        assert job is not None
        job.run()
        response = connection.job_done(job)
        assert response is not None
    return int(response[9:12]), response.decode()


def test_no_directory_changes_nothing(root: Path) -> None:
    assert len(make(root).routes) == 1


def test_a_directory_beside_an_application(root: Path) -> None:
    app = make(root, static=str(root / "site"), mount=(f"/media={root}/media", f"/docs/={root}/site/docs"))
    for target, content in {"/": "front", "/api": "the API", "/media/a.foo": "media", "/docs/b.txt": "listed"}.items():
        status, text = ask(app, target)
        assert (status, text.endswith(content)) == (200, True), target
    status, text = ask(app, "/media")
    assert (status, "Location: /media/\r\n" in text) == (301, True)
    assert ask(app, "/media/../site/a.css")[0] == 404


def test_the_options_reach_all_directories(root: Path) -> None:
    app = make(
        root,
        static=str(root / "site"),
        mount=(f"/media={root}/media",),
        cache_control=("*.css=max-age=3600", "*=no-cache"),
        content_type=(".FOO=text/x-foo",),
    )
    assert "Cache-Control: max-age=3600\r\n" in ask(app, "/a.css")[1]
    text = ask(app, "/media/a.foo")[1]
    assert "Cache-Control: no-cache\r\n" in text
    assert "Content-Type: text/x-foo; charset=utf-8\r\n" in text


def test_fallback_and_error_pages_belong_to_the_root(root: Path) -> None:
    settings = {"static": str(root / "site"), "mount": (f"/media={root}/media",), "error_page": ("404=404.html",)}
    app = make(root, **settings)
    status, text = ask(app, "/nothing")
    assert (status, text.endswith("nothing here")) == (404, True)
    assert not ask(app, "/media/nothing")[1].endswith("nothing here")
    app = make(root, **settings, fallback="index.html")
    assert ask(app, "/nothing")[1].endswith("front")
    assert ask(app, "/nothing.js")[1].endswith("nothing here")
    assert ask(app, "/media/nothing")[0] == 404


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"static": "nowhere"}, "'nowhere': no such file or directory"),
        ({"mount": ("/a=nowhere",)}, "'nowhere': no such file or directory"),
        ({"mount": ("a=SITE",)}, "--mount: 'a' is not a path such as /assets"),
        ({"mount": ("/{a}=SITE",)}, "is not a path such as /assets"),
        ({"mount": ("/a",)}, "--mount: '/a' is not of the form"),
        ({"mount": ("/a=SITE", "/a/=SITE")}, "cannot be served at /a/: .*declared twice"),
        ({"static": "SITE", "mount": ("/=SITE",)}, "cannot be served at /: .*declared twice"),
        ({"fallback": "index.html"}, "--static"),
        ({"error_page": ("404=404.html",)}, "--static"),
        ({"static": "SITE", "fallback": "missing.html"}, "no file 'missing.html'"),
        ({"static": "SITE", "fallback": "docs"}, "no file 'docs'"),
        ({"static": "SITE", "error_page": ("404=500.html",)}, "no file '500.html'"),
        ({"static": "SITE", "error_page": ("200=404.html",)}, "200 is not the status of an error"),
        ({"static": "SITE", "error_page": ("x=404.html",)}, "'x' is not a status"),
        ({"static": "SITE", "cache_control": ("*.css",)}, "--cache-control: .*is not of the form"),
        ({"static": "SITE", "cache_control": ("*=\u2603",)}, "cannot be sent"),
        ({"static": "SITE", "content_type": ("md=text/plain",)}, "md=text/plain is not of the form"),
    ],
)
def test_what_is_refused(root: Path, settings: dict[str, Any], reason: str) -> None:
    site = str(root / "site")
    filled = {
        name: tuple(item.replace("SITE", site) for item in value)
        if isinstance(value, tuple)
        else value.replace("SITE", site)
        for name, value in settings.items()
    }
    with pytest.raises(ConfigError, match=reason):
        make(root, **filled)


def test_the_demo_serves_a_directory_beside_its_routes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = make_demo(Config(static=str(root / "site")))
    assert ask(demo, "/")[1].endswith("Welcome to mreactor")
    assert ask(demo, "/a.css")[1].endswith("css")
    monkeypatch.chdir(Path(__file__).parents[2])
    assert ask(make_demo(Config()), "/hello.html")[0] == 200


def test_the_demo_has_the_same_files_where_the_directory_is_missing() -> None:
    """An installed package has no directory `static`; the checkout has one, for the reader's own files as well."""
    for path in OWN_FILES.iterdir():
        assert (Path(__file__).parents[2] / DIRECTORY / path.name).read_bytes() == path.read_bytes()
