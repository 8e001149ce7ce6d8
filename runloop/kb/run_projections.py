"""What run records change in the derived tables: runs, their nodes, their crossings, their approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.events import canonical, is_blob_ref, parse
from runloop.kb.derived import artifact_key, as_json, fold, history, index, link, put_artifact, put_node, see_node

if TYPE_CHECKING:
    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.projections import LoadBlob
    from runloop.kb.tables import Tables

RUN_TEXT = 8000  # characters of what a run's nodes gave that it is found by; artifacts and events have the rest
_RUN_STATUS = {
    "run.waiting": "waiting",
    "run.paused": "paused",
    "run.resumed": "running",
    "run.recovered": "running",
    "run.cancelling": "running",
}
_PAUSE_OUTLIVES = frozenset({"run.waiting", "run.recovered"})


def project_run_record(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    """Apply one run record; a second record with the same ``seq`` in a run is an error."""
    payload = event.payload
    run_id, seq, meta = payload["run_id"], payload["seq"], payload["meta"]
    identity = (event.provenance["trace_id"], payload["opening_id"], payload["opening_name"], payload["parent_run_id"])
    db.records.append((run_id, seq, event.id))
    before = db.runs.get(run_id)
    if before is None or before[2] != identity:
        db.execute(
            """INSERT INTO runs(run_id, trace_id, opening_id, opening_name, parent_run_id, status, submitted_ms, tokens, usd,
                   last_seq, words, first_event, source_event)
               VALUES(?, ?, ?, ?, ?, 'queued', ?, 0, 0, ?, '', ?, ?) ON CONFLICT(run_id) DO NOTHING""",
            (run_id, *identity, event.ts_ms, seq, event.id, event.id),
        )
    db.runs[run_id] = (seq if before is None else max(seq, before[0]), event.id, identity)
    history(db, event, f"run:{run_id}")
    group = event.kind.partition(".")[0]
    if group == "run":
        _run(db, event, payload, meta)
    elif group == "node":
        history(db, event, f"node:{run_id}#{meta['node']}")
        _node(db, event, run_id, meta)
    elif group == "effect":
        _effect(db, event, run_id, meta, load)
    elif group == "approval":
        _approval(db, event, run_id, meta)
    elif event.kind == "artifact.created":
        put_artifact(db, event, meta, meta["sha256"], run_id, meta.get("sources") or ())
        _draw_artifact(db, event, run_id, meta)


def _run(db: Tables, event: StoredEvent, payload: Any, meta: Any) -> None:
    run_id = payload["run_id"]
    if event.kind in {"run.submitted", "run.started"}:
        started = event.ts_ms if event.kind == "run.started" else None
        status = "running" if started is not None else "queued"
        params = meta["params"]
        words = fold(f"{payload['opening_name']} {'' if is_blob_ref(params) else as_json(params)}")
        forked_from = (meta.get("forked_from") or {}).get("run_id")
        db.execute(
            """UPDATE runs SET status = ?, mode = ?, started_ms = coalesce(?, started_ms), owner = coalesce(owner, ?),
                   forked_from = coalesce(forked_from, ?), words = CASE words WHEN '' THEN ? ELSE words END WHERE run_id = ?""",
            (status, meta["mode"], started, meta.get("owner"), forked_from, words, run_id),
        )
        _draw_run(db, event, payload, forked_from)
        if _text_of(db, run_id) is None:
            index(db, event, "runs", f"run:{run_id}", payload["opening_name"], _words(params))
    elif event.kind == "run.finished":
        db.execute(
            """UPDATE runs SET status = ?, finished_ms = ?, ms = ?, tokens = ?, usd = ?, final_hash = ?, reason = ?, why = NULL,
                   why_ms = NULL, until_ms = NULL, words = words || ' ' || ? WHERE run_id = ?""",
            (
                *(meta["status"], event.ts_ms, meta["ms"], meta.get("tokens", 0), usd_of(meta)),
                *(meta.get("final_hash"), meta.get("reason"), fold(meta.get("reason") or ""), run_id),
            ),
        )
        index(
            db, event, "runs", f"run:{run_id}", payload["opening_name"], f"{_text_of(db, run_id) or ''}\n{meta.get('reason') or ''}".strip()
        )
    else:
        status = _RUN_STATUS[event.kind]
        held = (meta["why"], event.ts_ms, meta.get("until_ms")) if status != "running" else (None, None, None)
        db.execute("UPDATE runs SET owner = coalesce(?, owner) WHERE run_id = ?", (meta.get("owner"), run_id))
        db.execute(
            "UPDATE runs SET status = ?, why = ?, why_ms = ?, until_ms = ? WHERE run_id = ? AND NOT (status = 'paused' AND ?)",
            (status, *held, run_id, event.kind in _PAUSE_OUTLIVES),
        )


def _draw_run(db: Tables, event: StoredEvent, payload: Any, forked_from: str | None) -> None:
    run, opening = f"run:{payload['run_id']}", f"opening:{payload['opening_name']}"
    see_node(db, event, run, "run", payload["opening_name"])
    see_node(db, event, opening, "opening", payload["opening_name"])
    link(db, event, run, "follows", opening)
    history(db, event, opening)
    for relation, other in (("child_of", payload["parent_run_id"]), ("forked_from", forked_from)):
        if other is not None:
            link(db, event, run, relation, f"run:{other}")


def _text_of(db: apsw.Connection, run_id: str) -> str | None:
    """The text under which a run is found: its parameters and, as far as they are short, what its nodes gave; None before it has one."""
    row: Any = db.execute("SELECT body FROM documents WHERE domain = 'runs' AND key = ?", (f"run:{run_id}",)).fetchone()
    return None if row is None else row[0]


def _words(value: Any) -> str:
    """The texts in a JSON value, a line each; a value that lies in a blob has none here."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "" if is_blob_ref(value) else _words(list(value.values()))
    return "\n".join(text for each in value if (text := _words(each))) if isinstance(value, list | tuple) else ""


