"""What componentize-py freezes: CPython, the standard library, ``runloop_agent`` and this entry point."""

from runloop_guest import reading, virtual  # first: what is imported later must see the virtual sleep, and the files of the bundle

virtual.prepare()
reading.install()

from runloop_guest import executor, formats, frozen, hashes, loop, waits, zones  # noqa: E402 - see above

loop.freeze()
executor.freeze()
formats.freeze()
hashes.freeze()
waits.freeze()
zones.freeze()
frozen.freeze()

import wit_world  # noqa: E402
from componentize_py_types import Err  # noqa: E402
from runloop_guest import snapshot  # noqa: E402
from runloop_guest.invoke import Failed, run  # noqa: E402
from wit_world.imports.types import Failure, FailureKind  # noqa: E402


class WitWorld(wit_world.WitWorld):  # type: ignore[misc]  # its base exists inside the guest only
    """The exports of the world ``agent``."""

    def run(self, request: str) -> str:
        """Run one agent once."""
        try:
            return str(run(request))
        except Failed as failed:
            raise Err(Failure(FailureKind[failed.kind], failed.message, failed.detail)) from None


snapshot.settle(WitWorld().run)
