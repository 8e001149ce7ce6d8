"""What to change where a guest ended without a result: by the code, and for Python's own words by what they say."""

from __future__ import annotations

import re
from typing import Final

HINTS: Final = {
    "guest.memory": "raise limits.memory of the manifest, and sandbox.memory_mb of the settings where less; or keep less in memory",
    "guest.no_room": "lift `ulimit -v` and `-d`: an agent takes some GB of addresses, of which it uses few as memory; or free memory",
    "guest.timeout": "raise limits.wall of the manifest, and sandbox.wall_ms of the settings where less; or do less per node",
    "guest.fuel": "raise limits.fuel of the manifest, and sandbox.fuel of the settings where less; or do less per node",
    "guest.output": "raise limits.output of the manifest, and sandbox.output_bytes of the settings where less; or say less",
    "guest.hostcalls": "raise limits.hostcalls of the manifest, and sandbox.hostcalls of the settings where less; or ask for more at once; "
    "a loop that is to go on for days begins anew now and then (docs/guides/long-runs.md)",
    "guest.result": "return an object, list, string, number, true, false or null",
    "guest.request": "give the agent what its parameters ask for",
    "worker.crashed": "the attempt can be repeated",
}
"""By code alone."""
NO_STDIN: Final = "the agent read standard input (descriptor 0), which an agent does not have"
"""What is said where it was read by its number; ``sys.stdin`` is empty."""
_NO_PROCESS: Final = "fork|forkpty|system|posix_spawnp?|exec\\w+|kill|killpg|waitpid"
CALLS: Final = {
    "ask": "person",
    "checkpoint": "mark",
    "emit": "artifact, log, progress",
    "exec": "run",
    "files": "list, read, write",
    "http": "fetch, with method= for other requests than GET",
    "kb": "get, propose, query, search",
    "mail": "send",
    "model": "complete, embed",
    "secrets": "handle",
    "spawn": "agent, opening",
    "timer": "sleep",
}
"""What can be called, by the module of ``runloop_agent``."""
RECORDS: Final = {
    "Completion": "model: text, reasoning, tokens_in, tokens_out, usd, provider, model, finish_reason, cached",
    "Done": "spawn: outputs, run_id, status, code, reason",
    "Entity": "kb: domain, key, title, data, event_id",
    "Finished": "exec: exit_code, stdout, stderr, timed_out, truncated, signal",
    "Hit": "kb: domain, key, title, excerpt, event_id, path, line, score, data",
    "Listing": "files: entries, truncated",
    "Reply": "ask: answer, by",
    "Response": "http: status, headers, body, url, encoding, truncated, and json()",
    "Rows": "kb: columns, rows, truncated",
    "TextFile": "files: text, path, bytes, blake3, truncated, offset, size, and end",
}
"""What answers have, by their names, each with the module of ``runloop_agent`` that gives it."""
SIGNATURES: Final = {
    "complete": "model.complete(prompt, *, system, model, max_tokens, temperature, stop, context)",
    "fetch": "http.fetch(url, *, method, headers, body, timeout_ms, max_bytes)",
    "person": "ask.person(question, *, options, default, detail, timeout_ms)",
}
"""How calls are made whose names no function of an agent's own is likely to have; what stands behind the asterisk is given by name."""
_NO_HOME: Final = r"\nRuntimeError: Could not determine home directory"
_NO_USER: Final = r"\nOSError: No username set in the environment"
_SAID: Final = (
    (r"^the agent's code cannot be linked: ", "it may import only what docs/hostcalls.md lists, and a command exports _start"),
    (
        r"\n(?:FileNotFoundError: \[Errno 44\]|OSError: \[Errno 69\]) ",
        (
            "an agent has no files but those of its bundle, to read: runloop_agent.files reads and writes what policy.caps grants "
            "(fs, fs_rw), emit.artifact keeps a document"
        ),
    ),
    (
        r"\nAttributeError: module 'hashlib' has no attribute 'scrypt'|\nImportError: cannot import name 'scrypt' from 'hashlib'",
        "scrypt is OpenSSL's, which is not in the guest: hashlib.pbkdf2_hmac is there",
    ),
    (
        r"\nValueError: unsupported hash type ",
        (
            "OpenSSL is not in the guest: its hashes are those of hashlib.algorithms_guaranteed, under the names that stand there; "
            "for another place a pure-Python package in the bundle, beside agent.py"
        ),
    ),
    (
        r"\nRuntimeError: nothing can wake what is awaited",
        (
            "an Event that is never set, a Queue that stays empty, a Future without a result, or a TaskGroup that waits for one of them: "
            "bound the wait with asyncio.timeout, or let a task end it"
        ),
    ),
    (
        r"\nAttributeError: module 'signal' has no attribute ",
        "an agent gets no signals: asyncio.timeout bounds what is awaited, timeout_ms of the node and limits.wall of the manifest the rest",
    ),
    (
        r"\nRuntimeError: nobody can end this wait",
        (
            "in one thread look before you wait (Queue.get_nowait, Event.is_set), or wait with a timeout; tasks of asyncio take turns, "
            "and nodes of an opening work side by side"
        ),
    ),
    (
        r"\nModuleNotFoundError: No module named '[\w.]+': this part of the standard library is not in the Python guest",
        "where a package imports it and does without, a file of that name beside agent.py stands in for it, such as an empty bz2.py",
    ),
    (
        r"\nSystemExit(?:: |$)",
        (
            "an agent ends with the result that it returns, or with what it raises: leave out sys.exit and exit(); "
            "click's main(…, standalone_mode=False) and argparse's exit_on_error=False do not call it"
        ),
    ),
    (
        r"\nRuntimeError: can't start new thread$",
        "an agent runs in one thread; nodes of an opening work side by side, and runloop_agent.spawn.opening starts one",
    ),
    (rf"\nAttributeError: module 'os' has no attribute '(?:{_NO_PROCESS})'", "an agent cannot start processes; use runloop_agent.exec"),
    (
        f"^{re.escape(NO_STDIN)}",
        "give the agent what it needs under `with` or over an edge: a parameter of its function; runloop_agent.ask asks a person",
    ),
    (r"\nEOFError(?:: EOF when reading a line)?$", "nobody types into an agent; use runloop_agent.ask.person"),
    *(
        (rf"\nAttributeError: module 'runloop_agent\.{module}' has no attribute ", f"runloop_agent.{module} has {calls}: docs/effects.md")
        for module, calls in CALLS.items()
    ),
    *((rf"\nTypeError: {name}\(\) (?:takes 1 p|got an unex)", f"it is called as {call}") for name, call in SIGNATURES.items()),
    (_NO_HOME, "an agent has no environment, and so no home; paths of runloop_agent.files may begin with ~/"),
    (
        rf'  File "<frozen os>", line \d+, in (?:__getitem__|__delitem__)\nKeyError: |{_NO_USER}',
        "an agent has no environment: give values under `with`, and secrets by runloop_agent.secrets",
    ),
    (
        r"\nzoneinfo\._common\.ZoneInfoNotFoundError: ",
        "a zone has a name such as Europe/Vienna; zoneinfo.available_timezones() has them all",
    ),
    (
        r"^the agent crashed: call stack exhausted|\nRecursionError: Stack overflow ",
        "walk data that is nested thousands deep with a list of what is still to be done, in place of a call for each level",
    ),
    (
        r"^the agent crashed: unknown import: `wasi:",
        "an agent has no files, sockets or HTTP of WASI: what it needs outside it asks of the functions of its world (docs/hostcalls.md)",
    ),
    (
        r"^the agent crashed: BUG: deferred host scope",
        "wasmtime 50 cannot wait for several things at once in a component: have it wait for one timer after the other",
    ),
    (
        r"`unreachable` instruction executed$",
        "a guest crashes so where it waits for a lock that is held, which in one thread nobody can release, and at an assertion of its own",
    ),
)
"""By what the message says, of a traceback its last exception or what caused it; what was handled before says nothing."""
_RESULT: Final = "the result is larger"
_FORMS: Final = (
    (r"\bDecimal has no JSON form", "return str() of it, which keeps every digit"),
    (r"\b(?:date|time|datetime) has no JSON form", "return .isoformat() of it"),
    (r"\btimedelta has no JSON form", "return .total_seconds() of it"),
    (r"\b(?:set|frozenset) has no JSON form", "return sorted() or list() of it"),
    (r"\b(?:bytes|bytearray) has no JSON form", "return .decode() of it, or base64.b64encode(…).decode() where it is no text"),
    (
        r"\b(?:generator|map|filter|zip|range|enumerate|reversed|dict_keys|dict_values|dict_items|deque) has no JSON form",
        "return list() of it",
    ),
    (r"\bkeys must be ", "make the keys texts: {str(key): value for key, value in …}"),
    (r"\bOut of range float values ", "JSON has no NaN and no infinity: return None, or a text"),
    (r"standard output", "write one JSON document to standard output, and everything else to standard error, which is logged"),
    (r" has no JSON form", "return str() of it, .value of an enum, or a dict, list, text or number that you make of it"),
)
"""By what the message says of a result that JSON cannot carry."""
_FRAME: Final = re.compile(r'^(?: *\|)? +File "((?!/python/)[^<"][^"]*)", line (\d+).*\n(?:(?: *\| )?    (.*))?', re.MULTILINE)
_MOST: Final = 80
_WORDS: Final = re.compile("|".join(f"({said})" for said, _ in _SAID))
_MISUSED: Final = re.compile(rf"\n(?:Attribute|Type)Error: .*?\b(?<!attribute ')({'|'.join(RECORDS)})\b")
_HANDLED: Final = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
_CAUSED: Final = "\n\nThe above exception was the direct cause of the following exception:\n\n"


