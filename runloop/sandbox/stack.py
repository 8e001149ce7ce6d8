"""The native stack of a guest's thread: what a deep recursion has touched of it goes with the guest, like the rest of its memory."""

from __future__ import annotations

import ctypes
import threading
from typing import Final

THREAD_STACK_BYTES: Final = 62 << 20
"""WebAssembly's own, and room for callbacks below it. Only what is touched takes memory."""
_IN_USE_BYTES: Final = 1 << 20
"""Between guests a thread has some kilobytes on its stack."""
_DONTNEED: Final = 4
_libc = ctypes.CDLL(None)
_of_thread = threading.local()


def give_back() -> None:
    """Give the system this thread's stack back, but for what is in use between guests."""
    if not hasattr(_of_thread, "unused"):
        _of_thread.unused = _unused()
    _libc.madvise(*_of_thread.unused, _DONTNEED)


def _unused() -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    """Where the part of the stack that is unused between guests begins, and its bytes; stacks grow downwards."""
    attributes = ctypes.create_string_buffer(256)  # more than a pthread_attr_t has
    lowest, size = ctypes.c_void_p(), ctypes.c_size_t()
    if _libc.pthread_getattr_np(ctypes.c_void_p(threading.get_ident()), attributes):
        return lowest, ctypes.c_size_t(0)
    _libc.pthread_attr_getstack(attributes, ctypes.byref(lowest), ctypes.byref(size))
    _libc.pthread_attr_destroy(attributes)
    return lowest, ctypes.c_size_t(max(0, size.value - _IN_USE_BYTES))
