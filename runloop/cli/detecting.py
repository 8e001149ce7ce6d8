"""Which models could be used here: servers on this machine that answer, and keys in the environment, by name and never by value.

Only loopback addresses are asked, with a plain GET each; nothing leaves the machine.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from threading import Timer
from typing import Any, Final

from runloop.dataclass import dataclass

OLLAMA_PORT: Final = 11434
OPENAI_PORTS: Final = (1234, 8080, 8000, 1337, 4891, 5001)
"""Where servers that speak OpenAI's protocol listen by default: LM Studio, llama.cpp, vLLM, Jan, GPT4All, KoboldCpp."""
_LOOPBACK: Final = "127.0.0.1"
_OLLAMA_HOST: Final = re.compile(r"(?:http://)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::\])?:(\d{1,5})/?", re.ASCII)
"""A port of this machine, as Ollama reads its variable; on another machine it is nobody's business here."""
_WAIT_S: Final = 0.7
_MOST_BYTES: Final = 1_000_000
_EMBEDS: Final = ("embed", "bge-", "minilm", "e5-")

HOSTED: Final = (
    ("ANTHROPIC_API_KEY", "anthropic", "http_anthropic", "https://api.anthropic.com"),
    ("OPENAI_API_KEY", "openai", "http_openai_chat", "https://api.openai.com"),
    ("OPENROUTER_API_KEY", "openrouter", "http_openai_chat", "https://openrouter.ai/api"),
    ("MISTRAL_API_KEY", "mistral", "http_openai_chat", "https://api.mistral.ai"),
    ("GROQ_API_KEY", "groq", "http_openai_chat", "https://api.groq.com/openai"),
)
"""Variable, id, kind and address of hosted providers. The variable is what the secret ``<name>/api_key`` is looked up as."""


@dataclass(frozen=True, slots=True)
class Found:
    """A provider that could be configured. ``secret_id`` names its key, ``variable`` where that is now."""

    id: str
    kind: str
    base_url: str
    models: tuple[str, ...] = ()
    secret_id: str | None = None
    variable: str | None = None

    @property
    def chat_model(self) -> str | None:
        """The first model that is not for vectors."""
        return next((each for each in self.models if not _embeds(each)), None)

    @property
    def embed_model(self) -> str | None:
        """The first model for vectors."""
        return next((each for each in self.models if _embeds(each)), None)


def detect(environment: Mapping[str, str], ollama: int = OLLAMA_PORT, openai: Sequence[int] = OPENAI_PORTS) -> list[Found]:
    """The servers of this machine that answer, then hosted providers whose keys are in the environment; OLLAMA_HOST may name a port."""
    said = _OLLAMA_HOST.fullmatch(environment.get("OLLAMA_HOST", "").strip())
    probes: list[tuple[Callable[[int], Found | None], int]] = [
        (_ollama, int(said[1]) if said else ollama),
        *((_openai, port) for port in openai),
    ]
    with ThreadPoolExecutor(len(probes)) as pool:
        local = [found for found in pool.map(lambda probe: probe[0](probe[1]), probes) if found is not None]
    hosted = [
        Found(name, kind, url, (), variable.lower().replace("_api_key", "/api_key"), variable)
        for variable, name, kind, url in HOSTED
        if environment.get(variable, "").strip()
    ]
    return local + hosted


def _ollama(port: int) -> Found | None:
    names = _names(_get(port, "/api/tags"), "models", "name")
    return None if names is None else Found("ollama", "http_ollama", f"http://{_LOOPBACK}:{port}", names)


def _openai(port: int) -> Found | None:
    names = _names(_get(port, "/v1/models"), "data", "id")
    return None if names is None else Found(f"local-{port}", "http_openai_chat", f"http://{_LOOPBACK}:{port}/v1", names)


def _names(answer: Any, listed: str, name: str) -> tuple[str, ...] | None:
    """The names in a list of models; None where the answer is not one."""
    entries = answer.get(listed) if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        return None
    return tuple(text for each in entries if isinstance(text := each.get(name), str) and text.isprintable() and 0 < len(text) < 200)


def _get(port: int, path: str) -> Any:
    """The JSON that a server of this machine answers with, or None; one that answers bit by bit has no more time than another."""
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=_WAIT_S)
    with closing(connection), suppress(OSError, http.client.HTTPException, ValueError, RecursionError):
        connection.connect()
        late = Timer(_WAIT_S, _hang_up, [connection.sock])
        late.start()
        try:
            connection.request("GET", path, headers={"Accept": "application/json", "Connection": "close"})
            answer = connection.getresponse()
            data = answer.read(_MOST_BYTES + 1)
        finally:
            late.cancel()
        if answer.status == http.client.OK and len(data) <= _MOST_BYTES:
            return json.loads(data)
    return None


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_RDWR)


def _embeds(model: str) -> bool:
    return any(part in model.lower() for part in _EMBEDS)
