"""Secrets taken out of command lines, before anything of them is stored. When in doubt, out.

What the masks of ``runloop.kb.redaction`` know (keys of known issuers, telling names, URLs) is taken out here too; these rules are for what
only command lines have. Nothing of a secret stays: no hash, no length. Every repetition is bounded or atomic, so no line takes long.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runloop.kb.redaction.keys import mask_keys
from runloop.kb.redaction.marks import MARK
from runloop.kb.redaction.urls import mask_urls

if TYPE_CHECKING:
    from re import Match

WITHHELD = "[key:withheld]"  # has the form of a mask, so no mask is put over it
LONGEST = 64 * 1024  # characters of a command line

_VALUE = r"""(?>(?:\$?"(?:[^"\\]|\\.)*"?|\$?'[^']*'?|\\.|[^\s"'|&;<>()`\\])+)"""
_ONE_VALUE = re.compile(_VALUE)
_QUOTED = re.compile(r"""[^"'\\]+""")
_OF_HEADER = re.compile(r"""(?:(?:bearer|basic|token|digest)\s+)?(?P<value>[^\s"'$][^"'\n]*)""", re.IGNORECASE)

# Names that tell: the last word of the name, or the last but one where what follows does not say that the secret is elsewhere
_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_HINT = re.compile("pass|pwd|pat|pin|otp|dsn|auth|secret|token|credential|cookie|session|bearer|string|key", re.IGNORECASE)
_TELLING = re.compile(
    r"(?:.*[-_.])?(?:[a-z0-9]*(?:password|passwd|passphrase|passcode|passwort|secrets?|tokens?|credentials?|cookie|session[_-]?id|bearer|"
    r"authorization|connection[_-]?string|"
    r"(?:api|access|auth|private|secret|signing|encryption|master|account|shared|session|client|app|licen[sc]e|ssh|gpg|deploy)[_-]?key)"
    r"|pass|pwd|auth|pat|pin|otp|dsn)(?:[-_.](?!stdin|file|path|env|prompt|type|url|length)[a-z0-9]+)?",
    re.IGNORECASE,
)
_LONGEST_NAME = 200
_ASSIGNS = re.compile(r"""["']?\]?\s?\+?=(?:\s?(?=["']))?""")
_IN_JSON = re.compile(r"""\\?["']\s{0,3}:\s{0,3}\\?["']""")
_AFTER_COLON = re.compile(r"\s{0,3}:\s{0,3}")
_AFTER_OPTION = re.compile(r"\s{1,5}(?!-)")
_FISH_SET = re.compile(r"\bset\s+(?:-\S+\s+){0,5}\Z")

_TO_STDIN = r"(?:sudo\s(?:-\S+\s+){0,5}-\w*S|\S{0,40}password-?stdin|passwd|chpasswd|cryptsetup|kinit|gpg|openssl|docker\s+login)(?=\s|$)"
_NOT_SECRET = re.compile(
    r"""["']?(?:\$[({A-Za-z_0-9!]|`|\[key:withheld\])|["']{2}\Z|\$\Z|(?:true|false|yes|no|on|off|none|null|\d)\Z""", re.IGNORECASE
)
_PARAMETERS = (
    "token",
    "key",
    "password",
    "passwd",
    "pwd",
    "pass",
    "secret",
    "signature",
    "sig",
    "auth",
    "code",
    "jwt",
    "credential",
    "session",
)


def _rule(before: str, value: str = _VALUE, after: str = "") -> re.Pattern[str]:
    return re.compile(f"(?:{before})(?P<value>{value}){after}")


