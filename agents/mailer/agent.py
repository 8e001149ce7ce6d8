"""Send a reviewed draft to its contact; the host shows a person what leaves, and writes or sends it."""

from __future__ import annotations

from typing import Any

from message import compose

from runloop_agent import agent, emit, mail


@agent
def run(draft: Any = None, contact: Any = None, review: Any = None, topic: str = "", require_human_confirm: bool = True) -> dict[str, Any]:
    """Ports ok (bool) and out (status, message_id, path, recipients)."""
    if not require_human_confirm:
        raise ValueError(
            "mailer: require_human_confirm cannot be false; whether a person is asked is the host's decision, see docs/security.md"
        )
    message = compose(draft, contact, review, topic)
    emit.progress(f"sending to {message['to'][0]['email']}")
    sent = mail.send(message["to"], subject=message["subject"], text=message["text"])
    out = {"status": sent.status, "message_id": sent.message_id, "path": sent.path, "recipients": sent.recipients}
    emit.log(f"{sent.status}: {sent.path or sent.message_id}", "info")
    return {"ok": True, "out": out}
