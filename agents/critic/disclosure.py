"""Text that must not leave the machine (keys, tokens, passwords, what is marked confidential) and text that gives orders to its reader.

Bundles are self-contained, so the agents that look for it each carry this file; `tests/agents` holds the copies equal.
"""

from __future__ import annotations

import re

_SECRETS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{16,}")),
    ("a Slack token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}")),
    ("an API key", re.compile(r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[A-Za-z0-9_-]{20,}")),
    ("a Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}")),
    ("a JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}")),
    ("credentials in a URL", re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@", re.IGNORECASE)),
    (
        "a password or key",
        re.compile(
            r"\b(?:pass(?:word|wd|phrase|code)|passwort|kennwort|contrase\u00f1a|mot de passe|pwd|pin|secret(?: key)?|api[ _-]?key|"
            r"(?:access|auth|bearer)[ _-]?token|private[ _-]?key)\s*(?:is|ist|lautet|est|es)?\s*[:=|]\s*[\"'`]?\S{3,}",
            re.IGNORECASE,
        ),
    ),
    (
        "a password or key",
        re.compile(
            r"\b(?:pass(?:word|phrase|code)|passwort|kennwort|pwd|pin)\b[^.:=\n]{0,60}?(?:\s(?:is|ist|lautet)\s|\s?[:=])\s*(?=\S*[\d!@#$%^&*])[\"'`]?\S{4,}",
            re.IGNORECASE,
        ),
    ),
)

_CONFIDENTIAL = re.compile(
    r"\bconfidential(?:ly)?\b|\boff the record\b|\binternal (?:use )?only\b|\bfor my eyes only\b|\bprivate notes?\b"
    r"|\b(?:do not|don't|not to be|never) (?:share|forward|send|disclose|put|mail|publish|circulate)(?:d|ed|n)?\b"
    r"|\bvertraulich\b|\bconfidentiel(?:le)?\b",
    re.IGNORECASE,
)

_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|all|any|your|these)\b[^.\n]{0,40}"
    r"\b(?:instruction|instructions|prompt|prompts|rule|rules|direction|directions|message|messages)\b"
    r"|\b(?:system prompt|developer message|jailbreak)\b"
    r"|\byou are now\b|\bact as (?:an?|the)\b[^.\n]{0,30}\b(?:assistant|ai|model|agent)\b"
    r"|\b(?:ai|llm|language model|chatbot)s?\b[^.\n]{0,30}\b(?:must|should|shall|reading this|please)\b"
    r"|\b(?:if you are|dear|attention,?|note to)\s+(?:an? |the |any |all )?(?:ai|llm|language model|assistant|chatbot|agent)s?\b"
    r"|<\s*/?\s*(?:system|assistant|instructions?)\s*>|\[/?INST\]|<\|[a-z_]+\|>",
    re.IGNORECASE,
)


def secrets_in(text: str) -> list[str]:
    """What kinds of secret the text seems to hold, each once; the secret itself is never repeated."""
    return list(dict.fromkeys(kind for kind, pattern in _SECRETS if pattern.search(text)))


def confidential(text: str) -> bool:
    """Whether the text says of itself that it is not for others."""
    return _CONFIDENTIAL.search(text) is not None


def gives_orders(text: str) -> bool:
    """Whether the text talks to a model instead of telling something."""
    return _ORDERS.search(text) is not None
