"""Which commands a policy file may not call read-only: those that are known to do more than read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.patterns import lazy
from runloop.policy.commands import is_destructive, program

if TYPE_CHECKING:
    from runloop.policy.commands import Argv

_SENDS = lazy(
    r"curl|wget2?|aria2c|https?|xh|lftp|t?ftp|sftp|scp|rsync|rclone|mosh|telnet|nc|ncat|netcat|socat|openssl"
    r"|dig|delv|drill|host|nslookup|resolvectl|getent|whois|ping6?|traceroute6?|tracepath|mtr|nmap|mailx?|mutt|msmtp|sendmail|swaks"
    r"|aws|az|gcloud|gsutil|gh|glab|xdg-open|open"
)
_WRITES = lazy(
    r"tee|cp|ln|link|install|mkdir|mkfifo|mknod|mktemp|touch|split|csplit|uniq|patch|(?:bsd)?tar|cpio|pax|ar|zip|unzip|7zr?|gzip|gunzip"
    r"|bzip2|bunzip2|xz|unxz|zstd|unzstd|crontab|at|batch|setfacl|chgrp|chattr|passwd"
    r"|xxd|(?:dos|mac)2unix|unix2(?:dos|mac)|sponge|pdfto[a-z]+|convert|magick|ffmpeg"
)
_OBEYS = lazy(
    r"sed|ed|ex|n?vim?|nano|emacs|less|more|man|sqlite3|psql|mysql|g?make|ninja|cmake|npm|npx|pnpm|yarn|cargo|go|gradle|mvn|tmux|screen|gdb"
    r"|busctl|dbus-send|gdbus|qdbus|gsettings|dconf|systemd-run|xdotool"
)
_SHOWS = lazy(r"ps")
_PROGRAMMED = lazy(r"jq|gojq|jaq|yq")
_OF_CONTAINERS = lazy(r"ps|images|logs|inspect|version|info|top|stats|port|diff|history")
_READING_WORDS = {
    "git": lazy(
        r"status|log|diff|show|blame|annotate|shortlog|describe|grep|whatchanged|cherry|count-objects|name-rev|merge-base|var|version"
        r"|rev-(?:list|parse)|ls-(?:files|tree)|cat-file|for-each-ref|show-(?:ref|branch)|diff-(?:files|index|tree)|check-ignore|range-diff"
    ),
    "docker": _OF_CONTAINERS,
    "podman": _OF_CONTAINERS,
    "kubectl": lazy(r"get|describe|logs|top|version|explain|api-resources"),
    "systemctl": lazy(r"status|show|cat|is-(?:active|enabled|failed|system-running)|list-.+|get-default"),
    "apt": lazy(r"list|show|search|policy|depends|rdepends"),
    "pip": lazy(r"list|show|freeze|check|inspect"),
    "brew": lazy(r"list|info|deps|leaves|outdated"),
    "terraform": lazy(r"version"),  # all else starts the providers that lie in its directory
}
"""Of programs that do many things, the first words with which they only read."""


def unasked_problem(argv: Argv) -> str | None:
    """Why a command does more than read; None where nothing of the kind is known.

    A wall against mistakes and plain abuse, no proof: for a program that is not known here the author of the policy answers.
    """
    name = program(argv)
    if _SENDS.fullmatch(name):
        return f"{name} sends what it is given to other machines"
    if _WRITES.fullmatch(name):
        return f"{name} writes files"
    if _OBEYS.fullmatch(name):
        return f"{name} does whatever it is told to"
    if _SHOWS.fullmatch(name):  # with `e` among its operands, which need no hyphen
        return f"{name} shows the environment of other programs, with the keys in it"
    if _PROGRAMMED.fullmatch(name) and all(word.startswith("-") for word in argv[1:]):  # a filter may import or load any file
        return f"{name} runs the filter that it is given; name the filter as one of the words"
    words = _READING_WORDS.get(name)
    if words is not None and not (len(argv) > 1 and words.fullmatch(argv[1])):
        return f"{' '.join(argv[:2])} may do more than read"
    return f"{name} destroys or overwrites" if is_destructive(argv) else None
