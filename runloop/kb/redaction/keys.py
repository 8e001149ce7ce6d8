"""Keys, tokens and passwords: by their well-known beginnings, by their armour, and by the name that stands before them."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from runloop.kb.redaction.marks import MARK, mark
from runloop.patterns import lazy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from re import Match

_ARMOUR = lazy(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL
)
_JWT = lazy(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}+(?P<rest>\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*)?")
"""What only begins as one is found too, and left alone: each `eyJ` in it would look to its end anew."""

# Beginning → what follows it; each is documented by whoever issues it
_ISSUED: tuple[tuple[str, str], ...] = (
    ("sk-", r"[A-Za-z0-9_-]{16,}"),  # OpenAI, Anthropic, OpenRouter, DeepSeek
    ("gh", r"[oprsu]_[A-Za-z0-9]{20,}"),
    ("github_pat_", r"[A-Za-z0-9_]{20,}"),
    ("glpat-", r"[A-Za-z0-9_.-]{20,}"),
    ("xox", r"[a-z]-[A-Za-z0-9-]{10,}"),  # Slack
    ("xapp-", r"[A-Za-z0-9-]{10,}"),
    ("AKIA", r"[A-Z0-9]{16}"),  # Amazon
    ("ASIA", r"[A-Z0-9]{16}"),
    ("AIza", r"[A-Za-z0-9_-]{35}"),  # Google
    ("ya29.", r"[A-Za-z0-9_-]{20,}"),
    ("1//0", r"[A-Za-z0-9_-]{30,}"),
    ("GOCSPX-", r"[A-Za-z0-9_-]{20,}"),
    ("npm_", r"[A-Za-z0-9]{30,}"),
    ("pypi-", r"[A-Za-z0-9_-]{40,}"),
    ("hf_", r"[A-Za-z0-9]{30,}"),
    ("gsk_", r"[A-Za-z0-9]{30,}"),
    ("xai-", r"[A-Za-z0-9]{30,}"),
    ("pplx-", r"[A-Za-z0-9]{30,}"),
    ("tvly-", r"[A-Za-z0-9-]{20,}"),
    ("nvapi-", r"[A-Za-z0-9_-]{30,}"),
    ("r8_", r"[A-Za-z0-9]{30,}"),
    ("sk_", r"(?:live|test)_[A-Za-z0-9]{16,}"),  # Stripe
    ("rk_", r"(?:live|test)_[A-Za-z0-9]{16,}"),
    ("whsec_", r"[A-Za-z0-9+/=]{16,}"),
    ("SG.", r"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("dop_v1_", r"[a-f0-9]{64}"),
    ("shpat_", r"[a-fA-F0-9]{32}"),
    ("glsa_", r"[A-Za-z0-9_]{32,}"),
    ("lin_api_", r"[A-Za-z0-9]{32,}"),
    ("tskey-", r"[A-Za-z0-9-]{20,}"),
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{50,}"),
)
_SHORTEST = 15  # characters of an issued key
_BEGINNINGS = {
    sign: tuple(each for each, _ in _ISSUED if next((one for one in "-_./" if one in each), "") == sign) for sign in ("", *"-_./")
}
"""By the sign that stands in them: most texts have none of these, and are through after a few looks."""
_TOKEN = lazy(r"(?<![A-Za-z0-9])(?:" + "|".join(re.escape(beginning) + rest for beginning, rest in _ISSUED) + ")")
_BEARER = lazy(r"\b(?:bearer|basic)[ \t]+([A-Za-z0-9+/=_.~-]{12,})", re.IGNORECASE)

_PASSWORDS = ("password", "passwd", "passwort", "passphrase", "passcode", "pwd", "kennwort", "contraseña", "senha", "mot_de_passe")
_TOKENS = ("secret", "token", "credential", "credentials", "authorization", "cookie", "session_id", "session-id", "sessionid", "jwt", "key")
_KEYS = r"(?:api|access|auth|private|secret|signing|encryption|master|account|shared|client|service)[_-]?"
_KEY_OF = lazy(_KEYS + r"\Z")
_GIVEN = lazy(  # what follows a telling name
    r"\\?[\"']?(?P<sign>\s{0,3}(?:=>|:=|[:=])\s{0,3}|[ \t])"
    r"(?:\\?\"(?P<double>[^\"\\\n]{1,4096})|\\?'(?P<single>[^'\\\n]{1,4096})|(?P<bare>[^\s\"'`<>{}\[\]()|,;&\\]{1,4096}))(?P<after>.?)"
)
_HINTS = (
    *("pass", *(each for each in _PASSWORDS if "pass" not in each)),
    *(each for each in _TOKENS if each not in {"credentials", "session-id", "sessionid", "session_id"}),
    *("session", "bearer", "basic"),
)
"""One of these stands in every text that has a name of :data:`_PASSWORDS` or :data:`_TOKENS`, or ``Bearer``."""
_PASSWORD_NAME = lazy(rf"(?:.*[_\-. ])?(?:{'|'.join(_PASSWORDS)}|pass|pin|otp)", re.IGNORECASE)
_TOKEN_NAME = lazy(rf"(?:.*[_\-. ])?(?:[a-z]*(?:{'|'.join(_TOKENS[:-1])}|bearer)|{_KEYS}key)", re.IGNORECASE)
_PLACEHOLDER = lazy(
    r"[*x.•…_-]+|\$.*|%.*%|<.*|\{.*|null|none|nil|true|false|undefined|changeme|redacted|masked|str|int|bool|bytes|string|required|optional|empty",
    re.IGNORECASE,
)
_VALUE = lazy(r"[A-Za-z0-9_\-./+=~:%!@#$^&*]+")
_HEX_HASH = lazy(r"(?:[a-z0-9]+:)?(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_SIGNS = frozenset("!#$%^&*+~?@")
_TELLING = 256
"""How much of a value is looked at sign by sign: as much as keys have."""
_NESTED = 8
"""Names that stand in what others are given, without a break: each is given the rest of it, which is looked at anew. What the last of so
many is given is taken for a secret, or the time would grow with their number times the length of the rest."""


def mask_keys(text: str, salt: str) -> str:
    """The text with every key, token and password that can be told as one masked."""

    def whole(found: Match[str]) -> str:
        return mark("key", found[0], salt)

    def bearer(found: Match[str]) -> str:
        return found[0][: found.start(1) - found.start()] + mark("key", found[1], salt) if _is_strong(found[1]) else found[0]

    def web_token(found: Match[str]) -> str:
        return whole(found) if found["rest"] else found[0]

    if "PRIVATE KEY" in text:
        text = _ARMOUR.sub(whole, text)
    if "eyJ" in text:
        text = _JWT.sub(web_token, text)
    if len(text) >= _SHORTEST and any(sign in text and any(map(text.__contains__, begin)) for sign, begin in _BEGINNINGS.items()):
        text = _TOKEN.sub(whole, text)
    lowered = _lowered(text)
    if any(map(lowered.__contains__, _HINTS)):
        text = _mask_given(text, lowered, salt)
        text = _BEARER.sub(bearer, text)
    return text


def _mask_given(text: str, lowered: str, salt: str) -> str:
    """The text with what stands after a telling name masked: ``api_key=…``, ``"password": "…"``, ``--token …``."""
    out: list[str] = []
    done = ends = nested = 0
    for start, end, password in sorted(_names(lowered)):
        found = None if start < done else _GIVEN.match(text, end)
        if found is None:
            continue
        group = "double" if found["double"] is not None else "single" if found["single"] is not None else "bare"
        nested = nested + 1 if start < ends else 0
        ends = max(ends, found.end("bare"))
        if nested == _NESTED or _is_secret(found, group, start, password=password):
            out += (text[done : found.start(group)], mark("key", found[group], salt))
            done = found.end(group)
    return "".join((*out, text[done:]))


def _names(lowered: str) -> Iterator[tuple[int, int, bool]]:
    """Where a telling name begins and ends, and whether it is that of a password."""
    for names, password in ((_PASSWORDS, True), (_TOKENS, False)):
        for name in names:
            at = lowered.find(name)
            while at >= 0:
                if name != "key" or _KEY_OF.search(lowered, max(0, at - 11), at):
                    yield at, at + len(name), password
                at = lowered.find(name, at + len(name))


def _lowered(text: str) -> str:
    """The text in small letters, each at its own place."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(sign.lower() if len(sign.lower()) == 1 else sign for sign in text)


