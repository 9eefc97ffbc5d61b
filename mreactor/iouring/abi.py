"""The io_uring ABI of Linux: numbers and layouts of `linux/io_uring.h`, 64-bit little endian.

The constants are plain ints. An enum member costs a lookup, and combining members creates objects. "Since" names the
first kernel release that knows the constant.
"""

from typing import Final

# System call numbers, the same on every architecture that Linux has added since 5.1.
NR_SETUP: Final = 425
NR_ENTER: Final = 426
NR_REGISTER: Final = 427

# io_uring_params.flags
SETUP_CQSIZE: Final = 1 << 3  # the caller sets cq_entries; otherwise twice the SQ's
SETUP_SUBMIT_ALL: Final = 1 << 7  # since 5.18: an invalid SQE does not stop the batch
SETUP_SINGLE_ISSUER: Final = 1 << 12  # since 6.0: one thread submits
SETUP_DEFER_TASKRUN: Final = 1 << 13  # since 6.1: completions are posted only inside that thread's enter
SETUP_NO_SQARRAY: Final = 1 << 16  # since 6.6: the SQ has no index array

# io_uring_params.features
FEAT_SINGLE_MMAP: Final = 1 << 0  # both rings in one mapping
FEAT_NODROP: Final = 1 << 1  # the kernel keeps completions that find the CQ full
FEAT_EXT_ARG: Final = 1 << 8  # enter takes a timeout
FEAT_CQE_SKIP: Final = 1 << 11  # SQE_CQE_SKIP_SUCCESS works

# io_uring_enter flags
ENTER_GETEVENTS: Final = 1 << 0
ENTER_EXT_ARG: Final = 1 << 3
ENTER_REGISTERED_RING: Final = 1 << 4  # the fd argument is an index from REGISTER_RING_FDS

# io_uring_register opcodes
REGISTER_PROBE: Final = 8
REGISTER_RING_FDS: Final = 20
UNREGISTER_RING_FDS: Final = 21
REGISTER_PBUF_RING: Final = 22
UNREGISTER_PBUF_RING: Final = 23

# mmap offsets for a ring's descriptor
OFF_RINGS: Final = 0
OFF_SQES: Final = 0x10000000

# Bits of the shared word sq_off.flags
SQ_CQ_OVERFLOW: Final = 1 << 1  # the kernel holds completions for which the CQ has no room

# Opcodes
OP_NOP: Final = 0
OP_POLL_ADD: Final = 6
OP_TIMEOUT: Final = 11
OP_ACCEPT: Final = 13
OP_ASYNC_CANCEL: Final = 14
OP_CLOSE: Final = 19
OP_READ: Final = 22
OP_SEND: Final = 26
OP_RECV: Final = 27
OP_SPLICE: Final = 30
OP_MSG_RING: Final = 40  # since 5.18

# sqe.flags
SQE_LINK: Final = 1 << 2  # the next SQE starts when this one succeeds
SQE_HARDLINK: Final = 1 << 3  # the next SQE starts when this one ends, even with an error
SQE_BUFFER_SELECT: Final = 1 << 5  # take a buffer from group sqe.buf_group
SQE_CQE_SKIP_SUCCESS: Final = 1 << 6  # post a completion only on failure

# Fields that depend on the opcode
ACCEPT_MULTISHOT: Final = 1 << 0  # sqe.ioprio, since 5.19
RECV_MULTISHOT: Final = 1 << 1  # sqe.ioprio, since 6.0
POLL_MULTISHOT: Final = 1 << 0  # sqe.len, since 5.13
CANCEL_ALL: Final = 1 << 0  # sqe.op_flags: all matches, not only the first
CANCEL_FD: Final = 1 << 1  # sqe.op_flags: match by sqe.fd, since 5.19
TIMEOUT_ABS: Final = 1 << 0  # sqe.op_flags: a time of CLOCK_MONOTONIC, not a duration
MSG_NOSIGNAL: Final = 0x4000  # sqe.op_flags of a send: EPIPE instead of SIGPIPE

# cqe.flags
CQE_BUFFER: Final = 1 << 0  # the completion used a buffer; its id is flags >> CQE_BUFFER_SHIFT
CQE_MORE: Final = 1 << 1  # the operation continues and completes again
CQE_BUFFER_SHIFT: Final = 16

# struct io_uring_params, 120 bytes: the caller fills the first three words, the kernel fills all.
PARAMS_SIZE: Final = 120
PARAMS_REQUEST: Final = "<III"  # at 0: sq_entries, cq_entries, flags
PARAMS_REPLY: Final = "<III8xI"  # at 0: sq_entries, cq_entries, flags, 8 bytes of an SQ thread, features
PARAMS_SQ_OFF: Final = 40
PARAMS_CQ_OFF: Final = 80
# sq_off: offsets in the rings' mapping of head, tail, mask, entries, flags, dropped, array
# cq_off: offsets in the rings' mapping of head, tail, mask, entries, overflow, cqes, flags
RING_OFFSETS: Final = "<IIIIIII"

# struct io_uring_sqe, 64 bytes. The last 16 (addr3, pad) stay zero.
SQE_SIZE: Final = 64
#   at 0: opcode B, flags B, ioprio H, fd i, off Q, addr Q, len I, op_flags I,
#   at 32: user_data Q, buf_group H, (personality H,) file_index I or splice_fd_in, (addr3 Q, pad Q)
SQE_LAYOUT: Final = "<BBHiQQIIQH2xI16x"
# The fields of a send: opcode B, flags B, fd i, addr Q, len I, op_flags I, user_data Q. The others are zero.
SQE_SEND_LAYOUT: Final = "<BB2xi8xQIIQ24x"

# struct io_uring_cqe, 16 bytes: user_data Q, res i, flags I.
CQE_SIZE: Final = 16
CQE_LAYOUT: Final = "<QiI"

# struct io_uring_getevents_arg, 24 bytes: sigmask Q, sigmask_sz I, min_wait_usec I, ts Q (an address, or 0).
GETEVENTS_SIZE: Final = 24
GETEVENTS_LAYOUT: Final = "<QIIQ"
# struct __kernel_timespec, 16 bytes: seconds q, nanoseconds q.
TIMESPEC_LAYOUT: Final = "<qq"

# struct io_uring_rsrc_update, for REGISTER_RING_FDS, 16 bytes: offset I (in: any, out: index), resv I, fd Q.
RING_FD_LAYOUT: Final = "<IIQ"
RING_FD_ANY: Final = 0xFFFFFFFF

# struct io_uring_buf_reg, 40 bytes: ring_addr Q, ring_entries I, bgid H, flags H, resv 24.
BUFFER_REGISTRATION_LAYOUT: Final = "<QIHH24x"
# struct io_uring_buf, 16 bytes: addr Q, len I, bid H. The last two bytes of entry 0 are the ring's tail.
BUFFER_SIZE: Final = 16
BUFFER_LAYOUT: Final = "<QIH"
BUFFER_TAIL_OFFSET: Final = 14

# struct io_uring_probe, 16 bytes: last_op B, ops_len B, resv 14. Then 8 bytes for each opcode:
# op B, resv B, flags H, resv I.
PROBE_HEADER_SIZE: Final = 16
PROBE_OP_SIZE: Final = 8
PROBE_OP_FLAGS_OFFSET: Final = 2
PROBE_OP_SUPPORTED: Final = 1 << 0
PROBE_OPS_MAX: Final = 256
