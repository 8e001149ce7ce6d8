"""Accounts that were read with contacts, into the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runloop.kb.derived import account_key, contact_key
from runloop.kb.importers.intake import Current, Found, How, Sort, take_in
from runloop.kb.importers.report import ImportReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import apsw

    from runloop.kb.base import KnowledgeBase
    from runloop.kb.importers.profiles import Profile


def found_account(profile: Profile, contact: str, place: Mapping[str, Any]) -> Found:
    """The record of an account of the contact with this e-mail address; ``place`` is its source, path and line."""
    service, handle, url = profile
    payload = {"service": service, "handle": handle, "contact": contact, **place, **({"url": url} if url else {})}
    digest = _digest(service, handle, contact_key(contact), url)
    return Found(account_key(service, handle), place["path"], place["line"], (payload,), digest)


def import_accounts(kb: KnowledgeBase, found: Iterable[Found], source: str, how: How) -> ImportReport:
    """Append those that are new or changed; of one account that several contacts name, the first counts."""
    return take_in(kb, _SORT, found, ImportReport("accounts", source, dry_run=how.dry_run), replace(how, progress=None))


def _current(db: apsw.Connection, keys: Sequence[str]) -> dict[str, Current]:
    found = {}
    for key in keys:
        row: Any = db.execute(
            "SELECT source_event, service, handle, contact_key, url FROM accounts WHERE account_key = ?", (key,)
        ).fetchone()
        if row is not None:
            found[key] = Current(row[0], _digest(*row[1:]))
    return found


def _digest(*facts: Any) -> str:
    return json.dumps(facts)


_SORT = Sort("accounts", "account", "account.upserted", _current)
