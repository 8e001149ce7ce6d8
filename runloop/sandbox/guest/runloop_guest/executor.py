"""``concurrent.futures.ThreadPoolExecutor`` in a guest, which has one thread: what is submitted is called at once."""

import concurrent.futures
import sys
import types
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class ThreadPoolExecutor(Executor):
    """Calls each function where it is submitted, so that its future is done when the caller gets it."""

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., Any] | None = None,
        initargs: Any = (),
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._initialize = None if initializer is None else (initializer, initargs)
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it."""
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._initialize is not None:
            (initializer, initargs), self._initialize = self._initialize, None
            initializer(*initargs)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for the result
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; nothing is under way."""
        self._closed = True


def freeze() -> None:
    """Put it where the executor of threads is looked for."""
    name = "concurrent.futures.thread"
    module = sys.modules[name] = types.ModuleType(name)
    ThreadPoolExecutor.__module__ = name
    for place, called, value in (
        (module, "ThreadPoolExecutor", ThreadPoolExecutor),
        (concurrent.futures, "thread", module),
        (concurrent.futures, "ThreadPoolExecutor", ThreadPoolExecutor),
    ):
        setattr(place, called, value)
