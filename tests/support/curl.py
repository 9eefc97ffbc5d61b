"""Console blocks of the documents: run the curl commands, and compare the responses with the output shown."""

import contextlib
import email.message
import http.client
import mimetypes
import shlex
from pathlib import Path

SECONDS = 60.0
BOUNDARY = "boundary"
END = f"--{BOUNDARY}--\r\n".encode("ascii")


class Curl:
    """A curl command, with the options that the documents use."""

    TAKE_VALUE = frozenset({"-X", "-d", "-H", "-A", "-F"})

    def __init__(self, command: str) -> None:
        self.headers: dict[str, str] = {"Host": "127.0.0.1:8080", "Accept": "*/*"}
        self.method, self.body, self.target = "", b"", ""
        self.shows_head = False
        words = iter(shlex.split(command, comments=True)[1:])
        for word in words:
            self._take(word, next(words) if word in self.TAKE_VALUE else "")
        self.method = self.method or "GET"

    def _take(self, word: str, value: str) -> None:
        match word:
            case "-i" | "-I":
                self.shows_head = True
                self.method = "HEAD" if word == "-I" else self.method
            case "-X":
                self.method = value
            case "-A":
                self.headers["User-Agent"] = value
            case "-H":
                name, _, content = value.partition(":")
                self.headers[name] = content.strip()
            case "-d":
                self.body = value.encode()
                self.method = self.method or "POST"
                self.headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
            case "-F":
                self.body = self.body.removesuffix(END) + encode_part(value) + END
                self.method = self.method or "POST"
                self.headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
            case "-s" | "--path-as-is":
                pass
            case _:
                assert word.startswith("http://127.0.0.1:8080/"), f"unknown option of curl: {word}"
                self.target = word.removeprefix("http://127.0.0.1:8080")

    def run(self, port: int) -> tuple[int, str, email.message.Message, bytes]:
        """Send the request; return status, reason, header fields and content of the response."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as link:
            link.putrequest(self.method, self.target, skip_host=True, skip_accept_encoding=True)
            if self.body or self.method == "POST":
                self.headers["Content-Length"] = str(len(self.body))
            for name, value in self.headers.items():
                link.putheader(name, value)
            link.endheaders(self.body)
            response = link.getresponse()
            return response.status, response.reason, response.headers, response.read()


def encode_part(text: str) -> bytes:
    """Encode a part of a form: `name=value`, or `name=@path` with `;type=` and `;filename=`."""
    name, _, value = text.partition("=")
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if not value.startswith("@"):
        return f"{head}\r\n\r\n{value}\r\n".encode()
    path, *more = value[1:].split(";")
    options = dict(one.split("=") for one in more)
    kind = options.get("type") or mimetypes.guess_type(path)[0]
    head += f'; filename="{options.get("filename", Path(path).name)}"\r\nContent-Type: {kind}'
    return f"{head}\r\n\r\n".encode() + Path(path).read_bytes() + b"\r\n"


def dialogues(console: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a console block, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def check_dialogue(port: int, command: str, shown: list[str]) -> None:
    """Run a command and compare its output: the status line, the header fields shown, and the whole content."""
    curl = Curl(command)
    status, reason, headers, content = curl.run(port)
    if not curl.shows_head:
        assert content.decode().rstrip("\n").splitlines() == shown
        return
    head, _, body = "\n".join(shown).partition("\n\n")
    status_line, *fields = head.splitlines()
    assert status_line == f"HTTP/1.1 {status} {reason}"
    for field in fields:
        if field != "...":
            name, _, value = field.partition(": ")
            assert value in headers.get_all(name, [])
    if body:
        assert content.decode().rstrip("\n") == body
