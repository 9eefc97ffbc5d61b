"""Why a server cannot start."""


class StartError(RuntimeError):
    """The server cannot start; the text is one plain line with cause and remedy."""
