"""Which methods a request passes through, the commonest ones: what is worth keeping clear in the type cache."""

from .acceptor.accept4 import Accept4Acceptor
from .acceptor.uring import UringAcceptor
from .answer import Answer
from .config import Limits
from .connection import Connection
from .http1.headers import Headers
from .http1.parser import Framing, HeadReader, Parser, RequestLine
from .http1.request import Request, RequestHead
from .http1.response import Response
from .iouring import BufferRing, Ring
from .metrics import Counters, Histogram
from .outbox import Outbox
from .reactor.client import Client, EpollClient, UringClient
from .reactor.epoll import EpollReactor
from .reactor.uring import UringReactor
from .reception import Reception
from .replies import Replies
from .router import Match
from .service import Service
from .timers import TimerWheel

OF_EACH_REACTOR = (
    "_serve", "_adopt", "_drive", "_count_sent", "_settle", "_attend", "_discard", "_bury", "_forget", "_tick",
    "_attend_time",
)  # fmt: skip

# A new connection, its first request, and the requests after it. Bases stand before their subclasses, and otherwise
# those with many names before those with few, which find a place more easily.
REQUEST_PATH: dict[type, tuple[str, ...]] = {
    UringReactor: (*OF_EACH_REACTOR, "_enter", "_attend_completions", "_arm", "_inter"),
    EpollReactor: (*OF_EACH_REACTOR, "_attend_events", "_read", "_flush"),
    Connection: (
        "__init__", "receive", "take", "call", "owe", "sent", "abort", "take_job", "pending", "_take_turn", "_answer",
        "_encode", "_finish", "_go_on", "_enter", "_receiving", "_owing",
    ),
    Accept4Acceptor: ("serve_plainly", "accept_one", "deal", "hand", "_is_full"),
    UringAcceptor: ("deal", "hand", "_is_full", "_round", "_attend"),
    Ring: ("submit_and_wait", "completions", "_fill", "prepare_recv_multishot"),
    Service: ("turn", "encode", "turn_second"),
    Client: ("__init__", "shut"),
    EpollClient: ("__init__",),
    UringClient: ("__init__",),
    Reception: ("__init__", "read", "take_body", "give_back", "drop"),
    Replies: ("find_upload", "keep", "turn_second"),
    BufferRing: ("recycle",),
    Counters: ("tally",),
    Response: ("__init__",),
    Request: ("__init__",),
    Outbox: ("__init__", "begin", "deadline", "add", "sent", "pending"),
    Answer: ("__init__",),
    TimerWheel: ("schedule", "due", "forget"),
    Parser: ("parse", "finish"),
    Headers: ("__init__", "get"),
    HeadReader: ("__init__",),
    RequestLine: ("__init__",),
    Framing: ("__init__",),
    RequestHead: (),
    Histogram: (),
    Limits: (),
    Match: (),
}  # fmt: skip
