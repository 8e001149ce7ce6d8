"""What other programs call what `rlp` has under another name."""

from __future__ import annotations

from typing import Final

SYNONYMS: Final[dict[str, dict[str, str]]] = {
    "rlp": {
        **dict.fromkeys(("list", "ls", "ps", "jobs", "history"), "`rlp runs` lists runs, `rlp inbox` what waits for you."),
        **dict.fromkeys(("start", "daemon", "serve"), "`rlp up` starts the daemon, `rlp run OPENING` a run."),
        "stop": "`rlp down` stops the daemon, `rlp cancel RUN` a run.",
        "restart": "`rlp down`, then `rlp up`.",
        **dict.fromkeys(("kill", "abort"), "`rlp cancel RUN` stops a run."),
        **dict.fromkeys(("tail", "output"), "`rlp logs` shows what a run said, `rlp attach` follows it."),
        **dict.fromkeys(
            ("delete", "rm", "remove", "erase"), "`rlp forget` erases a person, `rlp kb forget` ends a fact, `rlp kb prune` archives runs."
        ),
        **dict.fromkeys(("new", "create", "scaffold"), "`rlp opening new` begins an opening, `rlp agent scaffold` an agent."),
        **dict.fromkeys(("contacts", "people", "notes", "mail", "calendar"), "`rlp kb import` takes them in, `rlp search` finds them."),
        **dict.fromkeys(("query", "sql"), "`rlp kb query STATEMENT`."),
        "stats": "`rlp kb stats` counts what is known, `rlp status` shows the daemon.",
        **dict.fromkeys(("top", "monitor", "ui", "tui"), "`agtop` shows what runs."),
        **dict.fromkeys(("reject", "refuse"), "`rlp deny ID` refuses what waits."),
        **dict.fromkeys(
            ("cost", "costs", "spend", "spent", "usage", "bill", "tokens"),
            "`rlp runs` and `rlp show RUN` have tokens and cost, `rlp ask` sums them: rlp ask what did I spend this week.",
        ),
        **dict.fromkeys(("revert", "rollback", "restore"), "`rlp undo RUN` puts back the files that it wrote, `rlp kb restore` a backup."),
        **dict.fromkeys(("retry", "rerun"), "`rlp fork RUN` goes on from a point of a run, `rlp replay RUN` compares without effects."),
        "plan": "`rlp opening graph` draws what would run, `rlp opening check` checks it.",
        **dict.fromkeys(
            ("cap", "caps", "policy"), "A line in an agent's `policy.caps` grants; `rlp agent check` reads it, `rlp agent show` tells."
        ),
        "trust": "`security.allowed_agent_signers` in the settings says whom you trust (docs/agents.md).",
        "prompt": "`rlp ask WORDS`.",
        "completion": "`rlp --install-completion [SHELL]`.",
    },
    "rlp agent": {
        **dict.fromkeys(("new", "create", "init", "generate"), "`rlp agent scaffold NAME` begins an agent."),
        "add": "`rlp agent install` adds one that is made, `rlp agent scaffold NAME` begins one.",
        **dict.fromkeys(("remove", "rm", "delete", "uninstall"), "Remove the directory that `rlp agent list` names."),
        "run": "`rlp agent test NAME` runs its cases, `rlp run OPENING` what uses it.",
        **dict.fromkeys(("lint", "validate", "verify"), "`rlp agent check NAME`."),
    },
    "rlp opening": {
        **dict.fromkeys(("create", "init", "scaffold", "add", "generate"), "`rlp opening new NAME` begins an opening."),
        **dict.fromkeys(("run", "start"), "`rlp run OPENING`."),
        **dict.fromkeys(("edit", "remove", "rm", "delete"), "An opening is a file: `rlp opening list` names it."),
        **dict.fromkeys(("lint", "validate", "verify"), "`rlp opening check`."),
        **dict.fromkeys(("draw", "show"), "`rlp opening graph`."),
        "format": "`rlp opening fmt`.",
    },
    "rlp kb": {
        "add": "`rlp kb import` reads files, `rlp kb remember` takes a fact.",
        **dict.fromkeys(("list", "ls"), "`rlp kb tables` lists the tables, `rlp kb facts` the facts, `rlp kb stats` counts."),
        **dict.fromkeys(("delete", "erase", "remove", "rm"), "`rlp kb forget` ends a fact, `rlp forget PERSON` erases a person."),
        **dict.fromkeys(("contacts", "notes", "mail", "calendar"), "`rlp kb import` takes them in, `rlp search` finds them."),
        "sql": "`rlp kb query STATEMENT`.",
    },
    "rlp config": {
        **dict.fromkeys(
            ("set", "edit", "unset"),
            "Edit the file that `rlp config path` names; `rlp --set KEY=VALUE VERB` is for one command.",
        ),
        "get": "`rlp config explain KEY`.",
        **dict.fromkeys(("list", "ls"), "`rlp config show --all`."),
    },
    "rlp opening new": dict.fromkeys(("--template", "--type"), "`--from TEMPLATE` names one."),
    "rlp cancel": {
        "--all": "`rlp pause --all` holds all runs at once, over restarts too; then cancel each, or `rlp resume` what may go on."
    },
    "rlp shell": {
        **dict.fromkeys(("on", "install", "init"), "`rlp shell enable`."),
        **dict.fromkeys(("off", "uninstall", "remove"), "`rlp shell disable`."),
    },
}
"""By the command that was called and the word that it does not know: what to say instead."""

TOO_MANY: Final[dict[str, str]] = {
    "rlp import": "`rlp kb import contacts FILE` (notes, mail, calendar, …) takes in what you have; this is for runs of `rlp export`.",
    "rlp runs": "`rlp show RUN` shows one run.",
    "rlp inbox": "`rlp approve ID` and `rlp deny ID` decide one.",
}
"""By the command that was called with a word too many: what takes it."""


def instead(path: str, word: str) -> str:
    """What to say to who called ``path`` (``rlp``, ``rlp agent``) with a word that it does not know; empty where that says nothing."""
    return SYNONYMS.get(path, {}).get(word, "")
