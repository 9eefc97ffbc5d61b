"""Everything that crosses threads: jobs and the pool that runs them, mailboxes, the limit on connections."""

from .connection_limit import ConnectionLimit
from .job import Closable, Job
from .mailbox import Mailbox
from .thread_pool import ThreadPool, Worker

__all__ = ["Closable", "ConnectionLimit", "Job", "Mailbox", "ThreadPool", "Worker"]
