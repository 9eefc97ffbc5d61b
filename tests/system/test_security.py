"""What SECURITY.md promises by name is there: tests, commands, options."""

import dataclasses
import re
from pathlib import Path

import pytest

from mreactor.config import Config, Limits, option
from tests.adversarial.table import CASES
from tests.soak.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[a-z_/.]+)`", TEXT))))
def test_the_tests_it_names(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_options_it_names() -> None:
    named = set(re.findall(r"`(--[a-z-]+)`", TEXT))
    assert named
    assert named <= {option(field.name) for settings in (Config, Limits) for field in dataclasses.fields(settings)}


def test_the_numbers_it_names() -> None:
    assert round(len(CASES), -2) == 1600
    assert "1,600 messages" in TEXT
    assert len(KINDS) == 40
    assert "forty kinds" in TEXT
    assert f"{Limits().connections_max:,} connections" in TEXT
