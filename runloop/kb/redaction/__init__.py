"""Masks for what leaves: one function for a text and one for a JSON value, by kind of data, salted, pure (docs/privacy.md)."""

from __future__ import annotations

from runloop.kb.redaction.email import mask_email
from runloop.kb.redaction.redactor import Redactor
from runloop.kb.redaction.rules import EVERYTHING, NOTHING, Rules

__all__ = ["EVERYTHING", "NOTHING", "Redactor", "Rules", "mask_email"]
