"""What a shell has built in, by shell, for callers that do not say: the manuals of bash 5.2, zsh 5.9, fish 3.7 and POSIX."""

from __future__ import annotations

_POSIX_BUILTINS = frozenset(
    """
. : [ alias bg break cd command continue echo eval exec exit export false fc fg getopts hash jobs kill local newgrp printf pwd read
readonly return set shift test times trap true type ulimit umask unalias unset wait
""".split()
)
_BASH_BUILTINS = frozenset(
    """
bind builtin caller compgen complete compopt declare dirs disown enable help history let logout mapfile popd pushd readarray shopt
source suspend typeset
""".split()
)
_ZSH_BUILTINS = frozenset(
    """
autoload bindkey builtin bye chdir declare dirs disable disown echotc emulate enable float functions history integer let limit log
logout noglob popd print private pushd pushln r rehash sched setopt source suspend typeset unfunction unhash unlimit unsetopt vared
whence where which zcompile zle zmodload zparseopts zstyle
""".split()
)
_FISH_BUILTINS = frozenset(
    """
. : [ abbr alias argparse bg bind block break breakpoint builtin case cd cdh command commandline complete contains continue count
dirh dirs disown echo emit eval exec exit export false fg fish_add_path fish_config funced funcsave functions help history isatty
jobs math nextd open path popd prevd printf psub pushd pwd random read realpath return set set_color source status string suspend
test time trap true type ulimit umask vared wait
""".split()
)
_POSIX_KEYWORDS = frozenset("! case do done elif else esac fi for if in then until while { }".split())
_BASH_KEYWORDS = _POSIX_KEYWORDS | frozenset("[[ ]] coproc function select time".split())
_ZSH_KEYWORDS = _BASH_KEYWORDS | frozenset("end foreach nocorrect repeat".split())
_FISH_KEYWORDS = frozenset("! and begin break case continue else end for function if in not or return switch time while".split())

_BUILTINS = {"bash": _POSIX_BUILTINS | _BASH_BUILTINS, "zsh": _POSIX_BUILTINS | _ZSH_BUILTINS, "fish": _FISH_BUILTINS}
_KEYWORDS = {"bash": _BASH_KEYWORDS, "zsh": _ZSH_KEYWORDS, "fish": _FISH_KEYWORDS}


def builtins(shell: str) -> frozenset[str]:
    """The builtins of a shell; of POSIX for one that is not known."""
    return _BUILTINS.get(shell, _POSIX_BUILTINS)


def keywords(shell: str) -> frozenset[str]:
    """The reserved words of a shell; of POSIX for one that is not known."""
    return _KEYWORDS.get(shell, _POSIX_KEYWORDS)
