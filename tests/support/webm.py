"""A WebM film of still pictures, so that a browser can seek in a file that no encoder has made (RFC 9559).

Each picture is a key frame of VP8, as a lossy WebP file holds one. A cluster lasts a second, and the cues come first.
"""

import struct
from collections.abc import Sequence

# Of a second.
FRAMES = 10
SECOND = 1000


def vp8_of(webp: bytes) -> bytes:
    """Return the VP8 frame in a lossy WebP file."""
    assert (webp[:4], webp[8:12]) == (b"RIFF", b"WEBP"), "not a WebP file"
    start = 12
    while start < len(webp):
        kind, length = webp[start : start + 4], int.from_bytes(webp[start + 4 : start + 8], "little")
        if kind == b"VP8 ":
            return webp[start + 8 : start + 8 + length]
        start += 8 + length + length % 2
    raise AssertionError("not a lossy WebP file")


def make_film(pictures: Sequence[bytes], width: int, height: int) -> bytes:
    """Make a film that shows each VP8 frame for one second."""
    clusters = [_cluster(second, frame) for second, frame in enumerate(pictures)]
    info = _element(
        0x1549A966,
        _number(0x2AD7B1, 1_000_000) + _element(0x4489, _float(len(pictures) * SECOND)) + _text("mreactor tests"),
    )
    video = _element(0xE0, _number(0xB0, width) + _number(0xBA, height))
    track = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 1) + _element(0x86, b"V_VP8") + video
    tracks = _element(0x1654AE6B, _element(0xAE, track))
    # All numbers have a fixed width, so the length of the cues does not depend on the positions in them.
    start = len(info + tracks) + len(_cues([0] * len(clusters)))
    positions = [start + sum(map(len, clusters[:index])) for index in range(len(clusters))]
    head = _element(
        0x1A45DFA3,
        _number(0x4286, 1) + _number(0x42F7, 1) + _number(0x42F2, 4) + _number(0x42F3, 8)
        + _element(0x4282, b"webm") + _number(0x4287, 4) + _number(0x4285, 2),
    )  # fmt: skip
    return head + _element(0x18538067, info + tracks + _cues(positions) + b"".join(clusters))


def _cluster(second: int, frame: bytes) -> bytes:
    blocks = b"".join(
        # Track 1, a time relative to the cluster, and the flag of a key frame.
        _element(0xA3, b"\x81" + (index * SECOND // FRAMES).to_bytes(2, "big") + b"\x80" + frame)
        for index in range(FRAMES)
    )
    return _element(0x1F43B675, _number(0xE7, second * SECOND) + blocks)


def _cues(positions: Sequence[int]) -> bytes:
    points = (
        _element(0xBB, _number(0xB3, second * SECOND) + _element(0xB7, _number(0xF7, 1) + _number(0xF1, position)))
        for second, position in enumerate(positions)
    )
    return _element(0x1C53BB6B, b"".join(points))


def _element(identity: int, content: bytes) -> bytes:
    length = (1 << 56 | len(content)).to_bytes(8, "big")
    return identity.to_bytes((identity.bit_length() + 7) // 8, "big") + length + content


def _number(identity: int, value: int) -> bytes:
    return _element(identity, value.to_bytes(8, "big"))


def _float(value: float) -> bytes:
    return struct.pack(">d", value)


def _text(value: str) -> bytes:
    return _element(0x4D80, value.encode()) + _element(0x5741, value.encode())
