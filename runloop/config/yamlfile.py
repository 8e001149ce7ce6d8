"""Reading one configuration file into unread values, each with its line and column.

The file is only composed, never constructed: no tag can build an object, and every scalar stays the text that was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.config.errors import ConfigError
from runloop.config.raw import Raw
from runloop.errors import Where
from runloop.links import readable

if TYPE_CHECKING:
    from pathlib import Path

    from yaml.nodes import Node

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 32
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp", "merge", "value")
)
_NULL = "tag:yaml.org,2002:null"
_WRITE_YAML = "Look at the indentation and the quotes there: `key: value` on a line of its own, text with : or # in quotes."
_WRITE_FLAT = "No setting is nested so deeply; write each value out, without aliases."


def read_file(path: Path) -> Raw | None:
    """The file's content as a map; ``None`` if there is no such file. Raises :class:`ConfigError` for anything unreadable."""
    try:
        with readable(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        try:
            target = str(path.readlink())
        except OSError:
            return None
        raise _unreadable(path, f"it is a link to {target!r}, and nothing is there") from None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"the configuration file is larger than {MAX_BYTES} bytes",
            code="config.too_large",
            where=Where(file=str(path)),
            hint="Is it the right file? What is no setting belongs elsewhere.",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = Where(file=str(path), line=line)
        raise ConfigError("the configuration file is not UTF-8", code="config.syntax", where=where, hint="Save it as UTF-8.") from None
    return parse(text, str(path))


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"cannot read the configuration file {path}: {why}",
        code="config.unreadable",
        where=Where(file=str(path)),
        hint="Make it readable for this user. It is not skipped, because it may hold limits.",
    )


def parse(text: str, file: str) -> Raw:
    """The map that YAML text holds; an empty document is an empty map."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Where(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Where(file=file)
        raise ConfigError(f"invalid YAML: {error.problem or error.context}", code="config.syntax", where=where, hint=_WRITE_YAML) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        where = Where(file=file, line=line)
        raise ConfigError(f"invalid YAML: {error.reason}", code="config.syntax", where=where, hint="Remove the character.") from None
    except RecursionError:
        where = Where(file=file)
        raise ConfigError("the configuration file is nested too deeply", code="config.syntax", where=where, hint=_WRITE_FLAT) from None
    if node is None:
        return Raw({}, Where(file=file))
    converted = _Converter(file).convert(node, 0)
    if converted.value is None:
        return Raw({}, converted.where)
    if not isinstance(converted.value, dict):
        raise ConfigError(
            "a configuration file is a map of sections",
            code="config.syntax",
            where=converted.where,
            hint="For example: `models:` and below it, indented, `default: none`.",
        )
    return converted


class _Converter:
    """Turns composed nodes into unread values within a budget: aliases share nodes, so a small file can name a huge tree."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.budget = MAX_NODES

    def convert(self, node: Node, depth: int, key_where: Where | None = None) -> Raw:
        import yaml

        where = self.where(node)
        self.budget -= 1
        if depth > MAX_DEPTH or self.budget < 0:
            raise ConfigError(
                "the configuration file is nested too deeply or too large", code="config.syntax", where=where, hint=_WRITE_FLAT
            )
        if node.tag not in _PLAIN_TAGS:
            raise ConfigError(f"the tag {node.tag!r} is not allowed", code="config.syntax", where=where, hint="Write plain values.")
        if isinstance(node, yaml.MappingNode):
            return Raw(self._map(node, depth), where, key_where)
        if isinstance(node, yaml.SequenceNode):
            return Raw([self.convert(item, depth + 1) for item in node.value], where, key_where)
        value: Any = node.value
        return Raw(None if node.tag == _NULL else value, where, key_where)

    def _map(self, node: Any, depth: int) -> dict[str, Raw]:
        import yaml

        found: dict[str, Raw] = {}
        for key_node, value_node in node.value:
            at = self.where(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("a key must be text", code="config.syntax", where=at, hint="Write `name: value`.")
            name: str = key_node.value
            if name in found:
                first = found[name].key_where or found[name].where
                message = f"the key {name!r} appears twice, first on line {first.line}"
                raise ConfigError(message, code="config.duplicate_key", where=at, hint="Keep one of the two.")
            found[name] = self.convert(value_node, depth + 1, at)
        return found

    def where(self, node: Node) -> Where:
        mark = node.start_mark
        return Where(file=self.file, line=mark.line + 1, column=mark.column + 1)
