"""The GIL: what finding its cause costs a start that needs none."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_start_does_not_import_what_only_a_cause_needs() -> None:
    """Reading the metadata of packages takes some 15 imports: email, zipfile and others."""
    program = "import sys, mreactor.cli; print('importlib.metadata' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.check_output([sys.executable, "-c", program], env=environment, text=True) == "False\n"
