"""What these suites share: a server for each backend, with an application of each suite's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drivers import SOCKET_KINDS, missing
from tests.support.processes import ServerProcess, start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test here runs against a process of its own or waits for one."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=SOCKET_KINDS, scope="module")
def backend(request: pytest.FixtureRequest) -> str:
    if reason := missing(request.param):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="module")
def server(
    backend: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server of the module's `APP`, with two reactors."""
    folder = tmp_path_factory.mktemp("field")
    (folder / "field_app.py").write_text(request.module.APP)
    with start(folder, "--backend", backend, "--threads", "2", "field_app:app", cwd=folder) as process:
        yield process
