"""How answers become records: known keys only, so that an older agent runs on a newer host."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import DataclassInstance

    RecordT = TypeVar("RecordT", bound=DataclassInstance)


def record(kind: type[RecordT], answer: Mapping[str, Any]) -> RecordT:
    """Build ``kind`` from the keys it knows; keys that the host left out keep their defaults."""
    known = {field.name for field in fields(kind)}
    return kind(**{key: value for key, value in answer.items() if key in known})
