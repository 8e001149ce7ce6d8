"""What `scripts/demo-durable` shows; the servers that it needs are those of the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "crash"))

from home import Home  # noqa: E402 - tests are no package

RLP = [sys.executable, "-P", "-m", "runloop"]
MODEL_MS = 1500
KILL_IN_CALL = 3
PATIENCE_S = 60
AGENTS = {
    "thinker": (
        "model = true",
        "def run():\n    first = model.complete('plan the letter').text\n    return {'out': model.complete(f'sharpen {first}').text}\n",
    ),
    "drafter": (
        "model = true",
        "def run(plan=''):\n    first = model.complete(f'draft {plan}').text\n    return {'out': model.complete(f'polish {first}').text}\n",
    ),
    "poster": (
        "mail = true",
        (
            "def run(text=''):\n    sent = mail.send([{'email': 'you@there.example'}], subject='The letter', text=text)\n"
            "    return {'out': sent.status}\n"
        ),
    ),
}
OPENING = """version: 0
name: letter
nodes:
  - {id: think, use: "agent:thinker"}
  - {id: draft, use: "agent:drafter"}
  - {id: post, use: "agent:poster"}
edges:
  - {from: think.out, to: draft.plan}
  - {from: draft.out, to: post.text}
policy: {approve_in_advance: [mail.smtp]}
"""


def heading(text: str) -> None:
    """One step, for the eye."""
    sys.stdout.write(f"\n== {text}\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Show:
    """A person at a terminal with a home that has a slow model and a mail server."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Type a command and let it run; its records come line by line."""
        say("$ rlp " + " ".join(arguments))
        return subprocess.Popen(
            [*RLP, *arguments], env=self.home.env, cwd=self.home.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def rlp(self, *arguments: str) -> str:
        """Type a command and wait for it; fails with what it said."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        if process.returncode:
            raise SystemExit(f"rlp {arguments[0]} ended with {process.returncode}:\n{err or out}")
        return out

    def quietly(self, *arguments: str) -> Any:
        """Ask something that the demonstration itself needs to know."""
        done = subprocess.run([*RLP, *arguments], env=self.home.env, cwd=self.home.root, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def until_asked(self, count: int) -> None:
        """Return when the model server has that many requests."""
        ends = time.monotonic() + PATIENCE_S
        while len(self.home.servers.prompts()) < count:
            if time.monotonic() > ends:
                raise SystemExit("the model is not asked")
            time.sleep(0.02)


def show_records(text: str) -> list[dict[str, Any]]:
    """Print each record's line for people."""
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    for record in records:
        say(f"  {record['seq']:>3}  {record['message']}")
    return records


def demonstrate(show: Show) -> bool:
    """The whole demonstration; whether everything was as promised."""
    home = show.home
    heading("a daemon, a model that takes its time, a mail server")
    show.rlp("up", "--wait")
    pid = show.quietly("status", "--json")["pid"]  # asked later, on a busy machine, the model would have answered before the kill
    run = show.start("run", "letter", "--yes", "--json")
    show.until_asked(KILL_IN_CALL)

    heading(f"kill -9, while the model works on its answer number {KILL_IN_CALL}")
    say(f"$ kill -9 {pid}")
    os.kill(pid, signal.SIGKILL)
    assert run.stderr is not None
    say(f"  (rlp run: {json.loads(run.stderr.readline())['warning']['message']})")
    asked_before = home.servers.prompts()
    asked, mails = len(asked_before), len(home.servers.mails)
    say(f"the model server was asked {asked} times, {asked - 1} answers are in the ledger; mails: {mails}")

    heading("the daemon again: it takes the run up by itself, and rlp run goes on")
    show.rlp("up", "--wait")
    records = show_records(run.communicate(timeout=PATIENCE_S)[0])
    if run.returncode:  # on a slow machine it does not wait for so long
        records += show_records(show.rlp("attach", "last", "--from", str(records[-1]["seq"] + 1), "--json"))
    asked, mails = home.servers.prompts(), home.servers.mails
    again = [prompt for number, prompt in enumerate(asked) if prompt in asked[:number]]

    heading("what it cost")
    for prompt in dict.fromkeys(asked):
        say(f"  asked {asked.count(prompt)} time{'s' if asked.count(prompt) > 1 else ' '}: {prompt}")
    in_flight = again == [asked_before[-1]]
    say(f"asked twice: {len(again)}, {'only the call that was in flight' if in_flight else 'NOT as it should be: ' + ', '.join(again)}")
    say(f"mails on the mail server: {len(mails)}")

    heading("replayed from the record, with nothing that could act")
    report = json.loads(show.rlp("replay", "last", "--json"))
    say("identical" if report["matches"] else f"DIFFERS: {report}")
    say(f"mails on the mail server: {len(home.servers.mails)}; the model was asked {len(home.servers.prompts())} times")
    untouched = (len(home.servers.mails), home.servers.prompts()) == (1, asked)
    ended = records[-1]["meta"].get("status")
    show.rlp("down")
    return in_flight and untouched and bool(report["matches"]) and (ended, len(mails)) == ("succeeded", 1)


def main() -> int:
    """The exit code: 0 when it was all as promised."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with tempfile.TemporaryDirectory(prefix="rl-") as directory:
        home = Home(Path(directory), cache, delay_ms=MODEL_MS)
        try:
            for name, (caps, code) in AGENTS.items():
                home.agent(name, code, caps)
            home.opening("letter", OPENING)
            held = demonstrate(Show(home))
        finally:
            subprocess.run([*RLP, "down"], env=home.env, cwd=home.root, capture_output=True, check=False)
            home.close()
    heading("done: nothing was paid for or sent twice" if held else "this is not how it should have been")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
