"""Everything that crosses threads: jobs and the pool that runs them, mailboxes, the limit on connections."""

from .connection_limit import ConnectionLimit
from .job import Closable, Job
from .mailbox import Mailbox
from .thread_pool import WAIT_BUCKETS, PoolStatus, QueuedJob, ThreadPool, Worker

__all__ = [
    "WAIT_BUCKETS",
    "Closable",
    "ConnectionLimit",
    "Job",
    "Mailbox",
    "PoolStatus",
    "QueuedJob",
    "ThreadPool",
    "Worker",
]