def _is_secret(found: Match[str], group: str, name_at: int, *, password: bool) -> bool:
    """Whether what a telling name is given is a secret: not code, not a placeholder, not a mask."""
    value = found[group]
    if MARK.match(found.string, found.start(group)) or _PLACEHOLDER.fullmatch(value):
        return False
    spaced = not found["sign"].strip()  # `--password hunter2`: only an option does without a sign
    if spaced and (group != "bare" or not _is_option(found.string, name_at)):
        return False
    if not password:
        return _is_strong(value)
    if group != "bare":
        return not value[0].isspace()
    code = found["after"] in {"(", "[", "{"} or (found["after"] == ")" and value.isidentifier()) or ("." in value and _is_path(value))
    tight = found["sign"] in {"=", ":="} or spaced
    return not code and (tight or any(sign.isdigit() or sign in _SIGNS for sign in value))


def _is_option(text: str, at: int) -> bool:
    """Whether the name that begins at ``at`` is that of a command's option: ``--db-password``."""
    word = text[max(0, at - 40) : at].rsplit(None, 1)[-1] if at and not text[at - 1].isspace() else ""
    return word.startswith("--")


def _is_path(value: str) -> bool:
    """Whether a value reads as a name of a program: ``settings.password``."""
    return all(part.isidentifier() for part in value.split("."))


def _is_strong(value: str) -> bool:
    """Whether a value looks like a key: long, of several sorts of signs, without an order; a hash of usual length is none."""
    if len(value) < 8 or not _VALUE.fullmatch(value) or _HEX_HASH.fullmatch(value) or value.startswith(("./", "/", "http:", "https:")):
        return False
    value = value[:_TELLING]
    sorts = sum(any(test(sign) for sign in value) for test in (str.islower, str.isupper, str.isdigit))
    if sorts < 2 or not any(sign.isdigit() for sign in value):
        return len(value) >= 20 and sorts >= 2 and _entropy(value) >= 3.5 and not _is_path(value)
    return _entropy(value) >= (2.7 if len(value) < 16 else 3.0)


def _entropy(text: str) -> float:
    """Shannon's, in bits for each sign."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def is_key_name(name: str) -> bool:
    """Whether a key or column of this name may hold a secret."""
    return _PASSWORD_NAME.fullmatch(name) is not None or _TOKEN_NAME.fullmatch(name) is not None


def mask_named_key(name: str, text: str, salt: str) -> str:
    """The mask of a value whose name says that it is a secret; what is none (a placeholder, a handle, a hash, a sentence) stays."""
    if not text.strip() or MARK.fullmatch(text) or _PLACEHOLDER.fullmatch(text):
        return text
    if _PASSWORD_NAME.fullmatch(name):
        return mark("key", text, salt)
    return mark("key", text, salt) if _is_strong(text) else text