# Programs with options of one letter for a secret, and what comes before the secret in them
_SHORT = {
    r"mysql\w{0,9}|mariadb[\w-]{0,9}|mycli|7z\w?|rar|unrar": "-p",
    r"sshpass|(?:docker|podman|az|oc|cf)\s+login|mongo\w{0,9}|pgcli|influx|x?freerdp\w?|rdesktop|helm\s+registry\s+login": r"-p\s*|/p:",
    r"zip|unzip|sqlcmd|bcp|isql": r"-P\s*",
    r"ldap\w{1,9}": r"-w\s*",
    r"redis-cli": r"-a\s+",
    r"htpasswd\s+-\w*b\w*\s+\S+\s+\S+|net\s+use\s+\S+": "",
    r"aws\s+configure\s+set\s+\S*(?:secret|token|key)\S*|git\s+config\s+(?:--\S+\s+){0,4}\S*(?:password|token|secret)\S*": "",
}
_WITH_USER = (
    r"(?<![\w.-])(?:curl|https?|xh|wget|aria2c|rpcclient|smbclient|ab|lftp|mosquitto_\w{1,9})(?=\s)[^|;&\n]{0,2000}?\s-\w{0,8}[uUa]\s{0,5}"
)
_USER = r"(?<!\S)--(?:proxy-)?user[=\s]\s{0,5}"
_RULES = (
    _rule(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY", r"[\s\S]+"),
    *(
        _rule(option + quote + r"[^\s\"':%/]{1,200}[:%,](?!//)", value)
        for option in (_WITH_USER, _USER)
        for quote, value in (('"', r'[^"]+'), ("'", r"[^']+"), ("", r"""[^\s"']+"""))
    ),
    _rule(r"\bpass:", r"""[^\s"']+"""),  # openssl -passin pass:x
    _rule(r"\b(?:echo|printf|print)\s+(?:-\S+\s+){0,5}", after=rf"(?=\s{{0,5}}\|[^|\n]{{0,300}}?\b{_TO_STDIN})"),
    _rule(rf"\b{_TO_STDIN}[^|;\n]{{0,300}}?<<<\s{{0,5}}"),
    *(
        _rule(rf"(?<![\w.-])(?:{programs})(?=\s)" + (rf"[^|;&\n]{{0,2000}}?\s(?:{option})" if option else r"\s+"))
        for programs, option in _SHORT.items()
    ),
)


def scrub(text: str) -> tuple[str, int]:
    """The command line without its secrets, and how many were taken out; doing it again takes out nothing more."""
    count = 0

    def withhold(found: Match[str]) -> str:
        nonlocal count
        value = found["value"]
        if _NOT_SECRET.match(value):
            return found[0]
        count += 1
        start, end = (place - found.start() for place in found.span("value"))
        return found[0][:start] + _quoted(value) + found[0][end:]

    def masked(found: Match[str]) -> str:
        nonlocal count
        count += found[0] != WITHHELD
        return WITHHELD

    for rule in _RULES:
        text = rule.sub(withhold, text)
    if _HINT.search(text):
        text, named = _scrub_named(text)
        count += named
    return MARK.sub(masked, mask_keys(mask_urls(text, "", _PARAMETERS), "")), count


def _scrub_named(text: str) -> tuple[str, int]:
    """The text without what telling names are given: ``TOKEN=x``, ``--password x``, ``"secret": "x"``, ``Authorization: x``."""
    out: list[str] = []
    done = count = 0
    for word in _WORD.finditer(text):
        if word.start() < done or not is_telling(word[0]):
            continue
        span = _given(text, word.start(), word.end())
        if span is None or _NOT_SECRET.match(value := text[span[0] : span[1]]):
            continue
        out += (text[done : span[0]], _quoted(value))
        done = span[1]
        count += 1
    return "".join((*out, text[done:])), count


def is_telling(name: str) -> bool:
    """Whether what a variable, an option or a field of this name is given is a secret."""
    return _HINT.search(name) is not None and _TELLING.fullmatch(name[-_LONGEST_NAME:]) is not None


def _given(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Where the value is that the name from ``start`` to ``end`` is given."""
    is_option = text[start] == "-" and (start == 0 or text[start - 1].isspace())
    if sign := _ASSIGNS.match(text, end):
        value = _ONE_VALUE.match(text, sign.end())
    elif sign := _IN_JSON.match(text, end):
        value = _QUOTED.match(text, sign.end())
    elif sign := _AFTER_COLON.match(text, end):
        found = _OF_HEADER.match(text, sign.end())
        return None if found is None else found.span("value")
    elif (is_option or _FISH_SET.search(text, max(0, start - 80), start)) and (sign := _AFTER_OPTION.match(text, end)):
        value = _ONE_VALUE.match(text, sign.end())
    else:
        return None
    return None if value is None else value.span()


def _quoted(value: str) -> str:
    """The mark, in the quotes that the secret had."""
    quote = value[0] if value[0] in "\"'" and value[-1] == value[0] and len(value) > 1 else ""
    return f"{quote}{WITHHELD}{quote}"
