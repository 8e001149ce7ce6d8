"""Another user of this machine, whom only root can be: for tests of who is trusted."""

import os
import socket

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def let_in(directory):
    """Open pytest's directories down to this one to everybody, as those of a machine are."""
    for each in (directory, *directory.parents):
        if each.owner() == "root" and each.name.startswith(("pytest", "test_")):
            each.chmod(0o755)


def somebody_else_listens(path):
    """A socket of another user at the path; both can be used by everybody."""
    listening = socket.socket(socket.AF_UNIX)
    os.seteuid(NOBODY)
    try:
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen()
    finally:
        os.seteuid(0)
    return listening
