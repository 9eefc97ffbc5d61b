"""The live page as the admin listener sends it. tests/system/test_page.py opens it in a browser."""

import base64
import hashlib
import re

from mreactor.admin.page import load_page
from tests.admin.serving import ask, serving


def test_the_policy_allows_only_the_pages_own_style_and_script() -> None:
    page, policy = load_page()
    directives = dict(one.split(" ", 1) for one in policy.split("; "))
    for tag in ("style", "script"):
        (content,) = re.findall(rb"<%b>(.*?)</%b>" % (tag.encode(), tag.encode()), page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in policy


def test_the_page_loads_nothing_from_elsewhere() -> None:
    text = load_page()[0].decode()
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|metrics|stats\.json)", text)
    assert re.findall(r"https?://[^\s\"']+", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert not re.findall(r"<[a-z][^<>]*\s(?:style|on[a-z]+)=", text), "the policy forbids inline attributes"


def test_the_page_is_sent_with_its_policy() -> None:
    with serving() as server:
        response, text = ask(server, "/")
        assert response.headers["content-security-policy"] == load_page()[1]
        assert text.encode() == load_page()[0]