def _node(db: Tables, event: StoredEvent, run_id: str, meta: Any) -> None:
    if event.kind in {"node.ready", "node.started"}:
        started = event.ts_ms if event.kind == "node.started" else None
        agent = (meta.get("agent") or {}).get("name")
        db.execute(
            """INSERT INTO run_nodes(run_id, node_id, status, attempt, agent, started_ms, tokens, usd, source_event)
               VALUES(?, ?, ?, ?, ?, ?, 0, 0, ?)
               ON CONFLICT(run_id, node_id) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,
                   agent = coalesce(excluded.agent, agent), started_ms = coalesce(started_ms, excluded.started_ms),
                   source_event = excluded.source_event""",
            (run_id, meta["node"], "ready" if started is None else "running", meta["attempt"], agent, started, event.id),
        )
        if agent is not None:
            see_node(db, event, f"agent:{agent}", "agent", agent)
            link(db, event, f"run:{run_id}", "used", f"agent:{agent}")
            history(db, event, f"agent:{agent}")
    elif event.kind == "node.finished":
        if meta["status"] == "ok" and (text := _words(meta.get("outputs"))):  # the index takes them when the run ends
            sql = "UPDATE documents SET body = substr(body || char(10) || ?, 1, ?) WHERE domain = 'runs' AND key = ?"
            db.execute(sql, (text, RUN_TEXT, f"run:{run_id}"))
        error = meta.get("error") or {}
        status = "running" if meta.get("retry_ms") is not None else meta["status"]
        values = (
            *(run_id, meta["node"], status, meta["attempt"], event.ts_ms, meta.get("ms"), meta.get("outputs_hash"), error.get("code")),
            *(error.get("message"), meta.get("tokens", 0), usd_of(meta), event.id),
        )
        db.execute(
            """INSERT INTO run_nodes(run_id, node_id, status, attempt, finished_ms, duration_ms, outputs_hash, error_code, error,
                   tokens, usd, source_event)
               VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT(run_id, node_id) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,
                   finished_ms = excluded.finished_ms, duration_ms = excluded.duration_ms, outputs_hash = excluded.outputs_hash,
                   error_code = excluded.error_code, error = excluded.error, tokens = tokens + excluded.tokens,
                   usd = usd + excluded.usd, source_event = excluded.source_event""",
            values,
        )


