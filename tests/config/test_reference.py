"""The layers of settings against a second implementation: what docs/configuration.md says, asked of every source and of every probe."""

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runloop.config import load

ACTIONS = ("mail.outbox", "mail.smtp", "files.write", "exec.run")
PROBES = [(host, port) for host in "ab" for port in "123"]
HOSTS = ["a", "b", *(f"{host}:{port}" for host, port in PROBES if port != "3")]
"""Nobody names the third port: an entry without a port covers more than all that have one."""
DEFAULTS = {
    "sandbox.workers": 0,
    "sandbox.memory_mb": 256,
    "models.default": "none",
    "models.broker.budgets.hard_cap_usd": None,
    "router.fastpath_shell": True,
    "security.confirm_external_actions": True,
    "security.allow_unsigned_agents": True,
    "security.approve_in_advance": None,
    "models.broker.providers": (),
    "policy.memory_mb": None,
    "policy.max_usd": None,
    "policy.confirm_external_actions": False,
    "policy.allow_unsigned_agents": True,
    "policy.allow_exec": True,
    "policy.allowed_hosts": None,
    "policy.approve_in_advance": None,
    "policy.deny_actions": (),
}
HELD_BY = {
    "sandbox.memory_mb": "policy.memory_mb",
    "models.broker.budgets.hard_cap_usd": "policy.max_usd",
    "security.confirm_external_actions": "policy.confirm_external_actions",
    "security.allow_unsigned_agents": "policy.allow_unsigned_agents",
    "security.approve_in_advance": "policy.approve_in_advance",
}
OLD = {"router.fastpath_shell": "router.allow_shell_fastpath"}
SHORT = {
    "models.default": "RUNLOOP_MODELS_DEFAULT",
    "security.confirm_external_actions": "RUNLOOP_SECURITY_CONFIRM_EXTERNAL_ACTIONS",
    "router.fastpath_shell": "RUNLOOP_ROUTER_SHELL_FASTPATH",
}

# What a person may write for a value, beside the value itself; None is `null`.
yes_no = st.sampled_from([(True, True), (True, "yes"), (True, "ON"), (True, 1), (False, False), (False, "no"), (False, "Off"), (False, 0)])
megabytes = st.sampled_from([(8, 8), (64, "64"), (64, "+64"), (1024, "1_024"), (65536, 65536)])
dollars = st.sampled_from([(0.5, 0.5), (2.0, "2"), (7.25, "7.25"), (None, None)])


def listed(items, *, unset=True):
    lists = st.lists(st.sampled_from(items), unique=True, max_size=3).map(lambda found: (tuple(found), found))
    return lists | st.just((None, None)) if unset else lists


def provider(name, port):
    return {"id": name, "kind": "http_ollama", "base_url": f"http://localhost:{port}"}


providers = st.lists(st.builds(provider, st.sampled_from("xyz"), st.integers(1, 9)), unique_by=lambda each: each["id"], max_size=2)
VALUES = {
    "sandbox.workers": st.sampled_from([(1, 1), (2, "2"), (12, " 12 ")]),
    "sandbox.memory_mb": megabytes,
    "models.default": st.sampled_from([("1", "1"), ("yes", "yes"), ("m:x", "m:x")]),
    "models.broker.budgets.hard_cap_usd": dollars,
    "router.fastpath_shell": yes_no,
    "security.confirm_external_actions": yes_no,
    "security.allow_unsigned_agents": yes_no,
    "security.approve_in_advance": listed(ACTIONS),
    "models.broker.providers": providers.map(lambda found: (tuple(found), found)),
    "policy.memory_mb": megabytes | st.just((None, None)),
    "policy.max_usd": dollars,
    "policy.confirm_external_actions": yes_no,
    "policy.allow_unsigned_agents": yes_no,
    "policy.allow_exec": yes_no,
    "policy.allowed_hosts": listed(HOSTS),
    "policy.approve_in_advance": listed(ACTIONS),
    "policy.deny_actions": listed(ACTIONS, unset=False),
}
in_file = st.fixed_dictionaries({}, optional=VALUES)
said = st.fixed_dictionaries({}, optional={path: value for path, value in VALUES.items() if path not in OLD})
olds = st.fixed_dictionaries({}, optional={path: VALUES[path] for path in OLD})
FILE = st.none() | st.tuples(in_file, olds)
shorts = st.fixed_dictionaries({}, optional={path: VALUES[path] for path in SHORT})


def nested(values):
    tree = {}
    for path, value in values.items():
        *sections, name = path.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return tree


def written(new, old):
    return nested({path: text for path, (_, text) in new.items()} | {OLD[path]: text for path, (_, text) in old.items()})


