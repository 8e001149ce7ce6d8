"""The configuration file that `rlp init` writes: what was found, and the rest of the common settings as comments."""

from __future__ import annotations

import json
from collections.abc import Sequence

from runloop.cli.detecting import Found

_HEAD = """# Settings of Runloop for this user, written by `rlp init`. Every key: docs/configuration.md.
# `rlp config show` says what is in force, `rlp config explain KEY` what a key means and who decided it.
# Keys of providers never stand here: `rlp secrets set NAME` stores one under its secret_id.
"""
_REST = """
# security:
#   confirm_external_actions: true   # ask before anything outside Runloop is changed
#   approval_wait_ms: 0              # how long an approval waits where nobody follows the run
# router:
#   sigil: "?"                       # a line that begins so is for agents
# mail:
#   from: you@example.org            # without an SMTP host, mail is put into the outbox
#   smtp: {host: smtp.example.org, user: you, secret_id: smtp/password}
# policy:
#   max_usd: 1.0                     # the most that a run may spend
"""


def text(found: Sequence[Found]) -> str:
    """The file, for these providers; the first local model becomes the default."""
    if not found:
        models = [
            "# models:",
            "#   default: ollama:llama3.2",
            "#   broker:",
            "#     providers:",
            '#       - {id: ollama, kind: http_ollama, base_url: "http://127.0.0.1:11434"}',
        ]
        return "\n".join([_HEAD, "# No model was found on this machine. With Ollama it would be:", *models]) + "\n" + _REST
    default = next((f"{each.id}:{each.chat_model}" for each in found if each.chat_model), None)
    embeds = next((f"{each.id}:{each.embed_model}" for each in found if each.embed_model), None)
    lines = [_HEAD, "models:"]
    if default is None:
        lines.append(f"  # default: {found[0].id}:MODEL   # name a model of the provider; without one, agents that need one say so")
    else:
        lines.append(f"  default: {_quoted(default)}")
    if embeds is not None:
        lines.append(f"  embed_default: {_quoted(embeds)}")
    lines += ["  broker:", "    providers:", *(f"      - {_provider(each)}" for each in found)]
    return "\n".join(lines) + "\n" + _REST


def _provider(each: Found) -> str:
    """One provider as YAML in flow form; JSON strings are YAML strings."""
    fields = {"id": each.id, "kind": each.kind, "base_url": each.base_url, **({"secret_id": each.secret_id} if each.secret_id else {})}
    return "{" + ", ".join(f"{name}: {_quoted(value)}" for name, value in fields.items()) + "}"


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
