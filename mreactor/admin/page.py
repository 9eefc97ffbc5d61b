"""The live page: one HTML file, and the policy that it is sent with."""

import base64
import hashlib
import re
from importlib.resources import files


def load_page() -> tuple[bytes, str]:
    """Return the page, and a Content-Security-Policy that allows its own style and script and nothing else."""
    page = files(__package__).joinpath("page.html").read_bytes()
    return page, (
        f"default-src 'none'; style-src {_hash(page, b'style')}; script-src {_hash(page, b'script')};"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(page: bytes, tag: bytes) -> str:
    """Return the policy's source expression for the contents of all elements with a tag."""
    contents = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(content).digest()).decode("ascii") for content in contents)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