def as_text(value, *, commas):
    """A value as a variable or a flag gives it."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return ",".join(value) if commas and value and all(isinstance(each, str) for each in value) else json.dumps(value)
    return str(value)


def meant(*sources):
    """What one layer says: of several ways to say it in one place, the last counts."""
    return {path: value for source in sources for path, (value, _) in source.items()}


def variables(section, named, short, commas):
    """An environment: short names, one variable for whole sections, one for each key."""
    whole = {
        f"RUNLOOP__{name.upper()}": json.dumps(tree) for name, tree in nested({path: text for path, (_, text) in section.items()}).items()
    }
    each = {f"RUNLOOP__{path.upper().replace('.', '__')}": as_text(text, commas=commas) for path, (_, text) in named.items()}
    return {SHORT[path]: as_text(text, commas=commas) for path, (_, text) in short.items()} | whole | each


def resolved(layers):
    """The value of every key by the rules of the page; ``layers`` from the lowest to the highest."""
    found = {}
    for path, default in DEFAULTS.items():
        values = [layer[path] for layer in layers if path in layer]
        if path == "models.broker.providers":
            found[path] = {each["id"]: each for value in values for each in value}
        elif path.startswith("policy."):
            found[path] = limit(path, values)
        else:
            found[path] = values[-1] if values else default
    for path, by in HELD_BY.items():
        found[path] = limit(by, [found[path], found[by]])
    return found


def limit(path, values):
    """What all of the values allow together."""
    allowed = [value for value in values if value is not None]
    match path.removeprefix("policy."):
        case "memory_mb" | "max_usd":
            return min(allowed, default=None)
        case "confirm_external_actions":
            return any(values)
        case "allow_unsigned_agents" | "allow_exec":
            return all(values)
        case "deny_actions":
            return {action for value in values for action in value}
        case "approve_in_advance":
            return {action for action in ACTIONS if all(action in value for value in allowed)} if allowed else None
        case "allowed_hosts":
            return {probe for probe in PROBES if all(reaches(value, probe) for value in allowed)} if allowed else None
    raise AssertionError(path)


def reaches(value, probe):
    return value is None or probe[0] in value or ":".join(probe) in value


def seen(path, value):
    """A value of the settings in the form of the reference."""
    if value is None:
        return None
    if path == "policy.allowed_hosts":
        return {probe for probe in PROBES if reaches(value, probe)}
    if path == "models.broker.providers":
        return {each["id"]: {name: each[name] for name in ("id", "kind", "base_url")} for each in value}
    return set(value) if isinstance(value, tuple) else value


def told(layers):
    """The keys of which some layer asks for more than it gets."""
    found = set()
    for path in DEFAULTS:
        values = [layer[path] for layer in layers if path in layer]
        if path.startswith("policy."):
            steps = [limit(path, values[: count + 1]) for count in range(len(values))]
            if path == "policy.deny_actions":  # who adds to it need not repeat it
                widens = any(set(asked) < before for before, asked in zip(steps, values[1:], strict=False))
            else:
                widens = any(limit(path, [asked]) != after for asked, after in zip(values, steps, strict=True))
        else:
            widens = path in HELD_BY and bool(values) and resolved(layers)[path] != limit(HELD_BY[path], values[-1:])
        found |= {path} if widens else set()
    return found


@given(
    system=FILE,
    xdg=FILE,
    user=FILE,
    only=FILE,
    section=said,
    named=said,
    short=shorts,
    flags=said,
    flag_text=st.booleans(),
    commas=st.booleans(),
)
def test_every_value_is_what_the_page_says_of_its_layers(system, xdg, user, only, section, named, short, flags, flag_text, commas):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        files = {"etc/config.yaml": system, "home/.config/runloop/config.yaml": xdg, "home/.runloop/config.yaml": user, "only.yaml": only}
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                (root / name).write_text(json.dumps(written(*content)), encoding="utf-8")
        env = {"HOME": str(root / "home"), **variables(section, named, short, commas)}
        if only is not None:
            env["RUNLOOP_CONFIG"] = str(root / "only.yaml")
        given_flags = {path: as_text(text, commas=commas) if flag_text else text for path, (_, text) in flags.items()}
        settings = load(given_flags, env=env, cwd=root, system_dir=root / "etc")

    from_files = [meant(old, new) for new, old in (each for each in (system, xdg, user) if each is not None)]
    if only is not None:
        limits = {} if system is None else {path: value for path, value in meant(system[0]).items() if path.startswith("policy.")}
        from_files = [limits, meant(only[1], only[0])]
    layers = [*from_files, meant(short, section, named), meant(flags)]
    expected = resolved(layers)
    assert {path: seen(path, settings.get(path)) for path in DEFAULTS} == expected
    limited = {warning.message.split(":")[0] for warning in settings.warnings if warning.code == "config.limited"}
    assert limited == told(layers)
