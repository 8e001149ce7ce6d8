"""The page docs/effects.md, written from the catalogue: ``python -m runloop.effects.reference > docs/effects.md``."""

from __future__ import annotations

import sys
from typing import Any

from runloop.effects.catalogue import CATALOGUE, Effect
from runloop.effects.types import CallErrorKind, EffectClass

_INTRO = """\
# Hostcalls

An agent has no files, no network, no clock and no environment. All it can do is ask, through one of the calls below; the host checks
the arguments, asks policy, asks a person where that is needed, acts, and writes question and answer into the ledger before the agent
sees the answer. This page is written from the table in `runloop/effects/catalogue.py`; a test holds the two together.

Arguments are one JSON object and are checked strictly before anything else happens: an unknown argument, a wrong type, a text that is too
long or is not well-formed Unicode is answered with `invalid`, and the message names the argument.

## Classes

| class | what repeating a call would mean |
|---|---|
"""

_CLASSES = {
    EffectClass.VIRTUAL: "nothing: the answer follows from the run itself, and is not recorded call by call",
    EffectClass.READ: "asking again; the answer is recorded, so a replay sees what the run saw",
    EffectClass.IDEMPOTENT: "nothing new: the call carries a key, or repeating it harms nobody; it is repeated after a crash",
    EffectClass.EXTERNAL: "doing it twice: after a crash without a recorded outcome a person is asked; it is never repeated silently",
    EffectClass.WAITING: "waiting again; the guest may leave memory until the answer comes",
    EffectClass.LIVE: "telling again; the call never fails the agent and may be dropped",
}

_ERRORS = {
    CallErrorKind.DENIED: "policy or a person said no; the hint says what to change",
    CallErrorKind.INVALID: "the arguments, or what they name, cannot be used",
    CallErrorKind.BUDGET: "tokens, money or calls are used up",
    CallErrorKind.TIMEOUT: "the answer did not come in time",
    CallErrorKind.UNAVAILABLE: "what is needed is not configured, not there, or failed",
    CallErrorKind.CANCELLED: "the run is being stopped",
}

_NOTES = """\
Some calls change class with their arguments: `http.fetch` is a read for GET and HEAD, `exec.run` is a read for a command that policy
lists as read-only, and `mail.send` is the action `mail.outbox` (reversible, nothing leaves the machine) until SMTP is configured.

In Python a field of the `headers` of an answer is found by its name in any case. What `http.fetch` gets is text under the character
set that the answer declares, else UTF-8, and base64 where it is neither; it follows at most 5 redirects, refuses compressed
answers, and uses no proxy: it goes to the address that was checked. Certificates count whose authority is one of the system's, or
of `SSL_CERT_FILE` and `SSL_CERT_DIR` in the environment of the daemon.
Paths are absolute or begin with `~/`, and have no `..`. What `files.read` gives are whole characters, and `bytes` counts those:
the next part of a file begins at `offset + bytes` (`part.end` in Python), and a log that grows is read on from there; one whose
`size` is less than that was begun anew. With an `offset`, a character that its writer has not finished is left for the next reading.
Without `cwd` a program
runs in an empty directory, which is removed afterwards. Of its standard output and error 256 KiB each are kept.
An answer that was cut, by that or by the bound that an argument has where it is left out (`max_bytes`, `limit`), says
`truncated`, and a Python agent's log says so too.
The `default` of `ask.person` is the answer of a person who types nothing, or lets `timeout_ms` pass; where nobody is there who could
answer, the call is `unavailable`.

## Refusals

A refused call does not end the agent: it gets one of these codes, a message and a hint.

| code | meaning |
|---|---|
"""


def page() -> str:
    """The whole page, as Markdown."""
    classes = "".join(f"| {klass} | {meaning} |\n" for klass, meaning in _CLASSES.items())
    errors = "".join(f"| `{kind}` | {meaning} |\n" for kind, meaning in _ERRORS.items())
    rows = "".join(map(_row, CATALOGUE.values()))
    table = f"\n## Calls\n\n| call | class | capability | approval | what for |\n|---|---|---|---|---|\n{rows}\n"
    details = "".join(_detail(effect) for effect in CATALOGUE.values())
    return f"{_INTRO}{classes}{table}{_NOTES}{errors}\n{details}".rstrip("\n") + "\n"


def _row(effect: Effect) -> str:
    link = f"[`{effect.name}`](#{effect.name.replace('.', '')})"
    return f"| {link} | {effect.klass} | {effect.capability} | {_action(effect)} | {effect.summary} |\n"


def _action(effect: Effect) -> str:
    return ", ".join(f"`{action}`" for action in effect.actions)


def _detail(effect: Effect) -> str:
    required = set(effect.args_schema["required"])
    lines = [f"## {effect.name}\n\n{effect.summary}\n"]
    properties: dict[str, Any] = effect.args_schema["properties"]
    if properties:
        lines.append("\n| argument | value | without it |\n|---|---|---|\n")
        lines += [f"| `{name}` | {_value(schema)} | {_absent(schema, name in required)} |\n" for name, schema in properties.items()]
    lines.append(f"\nAnswer: {effect.result}.\n\n")
    return "".join(lines)


def _absent(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default", "")
    return f"{default:,}" if isinstance(default, int) else f"`{default}`" if default else ""


def _value(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    match schema.get("type"):
        case "string":
            low, high = schema.get("minLength", 0), schema["maxLength"]
            return f"text of {low} to {high:,} characters"
        case "integer" | "number":
            return f"{schema['type']} from {schema['minimum']:,} to {schema['maximum']:,}"
        case "array":
            return f"list of {schema['minItems']} to {schema['maxItems']:,}: {_value(schema['items'])}"
        case "object":
            return _object(schema)
        case _:
            return "any JSON"


def _object(schema: dict[str, Any]) -> str:
    if "properties" in schema:
        fields = (f"`{name}`{'' if name in schema['required'] else '?'}" for name in schema["properties"])
        return "object of " + ", ".join(fields)
    return f"object of texts, at most {schema['maxProperties']}" if "maxProperties" in schema else "object"


if __name__ == "__main__":
    sys.stdout.write(page())
