"""What is submitted: which opening, and which agents it may run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runloop.errors import InvalidInput, Where


def submission(
    opening: str | Path | None, source: str | None, file: str | None, digests: Mapping[str, str] | None, workdir: Path | str | None
) -> dict[str, Any]:
    """The fields of the verb ``submit`` that say what to run. Raises InvalidInput ``client.opening``."""
    if (opening is None) == (source is None):
        raise _bad("give the name or the file of an opening, or its text as `source`", "exactly one of the two")
    fields: dict[str, Any] = {} if workdir is None else {"workdir": str(Path(workdir).absolute())}
    if digests is not None:
        fields["agent_digests"] = [{**_reference(name), "digest": digest} for name, digest in digests.items()]
    if source is not None:
        return {"opening_source": source, **({} if file is None else {"opening_file": file}), **fields}
    if isinstance(opening, str) and "/" not in opening and not opening.endswith((".yaml", ".yml")):
        return {"opening": opening, **fields}
    from runloop.links import readable

    path = Path(str(opening))
    try:
        with readable(path) as stream:
            text = stream.read().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _bad(f"the opening {path} cannot be read: {why}", "name a file of YAML", file=str(path)) from None
    return {"opening_source": text, "opening_file": str(path), **fields}


def _reference(name: str) -> dict[str, str]:
    base, at, variant = name.partition("@")
    return {"name": base, "variant": variant} if at else {"name": base}


def _bad(message: str, hint: str, *, file: str | None = None) -> InvalidInput:
    return InvalidInput(message, code="client.opening", where=Where(file=file, key="opening"), hint=hint)
