"""Runs as files that travel: ``rlp export`` and ``rlp import``. The format is described in docs/replay.md."""
