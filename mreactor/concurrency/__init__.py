"""Everything that crosses threads: jobs and the pool that runs them, mailboxes, the limit on connections."""

from .connection_limit import ConnectionLimit
from .job import Job
from .mailbox import Mailbox
from .thread_pool import ThreadPool

__all__ = ["ConnectionLimit", "Job", "Mailbox", "ThreadPool"]
