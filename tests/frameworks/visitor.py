"""A visitor with a browser: keeps cookies, fills forms, uploads files."""

import http.client
import http.cookies
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

SECONDS = 120.0


@dataclass(frozen=True)
class Page:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)

    def hidden(self, name: str) -> str:
        """Return the value of a hidden field."""
        found = re.search(rf'name="?{name}"? value="([^"]+)"', self.text)
        assert found is not None, self.text
        return found[1]


class Visitor:
    """One connection that is kept, and the cookies of one person."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._link = http.client.HTTPConnection(*address, timeout=SECONDS)
        self._cookies: dict[str, str] = {}
        self.origin = f"http://{address[0]}:{address[1]}"

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def ask(self, target: str, method: str = "GET", body: bytes | None = None, content_type: str = "") -> Page:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        headers |= {"Content-Type": content_type} if content_type else {}
        headers |= {"Origin": self.origin} if method != "GET" else {}
        self._link.request(method, target, body, {name: value for name, value in headers.items() if value})
        response = self._link.getresponse()
        content = response.read()
        for field in response.headers.get_all("Set-Cookie", []):
            for name, morsel in http.cookies.SimpleCookie(field).items():
                self._cookies[name] = morsel.value
        return Page(response.status, response.headers, content)

    def fill(self, target: str, **fields: str) -> Page:
        """Send a form."""
        return self.ask(target, "POST", urlencode(fields).encode(), "application/x-www-form-urlencoded")

    def send_json(self, target: str, value: Any, method: str = "POST") -> Page:
        return self.ask(target, method, json.dumps(value).encode(), "application/json")

    def upload(self, target: str, content: bytes, **fields: str) -> Page:
        """Send a file and further fields as multipart/form-data."""
        parts = [
            f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        head += b"Content-Type: application/octet-stream\r\n\r\n"
        body = b"".join([*parts, head, content, b"\r\n--cut--\r\n"])
        return self.ask(target, "POST", body, "multipart/form-data; boundary=cut")