def _effect(db: Tables, event: StoredEvent, run_id: str, meta: Any, load: LoadBlob) -> None:
    place = (run_id, meta["node"], meta["attempt"], meta["call"])
    if event.kind == "effect.requested":
        db.execute(
            """INSERT OR REPLACE INTO effects(run_id, node_id, attempt, call, name, class, status, requested_ms, args_bytes,
                   tokens_in, tokens_out, usd, cached, requested_event)
               VALUES(?, ?, ?, ?, ?, ?, 'requested', ?, ?, 0, 0, 0, 0, ?)""",
            (*place, meta["name"], meta["class"], event.ts_ms, _size(meta.get("args")), event.id),
        )
        return
    error = meta.get("error") or {}
    provider, model = _asked(meta, load)
    db.execute(
        """UPDATE effects SET status = ?, ended_ms = ?, ms = ?, result_bytes = ?, provider = ?, model = ?, tokens_in = ?,
               tokens_out = ?, usd = ?, cached = ?, error_code = ?, error = ?, ended_event = ?
           WHERE run_id = ? AND node_id = ? AND attempt = ? AND call = ?""",
        (
            *(event.kind.partition(".")[2], event.ts_ms, meta.get("ms"), _size(meta.get("result")), provider, model),
            *(
                meta.get("tokens_in", 0),
                meta.get("tokens_out", 0),
                usd_of(meta),
                int(meta.get("cached", False)),
                error.get("code"),
                error.get("message"),
            ),
            *(event.id, *place),
        ),
    )


def _draw_artifact(db: Tables, event: StoredEvent, run_id: str, meta: Any) -> None:
    artifact = f"artifact:{artifact_key(meta['path'], meta['sha256'])}"
    link(db, event, artifact, "made_in", f"run:{run_id}")
    agent = db.execute("SELECT agent FROM run_nodes WHERE run_id = ? AND node_id = ?", (run_id, meta["node"])).get
    if agent is not None:
        link(db, event, artifact, "made_by", f"agent:{agent}")


def _asked(meta: Any, load: LoadBlob) -> tuple[str | None, str | None]:
    """The provider and the model that answered; None for what no model did."""
    if not (meta.get("tokens_in") or meta.get("tokens_out")):
        return None, None
    result = meta.get("result")
    if is_blob_ref(result):
        result = parse(load(result["$blob"]))
    if not isinstance(result, dict):
        return None, None
    provider, model = result.get("provider"), result.get("model")
    return (provider if isinstance(provider, str) else None), (model if isinstance(model, str) else None)


def _approval(db: Tables, event: StoredEvent, run_id: str, meta: Any) -> None:
    key = f"approval:{meta['approval_id']}"
    history(db, event, key)
    if event.kind == "approval.requested":
        db.execute(
            """INSERT OR REPLACE INTO approvals(approval_id, run_id, node_id, action, status, requested_ms, source_event)
               VALUES(?, ?, ?, ?, 'requested', ?, ?)""",
            (meta["approval_id"], run_id, meta.get("node"), meta.get("action"), event.ts_ms, event.id),
        )
        put_node(db, event, key, "approval", meta.get("action") or "")
        link(db, event, key, "asked_in", f"run:{run_id}")
    else:
        by = (meta.get("by") or {}).get("role")
        db.execute(
            "UPDATE approvals SET status = ?, decision = ?, decided_by = ?, decided_ms = ?, source_event = ? WHERE approval_id = ?",
            (event.kind.partition(".")[2], meta["decision"], by, event.ts_ms, event.id, meta["approval_id"]),
        )


def usd_of(meta: Any) -> float | None:
    """US dollars of an outcome or an end; None where a price was unknown, which makes every sum with it unknown too.

    What is not known does not stand in a record; neither does it in one that used nothing.
    """
    tokens = meta.get("tokens", 0) or meta.get("tokens_in", 0) or meta.get("tokens_out", 0)
    usd = meta.get("usd", None if tokens else 0)
    return None if usd is None else float(usd)


def _size(value: Any) -> int:
    """Bytes of a value's canonical form, whether it lies in the event or in a blob; 0 for none."""
    if value is None:
        return 0
    return int(value["bytes"]) if is_blob_ref(value) else len(canonical(value))
