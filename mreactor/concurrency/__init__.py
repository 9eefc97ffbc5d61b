"""All that crosses threads: jobs, the thread pool that runs them, mailboxes, and the count of connections."""

from .connection_limit import ConnectionLimit
from .job import Job
from .mailbox import Mailbox
from .thread_pool import ThreadPool

__all__ = ["ConnectionLimit", "Job", "Mailbox", "ThreadPool"]
