"""Errors of the ledger and the knowledge base."""

from __future__ import annotations

from runloop.errors import InvalidInput, RunloopError, Unavailable, VerificationFailed


class LedgerError(RunloopError):
    """The ledger could not do what was asked; nothing of the request was stored."""

    code = "ledger.failed"


class LedgerFull(LedgerError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The disk is full, or a quota or limit of file sizes is reached; nothing of the request was stored."""

    code = "kb.disk_full"
    retryable = True


class LedgerIO(RunloopError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The device failed: what was asked for is stored whole or not at all, and reading the ledger tells which."""

    code = "kb.io"


class SeqTaken(LedgerError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The run has a record of that number or a later one, or has ended: somebody else drives it."""

    code = "kb.seq_taken"


class SeqMissing(LedgerError):  # noqa: N818
    """A record of the run that comes before this one was not stored: a run's records have no gap."""

    code = "kb.seq_missing"


class LedgerReadOnly(LedgerError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The file or its directory cannot be written."""

    code = "ledger.read_only"


class LedgerMoved(LedgerError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The file is not where it was opened: what would be stored in it now, nobody would find again."""

    code = "ledger.moved"


class LedgerLocked(Unavailable):
    """Another process held the write lock for too long."""

    code = "ledger.locked"


class LedgerClosed(LedgerError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The ledger was closed in this process."""

    code = "ledger.closed"


DAMAGED = "run `rlp kb verify`, then restore a backup"
"""What to do about a damaged ledger."""


class LedgerCorrupt(VerificationFailed):
    """The file is damaged: SQLite cannot read it, or a part of it is missing."""

    code = "ledger.corrupt"


class NotALedger(InvalidInput):
    """The file belongs to something else, or to a newer Runloop."""

    code = "ledger.foreign"


class KeyConflict(InvalidInput):
    """The idempotency key was used before, for an event that says something else."""

    code = "ledger.key_conflict"


class BlobMissing(VerificationFailed):
    """A blob that an event names is not in the ledger."""

    code = "ledger.blob_missing"


class QueryRefused(InvalidInput):
    """The query is not read-only, reads what is private, or is not SQL."""

    code = "kb.query_refused"


class QueryLimit(InvalidInput):
    """The query took too long."""

    code = "kb.query_limit"


class InvalidDelta(InvalidInput):
    """A proposed change has a bad scope, evidence that does not exist, or a payload its kind does not allow."""

    code = "kb.invalid_delta"


class FactRefused(InvalidDelta):
    """The validator does not stamp the fact that an agent proposes: it rests on nothing, or a person said otherwise."""

    code = "kb.fact_refused"


class EraseRefused(InvalidInput):
    """What was named cannot be erased; nothing was."""

    code = "kb.not_erasable"


class PruneRefused(InvalidInput):
    """What would be pruned, or the place of the archive, cannot be used."""

    code = "kb.prune_refused"


class RunArchived(InvalidInput):
    """The run's records were moved to an archive by `rlp kb prune`."""

    code = "run.archived"


class ArchiveMissing(RunloopError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The archive with the records that were pruned is not where it was put."""

    code = "kb.archive_missing"


class ArchiveDamaged(VerificationFailed):
    """An archive of pruned records is not as it was written."""

    code = "kb.archive_damaged"


class KeyArchived(InvalidInput):
    """The idempotency key stands for an event that was moved to an archive."""

    code = "ledger.key_archived"


class KnowledgeInUse(Unavailable):
    """Another process has the knowledge base open, or keeps it already: a backup, a restore, a migration."""

    code = "kb.in_use"


class BackupRefused(InvalidInput):
    """A backup cannot be made or put there."""

    code = "kb.backup_refused"


class BackupBroken(VerificationFailed):
    """A backup is not as it was made, or is none."""

    code = "kb.backup_broken"


class ExportRefused(InvalidInput):
    """An export cannot be written so, or cannot be taken into this ledger."""

    code = "export.refused"
