"""The graph as GraphML 1.0: nodes with kind and label, directed edges with their relation, both with the event they come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TextIO
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import apsw

_KEYS = (
    ("kind", "node", "string"),
    ("label", "node", "string"),
    ("event", "node", "long"),
    ("ended", "node", "long"),
    ("relation", "edge", "string"),
    ("said", "edge", "long"),
)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NEAR = """SELECT source_key AS key FROM edges WHERE target_key = :key UNION SELECT target_key FROM edges WHERE source_key = :key
    UNION SELECT :key"""


def write_graphml(db: apsw.Connection, out: TextIO, mask: Callable[[str], str], *, entity: str | None = None) -> tuple[int, int]:
    """Write every node and edge, or an entity, its neighbours and what is between them; how many nodes and edges that were.

    ``mask`` gives a text back as it may leave. An end of an edge that is no node of its own is written as one without kind.
    """
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
    out.writelines(f'<key id="{name}" for="{of}" attr.name="{name}" attr.type="{kind}"/>\n' for name, of, kind in _KEYS)
    out.write('<graph id="knowledge" edgedefault="directed">\n')
    nodes = edges = 0
    for key, kind, label, event, ended in _nodes(db, entity):
        nodes += 1
        parts = (("kind", kind), ("label", None if label is None else mask(label)), ("event", event), ("ended", ended))
        out.write(f"<node id={_quoted(mask(key))}>{_data(parts)}</node>\n")
    for source, relation, target, event in _edges(db, entity):
        edges += 1
        data = _data((("relation", relation), ("said", event)))
        out.write(f'<edge id="e{edges}" source={_quoted(mask(source))} target={_quoted(mask(target))}>{data}</edge>\n')
    out.write("</graph>\n</graphml>\n")
    return nodes, edges


def _nodes(db: apsw.Connection, entity: str | None) -> Iterator[tuple[Any, ...]]:
    near, values = ("", {}) if entity is None else (f" WHERE node_key IN ({_NEAR})", {"key": entity})
    yield from db.execute(f"SELECT node_key, kind, label, source_event, ended_event FROM nodes{near} ORDER BY node_key", values)  # noqa: S608
    ends = _NEAR if entity is not None else "SELECT source_key AS key FROM edges UNION SELECT target_key FROM edges"
    for (key,) in db.execute(f"SELECT key FROM ({ends}) WHERE key NOT IN (SELECT node_key FROM nodes) ORDER BY key", values):  # noqa: S608
        yield key, None, None, None, None


def _edges(db: apsw.Connection, entity: str | None) -> Iterator[tuple[Any, ...]]:
    near, values = ("", {}) if entity is None else (f" WHERE source_key IN ({_NEAR}) AND target_key IN ({_NEAR})", {"key": entity})
    yield from db.execute(f"SELECT source_key, relation, target_key, source_event FROM edges{near} ORDER BY 1, 2, 3", values)  # noqa: S608


def _data(parts: tuple[tuple[str, Any], ...]) -> str:
    return "".join(f'<data key="{name}">{escape(_clean(str(value)))}</data>' for name, value in parts if value is not None)


def _quoted(text: str) -> str:
    return quoteattr(_clean(text))


def _clean(text: str) -> str:
    """What XML 1.0 cannot hold becomes U+FFFD."""
    return _NOT_XML.sub("\ufffd", text)
