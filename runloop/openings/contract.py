"""Output contracts: a node's outputs checked against a JSON Schema, purely."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from runloop.openings.hints import violations
from runloop.openings.states import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.openings.clauses import Contract
    from runloop.openings.expressions import Ports
    from runloop.openings.scalars import Json

_MAX_FAULTS = 10
_MAX_MESSAGE = 300


def faults(contract: Contract, outputs: Ports, most: int | None = None) -> list[dict[str, Any]]:
    """What is wrong with ``outputs``: message, path in the value, and the path of the schema's rule; at most ten.

    Raises :class:`runloop.schemas.StepsError` where a value takes more than ``most`` steps.
    """
    values = outputs.get(contract.port)
    if not values:
        return [_fault(f"there is no value on port '{contract.port}'", (), ())]
    found = (_fault(*violation) for value in values for violation in violations(contract.schema, value, most=most))
    return list(islice(found, _MAX_FAULTS))


def failure(contract: Contract, found: Sequence[dict[str, Any]]) -> Failure:
    """The failure that the first of ``found`` is."""
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    place = f" at {first['path']}" if first["path"] else ""
    rule = f" [schema {first['rule']}]" if first["rule"] else ""
    return Failure("output.invalid", f"output '{contract.port}' breaks its contract{place}: {first['message']}{rule}{more}")


def feedback(contract: Contract, outputs: Ports, found: Sequence[dict[str, Any]], comment: str) -> dict[str, Json]:
    """What the next attempt gets on its port ``feedback``."""
    return {"output": list(outputs.get(contract.port) or ()), "errors": list(found), "comment": comment}


def _fault(message: str, path: Sequence[str | int], rule: Sequence[str | int]) -> dict[str, Any]:
    shown = message if len(message) <= _MAX_MESSAGE else message[: _MAX_MESSAGE - 1] + "…"
    return {"message": shown, "path": "/".join(map(str, path)), "rule": "/".join(map(str, rule))}