def hint_of(code: str, message: str) -> str:
    """What the author can do about it; empty where the message says all there is."""
    if code == "guest.output" and message.startswith(_RESULT):
        return "give back less; emit.artifact keeps a document, and files.write a file, of at most 4 MiB each"
    if code == "guest.result":
        return next((hint for said, hint in _FORMS if re.search(said, message)), HINTS[code])
    if code in {"guest.exception", "guest.trap", "guest.request"}:
        for exception in reversed(message.rstrip().rpartition(_HANDLED)[2].split(_CAUSED)):
            if found := _WORDS.search(exception):
                return _SAID[(found.lastindex or 1) - 1][1]
    return HINTS.get(code, "")


def place_of(code: str, message: str) -> str:
    """Where in the agent's own files an exception came from, the innermost line; empty where the message does not tell."""
    frames = _FRAME.findall(message) if code == "guest.exception" else []
    if not frames:
        return ""
    file, line, source = frames[-1]
    shown = source if len(source) <= _MOST else f"{source[:_MOST]}…"
    return f"look at {file}, line {line}" + (f": {shown}" if shown else "") + _what_it_has(message)


def _what_it_has(message: str) -> str:
    """Of an answer that was taken for something else, what it has."""
    if not (misused := _MISUSED.match(message, message.rstrip().rfind("\n"))):
        return ""
    module, _, has = RECORDS[misused[1]].partition(": ")
    return f"; a {misused[1]} of runloop_agent.{module} has {has}"
