"""From an approved draft to the arguments of one mail: plain data in and out."""

from __future__ import annotations

import textwrap
from typing import Any

WIDTH = 76
"""Columns of a plain-text message; RFC 5322 section 2.1.1 asks for at most 78."""


class NotReady(ValueError):  # noqa: N818 - named for what it is
    """The message must not go out; the text says why."""


def compose(draft: Any, contact: Any, review: Any, topic: str) -> dict[str, Any]:
    """The mail as `to`, `subject`, `text`. Raises NotReady for a rejected review, a missing part or an unusable address."""
    people = contact if isinstance(contact, list) else [contact]
    if not isinstance(draft, dict) or not str(draft.get("body") or "").strip():
        raise NotReady("there is no draft to send; connect the writer's `out` to `draft`")
    if not isinstance(review, dict) or not isinstance(review.get("ok"), bool):
        raise NotReady("there is no review; connect the critic's `review` to `review`: nothing is sent unread")
    if not review["ok"]:
        raise NotReady(rejection(review))
    subject = " ".join(str(draft.get("subject") or topic).split())
    if not subject:
        raise NotReady("the message has no subject and no topic to take one from")
    return {"to": [recipient(person) for person in people], "subject": subject, "text": wrap(str(draft["body"]))}


def rejection(review: dict[str, Any]) -> str:
    """What the review asks for, on one line: it becomes the reason why the run failed."""
    items = [item for item in review.get("suggestions") or [] if isinstance(item, dict)]
    asked = [f"{item.get('where', '')}: {item.get('problem', '')} {item.get('suggestion', '')}".strip() for item in items]
    return f"the review rejects this draft, so it was not sent; {' / '.join(asked) or 'the review names nothing to change'}"


def recipient(person: Any) -> dict[str, str]:
    """Name and address of one recipient; the address as the contact has it, never a guess."""
    email = str(person.get("email") or "").strip() if isinstance(person, dict) else ""
    local, at, domain = email.rpartition("@")
    if not (local and at and domain) or any(char.isspace() or not char.isprintable() or char in "<>,;" for char in email):
        raise NotReady(f"the contact has no usable e-mail address: {email!r}; connect the resolver's `out` to `contact`")
    name = " ".join(str(person.get("name") or "").split())
    return {"name": name, "email": email} if name else {"email": email}


def wrap(body: str) -> str:
    """Lines of at most WIDTH columns; bullets keep their indent, long words and addresses stay whole."""
    lines: list[str] = []
    for line in body.replace("\r\n", "\n").strip("\n").split("\n"):
        indent = "  " if line.startswith("- ") else "    " if line.startswith("[") else ""
        lines += textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(lines) + "\n"
