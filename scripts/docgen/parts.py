"""The generated parts of the documentation, by name."""

from __future__ import annotations

from collections.abc import Callable

from docgen import cli, config, error_table, hostcalls

PARTS: dict[str, Callable[[], str]] = {
    "cli-verbs": cli.verbs,
    "cli-reference": cli.reference,
    "exit-codes": cli.exit_codes,
    "config-keys": config.keys,
    "config-limits": config.limits,
    "config-without-effect": config.without_effect,
    "config-variables": config.variables,
    "errors": error_table.table,
    "hostcalls-world": hostcalls.functions,
    "hostcalls-commands": hostcalls.commands,
}
