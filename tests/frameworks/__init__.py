"""Real frameworks on the real server: `nox -s frameworks`."""
