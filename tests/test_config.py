"""Configuration: defaults, bounds, and the errors of invalid settings."""

import dataclasses
import os
from typing import Any

import pytest

from mreactor.config import ACCEPTS, BACKENDS, LOG_LEVELS, TEXTS, Config, ConfigError, Limits, option, size

SETTINGS: list[tuple[type[Any], dataclasses.Field[Any]]]
SETTINGS = [(Config, spec) for spec in dataclasses.fields(Config) if spec.name != "limits"]
SETTINGS += [(Limits, spec) for spec in dataclasses.fields(Limits)]
SECONDS = [spec.name for spec in dataclasses.fields(Limits) if spec.type is float]
BOUNDED_BELOW = [(kind, spec) for kind, spec in SETTINGS if "minimum" in spec.metadata]
BOUNDED_ABOVE = [(kind, spec) for kind, spec in SETTINGS if "maximum" in spec.metadata]


def made_with(kind: type[Any], name: str, value: Any) -> Config:
    """A configuration with one setting changed, wherever it belongs."""
    return Config(**{name: value}) if kind is Config else Config(limits=Limits(**{name: value}))


def complaint(kind: type[Any], name: str, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        made_with(kind, name, value)
    return str(caught.value)


def setting_id(value: Any) -> str:
    return value.name if isinstance(value, dataclasses.Field) else ""


def test_the_defaults_are_valid() -> None:
    config = Config()
    assert (config.host, config.port, config.backend) == ("127.0.0.1", 8080, "epoll")
    assert config.limits == Limits()


def test_the_defaults_of_the_limits() -> None:
    """Clients and operators rely on these. A change belongs in the changelog."""
    limits = Limits()
    assert (limits.request_line_bytes_max, limits.head_bytes_max, limits.fields_max) == (8192, 32_768, 100)
    assert limits.body_bytes_max == 16 * 1024 * 1024
    assert (limits.head_seconds, limits.keepalive_seconds) == (10.0, 75.0)
    assert (limits.write_stall_seconds, limits.drain_seconds) == (30.0, 10.0)


@pytest.mark.parametrize(("kind", "spec"), SETTINGS, ids=setting_id)
def test_each_setting_has_a_help_text_and_fits_its_own_bounds(kind: type[Any], spec: dataclasses.Field[Any]) -> None:
    assert len(spec.metadata["help"]) > 10
    assert type(spec.default) is (tuple if spec.type == TEXTS else spec.type)
    assert made_with(kind, spec.name, spec.default) == Config()


@pytest.mark.parametrize(("kind", "spec"), BOUNDED_BELOW, ids=setting_id)
def test_lower_bounds(kind: type[Any], spec: dataclasses.Field[Any]) -> None:
    minimum = spec.metadata["minimum"]
    made_with(kind, spec.name, minimum)
    assert complaint(kind, spec.name, minimum - 1) == (f"{option(spec.name)}: {minimum - 1} is less than {minimum}")


@pytest.mark.parametrize(("kind", "spec"), BOUNDED_ABOVE, ids=setting_id)
def test_upper_bounds(kind: type[Any], spec: dataclasses.Field[Any]) -> None:
    maximum = spec.metadata["maximum"]
    made_with(kind, spec.name, maximum)
    assert complaint(kind, spec.name, maximum + 1) == (f"{option(spec.name)}: {maximum + 1} is more than {maximum}")


def test_each_number_has_a_lower_bound() -> None:
    bounded = {spec.name for _, spec in BOUNDED_BELOW}
    assert {spec.name for _, spec in SETTINGS if spec.type is int} == bounded - {"drain_delay_seconds"}


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("seconds", [0.0, 0, -0.0, -1.0, -3, float("inf"), float("-inf"), float("nan")])
def test_seconds_are_positive_and_finite(name: str, seconds: float) -> None:
    said = complaint(Limits, name, seconds)
    assert said.startswith(option(name) + ": ")
    assert said.endswith("is not a positive number of seconds")


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("seconds", [0.001, 1, 1e6])
def test_other_seconds_are_accepted(name: str, seconds: float) -> None:
    assert getattr(made_with(Limits, name, seconds).limits, name) == seconds


def test_names_of_durations_end_in_seconds() -> None:
    assert SECONDS
    assert all(name.endswith("_seconds") for name in SECONDS)


@pytest.mark.parametrize(
    ("name", "choices"),
    [("backend", BACKENDS), ("accept", ACCEPTS), ("log_level", LOG_LEVELS), ("log_format", ("plain", "json"))],
)
def test_choices(name: str, choices: tuple[str, ...]) -> None:
    for choice in choices:
        assert getattr(made_with(Config, name, choice), name) == choice
    for other in ("", "x", choices[0].upper(), f"{choices[0]} "):
        assert complaint(Config, name, other) == f"{option(name)}: {other!r} is not one of {', '.join(choices)}"


@pytest.mark.parametrize(
    ("kind", "name", "value", "said"),
    [
        (Config, "port", "80", "--port: '80' is not a whole number"),
        (Config, "host", None, "--host: None is not text"),
        (Config, "admin_public", "no", "--admin-public: 'no' is not True or False"),
        (Limits, "head_seconds", "10", "--head-seconds: '10' is not a number"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: type[Any], name: str, value: Any, said: str) -> None:
    """In Python, no command line converts the value."""
    assert complaint(kind, name, value) == said


def test_seconds_may_be_an_int() -> None:
    assert Config(limits=Limits(head_seconds=3)).limits.head_seconds == 3


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 bytes"), (500, "500 bytes"), (1024, "1 KiB"), (3 << 20, "3 MiB"), (1 << 30, "1 GiB")]
)
def test_sizes_are_shown_in_the_largest_unit_that_divides_them(count: int, shown: str) -> None:
    assert size(count) == shown


def test_settings_cannot_be_changed() -> None:
    """Settings cross threads."""
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.port = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.limits.fields_max = 1  # type: ignore[misc]


def test_the_number_of_reactors_defaults_to_the_usable_cpus() -> None:
    assert Config(threads=5).reactors == 5
    assert Config().reactors == Config(threads=0).reactors == len(os.sched_getaffinity(0))


def test_options_are_spelled_with_hyphens() -> None:
    assert option("head_bytes_max") == "--head-bytes-max"


@pytest.mark.parametrize("fields", ["duration,speed", "route,route", ",", "duration route", "DURATION"])
def test_fields_of_the_access_log_that_there_are_not(fields: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(access_log_fields=fields)
    assert str(caught.value) == (
        f"--access-log-fields: {fields!r} is not a list of duration, route, request-id, each once"
    )


def test_fields_of_the_access_log_keep_their_order() -> None:
    assert Config().log_fields == ()
    assert Config(access_log_fields="route, duration").log_fields == ("route", "duration")


@pytest.mark.parametrize("name", ["X Request", "X-Request:", "\r\nX", "X-Réquest"])
def test_the_field_of_ids_has_a_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--request-id-header: .* is not the name of a header field"):
        Config(request_id_header=name)
