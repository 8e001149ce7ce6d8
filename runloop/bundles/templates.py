"""The files that ``rlp agent scaffold`` writes. ``@NAME@``, ``@DESCRIPTION@`` and ``@GRANTS@`` are filled in."""

from __future__ import annotations

MANIFEST_TOML = """\
[agent]
name = "@NAME@"
version = "0.1.0"
kind = "python"
description = @DESCRIPTION@

# What comes in over edges, and what goes out. A port is a parameter of run(), and a key of what it returns.
[ports.in]
topic = { type = "string", description = "what to look for" }

[ports.out]
out = { type = "object", description = "text, mode and sources" }

# What `with:` of an opening's node may hold; a port of the same name wins over it.
[schemas.with]
type = "object"
additionalProperties = false

[schemas.with.properties.topic]
type = "string"
minLength = 1

[schemas.with.properties.sentences]
type = "integer"
minimum = 1
maximum = 20

# The host caps these further; what is left out takes the host's own limit.
[limits]
memory = "128 MiB"
wall = "20 s"
hostcalls = 50
tokens = 4000
"""

POLICY_CAPS = """\
# What this agent may ask for. Everything that is not written here is denied; docs/agents.md explains each key.
[capabilities]
@GRANTS@
# fs      = ["~/notes"]                          # read below these directories; fs_rw also writes
# net     = ["api.example.org:443"]              # fetch over https; { hosts = [...], allow_http = true } for http
# exec    = { commands = [["git", "log"]] }      # run commands that begin with exactly these words
# ask     = true                                 # ask the person a question
# mail    = true                                 # hand over a message; sending it is approved by a person
# spawn   = ["agent:writer"]                     # start other agents or openings
# secrets = ["runloop/@NAME@/token"]             # use a secret by handle; its value never reaches the agent
# time    = true                                 # wait: timer.sleep, time.sleep, asyncio.sleep
"""

AGENT_PY = '''\
"""@DOCSTRING@"""

from runloop_agent import CallError, agent, emit, kb, model


@agent
def run(topic: str, sentences: int = 3) -> dict:
    """Sum up what the knowledge base says about ``topic``: with a model where there is one, else as a list."""
    hits = kb.search(topic, limit=5)
    if not hits:
        return {"out": {"text": f"Nothing is known about {topic}.", "mode": "empty", "sources": []}}
    sources = [{"title": hit.title, "event_id": hit.event_id} for hit in hits]
    try:
        prompt = f"Sum up what these notes say about {topic} in {sentences} sentences. Use nothing but the notes."
        # Prompt and answer share models.broker.budgets.per_request_tokens_cap, 2,000 unless it is set: short passages and answers.
        notes = [f"{hit.title}: {hit.excerpt}"[:360] for hit in hits]
        text, mode = model.complete(prompt, context=notes, max_tokens=400).text, "model"
    except CallError as error:
        if error.code != "unavailable":
            raise
        emit.log(f"no model: {error.message}")
        text, mode = "\\n".join(f"- {hit.title}: {hit.excerpt}" for hit in hits), "list"
    return {"out": {"text": text, "mode": mode, "sources": sources}}
'''

AGENT_WITHOUT_MODEL_PY = '''\
"""@DOCSTRING@"""

from runloop_agent import agent, kb


@agent
def run(topic: str, sentences: int = 3) -> dict:
    """List what the knowledge base says about ``topic``, a sentence of each note."""
    hits = kb.search(topic, limit=sentences)
    if not hits:
        return {"out": {"text": f"Nothing is known about {topic}.", "mode": "empty", "sources": []}}
    sources = [{"title": hit.title, "event_id": hit.event_id} for hit in hits]
    return {"out": {"text": "\\n".join(f"- {hit.title}: {hit.excerpt}" for hit in hits), "mode": "list", "sources": sources}}
'''

README_MD = """\
# @NAME@

@DESCRIPTION_TEXT@

| port | | |
|---|---|---|
| in | `topic` | what to look for (also as `with: {topic: ...}`) |
| out | `out` | `text`, `mode` (`model`, `list` or `empty`), `sources` |

```
rlp agent test @NAME@     # run tests/cases.yaml in the sandbox
rlp agent build @NAME@    # after a change: check it, and renew the digests in manifest.toml
```

`agent.py` is the agent, `policy.caps` what it may ask for, `manifest.toml` what it takes and gives.
"""

CASES_HEAD_YAML = """\
# Each case runs the agent in the sandbox; `answers` are what the host says to its calls.
cases:
"""

CASES_OF_MODEL_YAML = """\
  - name: the model sums up what was found
    with: {topic: tea, sentences: 1}
    answers:
      - call: kb.search
        args: {query: tea}
        answer: {hits: [{domain: notes, key: tea.md, title: Tea, excerpt: Steep for three minutes., event_id: 7}]}
      - call: model.complete
        answer: {text: Tea steeps for three minutes.}
    expect:
      out: {text: Tea steeps for three minutes., mode: model, sources: [{title: Tea, event_id: 7}]}

  - name: without a model the notes are listed
    inputs: {topic: [tea]}
    answers:
      - call: kb.search
        answer: {hits: [{domain: notes, key: tea.md, title: Tea, excerpt: Steep for three minutes., event_id: 7}]}
      - call: model.complete
        error: {code: unavailable, message: no model is configured}
    expect:
      out: {text: "- Tea: Steep for three minutes.", mode: list, sources: [{title: Tea, event_id: 7}]}

"""

CASES_WITHOUT_MODEL_YAML = """\
  - name: the notes are listed
    inputs: {topic: [tea]}
    answers:
      - call: kb.search
        args: {query: tea, limit: 3}
        answer: {hits: [{domain: notes, key: tea.md, title: Tea, excerpt: Steep for three minutes., event_id: 7}]}
    expect:
      out: {text: "- Tea: Steep for three minutes.", mode: list, sources: [{title: Tea, event_id: 7}]}

"""

CASES_YAML = """\
  - name: a topic that nobody wrote about is said to be unknown
    with: {topic: dragons}
    answers:
      - {call: kb.search, answer: {hits: []}}
    expect:
      out: {text: Nothing is known about dragons., mode: empty, sources: []}

  - name: the topic is needed
    expect_error: {code: guest.request, contains: topic}
"""

OPENING_YAML = """\
version: 0
name: @NAME@
goals:
  - @DESCRIPTION@
params:
  topic: tea
policy:
  budget_tokens: 4000
  timeout_ms: 60000
  confirm_external: true
nodes:
  - id: @NAME@_node
    use: agent:@NAME@
    timeout_ms: 30000
    with:
      topic: "{{params.topic}}"
edges: []
success:
  any_of:
    - exists(@NAME@_node.out)
artifacts:
  save:
    - @NAME@_node.out
"""
