"""What may have been meant by an option that there is not: the nearest name, or that of another server's option."""

import difflib
from collections.abc import Collection, Sequence

# Options of gunicorn, uvicorn, Flask and others, and what is written here instead.
_ELSEWHERE = {
    "-w": "--threads", "--workers": "--threads", "--worker-connections": "--connections-max",
    "-b": "--bind", "--address": "--bind", "--uds": "--bind unix:PATH", "--fd": "--bind fd:N",
    "-p": "--port", "-H": "--host", "-c": "--config",
    "--graceful-timeout": "--drain-seconds", "--timeout-graceful-shutdown": "--drain-seconds",
    "--keep-alive": "--keepalive-seconds", "--timeout-keep-alive": "--keepalive-seconds",
    "--access-logfile": "--access-log", "--access-logformat": "--access-log", "--pid": "--pid-file",
    "--certfile": "--tls-cert", "--ssl-certfile": "--tls-cert", "--keyfile": "--tls-key", "--ssl-keyfile": "--tls-key",
    "--forwarded-allow-ips": "--trusted-proxies", "--proxy-headers": "--trusted-proxies",
    "--factory": "module:factory()", "--limit-concurrency": "--connections-max", "--wsgi": "--interface wsgi",
}  # fmt: skip


def explain(arguments: Sequence[str], options: Collection[str], app: str) -> str:
    """Say what is wrong with arguments that the parser has left.

    Args:
        arguments: at least one. An application behind a wrong option is among them, since its value was taken for one.
        options: all options that there are.
        app: the application that the parser has found; empty if there is none.
    """
    wrong = next((one for one in arguments if one.startswith("-") and len(one) > 1), "")
    if not wrong:
        return f"there are two applications, {app!r} and {arguments[0]!r}; name one"
    name = wrong.partition("=")[0]
    instead = _ELSEWHERE.get(name) or _ELSEWHERE.get(name[:2] if name[1] != "-" else "")
    if instead is None:
        near = difflib.get_close_matches(name, options, n=1)
        instead = near[0] if near else None
    return f"there is no option {name}" + (f"; did you mean {instead}?" if instead else "")
