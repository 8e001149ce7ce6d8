"""Whether a bundle's policy would let a test's call through, so that a test does not pass on a right the agent lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runloop.policy import Capabilities, Denial

Check = Callable[[Capabilities, Mapping[str, Any]], Denial | None]


def denial(caps: Capabilities, call: str, args: Mapping[str, Any]) -> Denial | None:
    """Return the refusal that the policy file alone gives; domains that depend on what is stored are left to the performer."""
    check = _CHECKS.get(call)
    return check(caps, args) if check else None


def _kb_search(caps: Capabilities, args: Mapping[str, Any]) -> Denial | None:
    domains = args.get("domains") or ([] if caps.kb_read.everything or caps.kb_read.names else ["*"])
    return next(filter(None, (caps.check_kb(domain) for domain in domains)), None)


_CHECKS: dict[str, Check] = {
    "model.complete": lambda caps, _: caps.check_model(),
    "model.embed": lambda caps, _: caps.check_model(),
    "kb.search": _kb_search,
    "kb.get": lambda caps, _: _kb_search(caps, {}),
    "kb.query": lambda caps, _: caps.check_kb("query"),
    "kb.propose": lambda caps, args: caps.check_propose(args["kind"]),
    "http.fetch": lambda caps, args: caps.check_net(args["url"]),
    "exec.run": lambda caps, args: caps.check_exec(args["argv"]),
    "mail.send": lambda caps, _: caps.check_mail(),
    "ask.person": lambda caps, _: caps.check_ask(),
    "secrets.handle": lambda caps, args: caps.check_secret(args["name"]),
    "spawn.agent": lambda caps, args: caps.check_spawn(f"agent:{args['name']}"),
    "spawn.opening": lambda caps, args: caps.check_spawn(f"opening:{args['name']}"),
}
