"""Addresses of `--bind`: what is understood, and the errors."""

import pytest

from mreactor.addresses import PATH_BYTES_MAX, BindAddress, parse_address
from mreactor.config import Config, ConfigError

LONGEST = "/" + "p" * (PATH_BYTES_MAX - 1)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", BindAddress("127.0.0.1:80", host="127.0.0.1", port=80)),
        ("a-name.test:0", BindAddress("a-name.test:0", host="a-name.test")),
        ("[::]:65535", BindAddress("[::]:65535", host="::", port=65535)),
        ("[fe80::1%eth0]:1", BindAddress("[fe80::1%eth0]:1", host="fe80::1%eth0", port=1)),
        ("plain:[::1]:80", BindAddress("plain:[::1]:80", host="::1", port=80, plain=True)),
        ("plain:host:80", BindAddress("plain:host:80", host="host", port=80, plain=True)),
        ("unix:/run/a.sock", BindAddress("unix:/run/a.sock", path="/run/a.sock")),
        ("unix:a.sock", BindAddress("unix:a.sock", path="a.sock")),
        ("unix:@name", BindAddress("unix:@name", path="@name")),
        ("unix:/a,b,mode=660", BindAddress("unix:/a,b,mode=660", path="/a,b", mode=0o660)),
        ("unix:/a,mode=0600,group=www", BindAddress("unix:/a,mode=0600,group=www", path="/a", mode=0o600, group="www")),
        ("unix:/a,group=33", BindAddress("unix:/a,group=33", path="/a", group="33")),
        (f"unix:{LONGEST}", BindAddress(f"unix:{LONGEST}", path=LONGEST)),
        ("fd:0", BindAddress("fd:0", fd=0)),
        ("fd:31", BindAddress("fd:31", fd=31)),
        ("plain:fd:3", BindAddress("plain:fd:3", fd=3, plain=True)),
        ("plain:unix:/a", BindAddress("plain:unix:/a", path="/a", plain=True)),
        (
            "plain:unix:/a,mode=660,group=www",
            BindAddress("plain:unix:/a,mode=660,group=www", path="/a", mode=0o660, group="www", plain=True),
        ),
    ],
)
def test_what_is_understood(text: str, address: BindAddress) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not HOST:PORT, [::1]:PORT, unix:PATH or fd:NUMBER"),
        ("80", "is not HOST:PORT"),
        ("host", "is not HOST:PORT"),
        (":80", "; write 0.0.0.0:80 for all addresses of this machine"),
        ("host:", "is not HOST:PORT"),
        ("host:-1", "is not HOST:PORT"),
        ("host:65536", "is not HOST:PORT"),
        ("host:080000", "is not HOST:PORT"),
        ("host:8 0", "is not HOST:PORT"),
        ("host:\u0661", "is not HOST:PORT"),
        ("::1:80", "is not HOST:PORT"),
        ("[::1]", "is not HOST:PORT"),
        ("[]:80", "is not HOST:PORT"),
        ("http://host:80", "is not HOST:PORT"),
        ("tcp:host:80", "is not HOST:PORT"),
        ("plain:80", "is not HOST:PORT"),
        ("plain:", "is not HOST:PORT"),
        ("plain:unix:", "has no path"),
        ("plain:fd:x", "has no descriptor's number"),
        ("fd:", "has no descriptor's number"),
        ("fd:x", "has no descriptor's number"),
        ("fd:-1", "has no descriptor's number"),
        ("unix:", "has no path"),
        ("unix:/a\0b", "has no path"),
        (f"unix:{LONGEST}p", "has a path of more than 107 bytes"),
        ("unix:/" + "\xe9" * 54, "has a path of more than 107 bytes"),
        ("unix:/a,mode=rw", "the mode is not of the form 660"),
        ("unix:/a,mode=888", "the mode is not of the form 660"),
        ("unix:/a,mode=4777", "the mode is not of the form 660"),
        ("unix:/a,group=", "the group has no name"),
        ("unix:@a,mode=660", "an abstract socket has neither mode nor group"),
    ],
)
def test_an_error_names_the_address(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(bind=(text,))
    assert str(caught.value).startswith(f"--bind: {text!r}")
    assert said in str(caught.value)


@pytest.mark.parametrize("other", [{"host": "::1"}, {"port": 1}])
def test_bind_takes_the_place_of_host_and_port(other: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"^--bind: it takes the place of --host and --port; "):
        Config(bind=("127.0.0.1:1",), **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "picks"),
    [
        (Config(), False),
        (Config(port=0), True),
        (Config(bind=("unix:/a", "fd:3")), False),
        (Config(bind=("unix:/a", "x:0")), True),
        (Config(bind=("x:1",)), False),
    ],
)
def test_the_user_is_told_a_port_of_the_kernels_choice(config: Config, picks: bool) -> None:
    assert config.picks_port == picks
