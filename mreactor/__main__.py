"""Run the command line: `python -m mreactor`."""

from .cli import command

if __name__ == "__main__":
    command()
