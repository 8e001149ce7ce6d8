"""What a word looks like by itself: a plain word, an option, a path, a file, a host."""

from __future__ import annotations

import re

from runloop.patterns import lazy

MAX_LENGTH = 200  # a longer word is neither a name nor a form

_STRIPPED = ",.;:!?()[]\"'…¿¡«»„“”‘’。、？！"
_PATH_COMMAND = lazy(r"(?:~[\w.-]*|\.{1,2})?/\S+|[A-Za-z]:[\\/]\S+|\\\\\S+|(?:[\w.-]+/)+[\w.-]+")
_ALTERNATIVES = lazy(r"[^\W\d_]{2,}/[^\W\d_]{2,}|[wW]/o?|n/a|N/A|e\.g\.?|i\.e\.?|a\.m|p\.m")
_OPTION = lazy(r"-[A-Za-z0-9?@#]|--[A-Za-z]|\+[A-Za-z]$")
_FILE_LIKE = lazy(r"[^\s/]*/\S*|~\S*|\S*[\w*]\.[A-Za-z][A-Za-z0-9]{0,5}|\.\w[\w.-]*|\.\.?")
_KEY_VALUE = lazy(r"[A-Za-z_][\w.-]*=\S*")
_HOST = lazy(r"(?!\d{1,2}:\d\d$)(?:[\w.-]+@[\w-]+[\w.-]*(?::\S*)?|[\w.-]+:[\w./~-]+|\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?)")
_GLOB = lazy(r"[^*]*\*[^*]*|.*\[[^]]+\].*|.*\{[^}]*,[^}]*\}.*|.*\{\w+\.\.\w+\}.*", re.DOTALL)
_EMPHASIS = lazy(r"\*+[\w’-]+\*+[,.:!?]?")
_IDENTIFIER = lazy(r"[A-Za-z]\w*_\w*[A-Za-z0-9]", re.ASCII)

_GLOBBING = frozenset("*[{")
_PATHING = frozenset("./~")
_FILE_NAMES = frozenset("Makefile Dockerfile Vagrantfile Gemfile Procfile Jenkinsfile README LICENSE CHANGELOG".split())


def bare(text: str) -> str:
    """A word as it stands in a dictionary."""
    return text.strip(_STRIPPED).replace("'", "’").lower()


def is_path(name: str) -> bool:
    """Whether a word in command position is a path to a program, in the way of Unix or Windows."""
    return ("/" in name or "\\" in name) and len(name) <= MAX_LENGTH and _PATH_COMMAND.fullmatch(name) is not None


def may_be_path(name: str) -> bool:
    """False for alternatives, as in `and/or`."""
    return not _ALTERNATIVES.fullmatch(name)


def is_plain(text: str) -> bool:
    """Whether a word has letters only, of any script; hyphens, apostrophes and slashes may stand between them."""
    return text[:1].isalpha() and text[-1:].isalpha() and text.replace("-", "").replace("’", "").replace("/", "").isalpha()


def is_option(text: str) -> bool:
    """`-x`, `--name`, `+x`."""
    return text.startswith(("-", "+")) and _OPTION.match(text) is not None


def is_key_value(text: str) -> bool:
    """`key=value`."""
    return "=" in text and _KEY_VALUE.fullmatch(text) is not None


def is_glob(text: str) -> bool:
    """`*.c`, `[ab]`, `{a,b}`; no emphasis as in `*very*`."""
    return bool(_GLOBBING.intersection(text)) and _GLOB.fullmatch(text) is not None and not _EMPHASIS.fullmatch(text)


def is_address(text: str) -> bool:
    """`https://…`."""
    return "://" in text


def is_host(text: str) -> bool:
    """`user@host`, `host:path`, an address; no time of day."""
    return ("@" in text or ":" in text or text[:1].isdigit()) and _HOST.fullmatch(text) is not None


def is_identifier(text: str) -> bool:
    """A name with an underscore."""
    return "_" in text and _IDENTIFIER.fullmatch(text) is not None


def is_file_like(text: str) -> bool:
    """A path, or a name with an ending."""
    if text in _FILE_NAMES:
        return True
    return bool(_PATHING.intersection(text)) and _FILE_LIKE.fullmatch(text) is not None and may_be_path(text)
