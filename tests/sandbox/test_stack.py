"""What a thread has touched of its stack goes with the guest."""

import ctypes
import threading

from runloop.sandbox import stack


def test_a_threads_stack_is_given_back_between_guests():
    seen = []

    def work():
        stack.give_back()
        lowest, size = stack._of_thread.unused
        ctypes.memset(lowest.value, 7, size.value)
        touched = ctypes.string_at(lowest.value + size.value - 4, 4)
        stack.give_back()
        seen.extend([size.value > stack.THREAD_STACK_BYTES // 2, touched, ctypes.string_at(lowest.value + size.value - 4, 4)])

    before = threading.stack_size(stack.THREAD_STACK_BYTES)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert seen == [True, b"\x07" * 4, bytes(4)]
