"""Secrets: where values are looked up, and the handles that stand for them inside guests, records and approvals.

A value leaves this module only as a string that is put into a header, a body or a login at that moment; nothing here prints,
logs or raises it.
"""

from __future__ import annotations

import base64
import os
import re
import threading
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

from blake3 import blake3

from runloop.effects.perform.secret_files import FileSecrets
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, require
from runloop.errors import InvalidInput, Unavailable, Where
from runloop.hosts import host_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from runloop.policy.net import Target

KEYRING_SERVICE = "runloop"
KEYRING_TIMEOUT_S = 15.0  # a locked keyring may ask its owner on the desktop; a machine without one must not hang
_SILENT = "does not answer"
HANDLE_PREFIX = "rlsec_"
HANDLE = re.compile(rf"{HANDLE_PREFIX}[a-z2-7]{{32}}")
_HANDLE_BYTES = 20
_HANDLE_CONTEXT = "runloop 2026-11-20 secret handle"  # a blake3 key derivation context: handles are no other hash of ours


def environment_name(secret_id: str) -> str:
    """The variable that holds a secret: upper case, everything but letters and digits as ``_``; spec section 13."""
    return "".join(character if character.isascii() and character.isalnum() else "_" for character in secret_id).upper()


class NoAnswerError(Exception):
    """A place does not say whether it has a secret; the text says why."""


def unanswered(secret_id: str, why: NoAnswerError, place: str = "keyring") -> Unavailable:
    """What to tell a person of a secret that may be where nobody can look."""
    hint = "unlock it or start it again; `rlp --set security.secrets.provider=file secrets …` leaves it out"
    return Unavailable(f"the {place} {why}, so that nobody knows whether it has {secret_id}", code="secrets.slow", hint=hint)


class SecretProvider(Protocol):
    """One place where secrets are kept. Blocking."""

    def get(self, secret_id: str) -> str | None:
        """Return the value, or None where this place does not have it. Raises :class:`NoAnswerError`."""
        ...


class EnvironmentSecrets:
    """Secrets in environment variables: the exact name, else :func:`environment_name`."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def get(self, secret_id: str) -> str | None:
        """Return the value; an empty variable counts as not set."""
        return self._environ.get(secret_id) or self._environ.get(environment_name(secret_id)) or None


class KeyringSecrets:
    """Secrets in the desktop's keyring, under the service ``runloop``; a machine without one simply has none."""

    @staticmethod
    def usable() -> bool:
        """Whether there is a keyring here that keeps anything."""
        import keyring

        try:
            return bool(getattr(keyring.get_keyring(), "priority", 0) > 0)
        except Exception:  # noqa: BLE001 - a backend, and what names one (PYTHON_KEYRING_BACKEND, keyringrc.cfg), is somebody else's
            return False

    def get(self, secret_id: str) -> str | None:
        """Return the value. Raises :class:`NoAnswerError` where it is locked."""
        import keyring
        from keyring.errors import KeyringLocked

        try:
            value = keyring.get_password(KEYRING_SERVICE, secret_id)
        except KeyringLocked:
            raise NoAnswerError("is locked") from None
        except Exception:  # noqa: BLE001 - as above
            return None
        return value or None

    def put(self, secret_id: str, value: str) -> None:
        """Keep the value, in place of any other. Raises :class:`InvalidInput` ``secrets.keyring``."""
        import keyring

        with _asking_the_keyring():
            keyring.set_password(KEYRING_SERVICE, secret_id, value)

    def remove(self, secret_id: str) -> bool:
        """Remove the value; False where there is none. Raises :class:`InvalidInput` ``secrets.keyring``."""
        import keyring

        if self.get(secret_id) is None:
            return False
        with _asking_the_keyring():
            keyring.delete_password(KEYRING_SERVICE, secret_id)
        return True


@contextmanager
def _asking_the_keyring() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - as above
        why = str(error).strip().split("\n", 1)[0] or type(error).__name__
        hint = "unlock it, or keep the secret in a file: `rlp secrets set NAME --to file`"
        raise InvalidInput(f"the keyring refuses: {why}", code="secrets.keyring", hint=hint) from None


class InTime:
    """A place that is waited for no longer than ``KEYRING_TIMEOUT_S``, and not at all while an earlier question is still unanswered.

    Nobody joins the thread that asks: a keyring that never answers holds up neither an executor nor the end of the process.
    """

    def __init__(self, place: SecretProvider) -> None:
        self._place = place
        self._stuck: threading.Thread | None = None

    def get(self, secret_id: str) -> str | None:
        """Return the value, or None. Raises :class:`NoAnswerError`, and what else the place raises."""
        if self._stuck is not None and self._stuck.is_alive():
            raise NoAnswerError(_SILENT)
        answer: SimpleQueue[tuple[str | None, BaseException | None]] = SimpleQueue()

        def ask() -> None:
            try:
                answer.put((self._place.get(secret_id), None))
            except BaseException as error:  # noqa: BLE001 - raised where the answer is awaited
                answer.put((None, error))

        thread = threading.Thread(target=ask, name="secret", daemon=True)
        thread.start()
        try:
            value, error = answer.get(timeout=KEYRING_TIMEOUT_S)
        except Empty:
            self._stuck = thread
            raise NoAnswerError(_SILENT) from None
        if error is not None:
            raise error
        return value


class SecretStore:
    """Looks a secret up in each provider in turn; the first that has it answers."""

    def __init__(self, providers: Sequence[SecretProvider]) -> None:
        self._providers = tuple(map(InTime, providers))

    async def get(self, secret_id: str) -> str | None:
        """Return the value, or None where no provider has it. Raises Unavailable ``secrets.slow`` where one gave no answer."""
        import asyncio

        silent = None
        for provider in self._providers:
            try:
                value = await asyncio.to_thread(provider.get, secret_id)
            except NoAnswerError as why:
                silent = why
                continue
            if value is not None:
                return value
        if silent is not None:
            raise unanswered(secret_id, silent)
        return None


_LONG_ENOUGH: Final = 6
_KEPT_IN_QUERIES: Final = "!$&'()*+,/:;=?@[\\]^|~"  # by browsers and the servers that follow them (WHATWG URL, query percent-encode set)
_ESCAPED: Final = re.compile("%[0-9A-F]{2}")
_PLACES: Final = ("keyring", "environment", "file")
_PROVIDERS: Final = {"auto": _PLACES, "keyring": ("keyring",), "env": ("environment",), "file": ("file",)}


def secret_places(provider: str, root: Path) -> dict[str, SecretProvider]:
    """The places that ``security.secrets.provider`` names (``auto``, ``keyring``, ``env`` or ``file``), in the order they are asked in.

    ``root`` is the directory of files.

    Raises:
        InvalidInput: for a provider that this Runloop does not have; it is not replaced by another behind the user's back.

    """
    names = _PROVIDERS.get(provider)
    if names is None:
        raise InvalidInput(
            f"there is no secret provider {provider!r}",
            code="secrets.provider",
            where=Where(key="security.secrets.provider"),
            hint=f"use one of: {', '.join(_PROVIDERS)}",
        )
    places: dict[str, SecretProvider] = {"keyring": KeyringSecrets(), "environment": EnvironmentSecrets(), "file": FileSecrets(root)}
    return {name: places[name] for name in names}


def missing_hint(secret_id: str) -> str:
    """What to do about a secret that is not there."""
    return f"store it: `rlp secrets set {secret_id}`; or set {environment_name(secret_id)} where the daemon is started"


def handle_of(run_id: str, secret_id: str) -> str:
    """The handle of a secret within a run: the same on every replay, and of no use in another run."""
    digest = blake3(f"{len(run_id)}:{run_id}:{secret_id}".encode(), derive_key_context=_HANDLE_CONTEXT).digest(length=_HANDLE_BYTES)
    return HANDLE_PREFIX + base64.b32encode(digest).decode().lower()


class SecretHandles:
    """Which handle stands for which secret, by run. ``hosts_of`` names the hosts that a secret may be sent to."""

    def __init__(self, store: SecretStore, hosts_of: Callable[[str], Sequence[str]]) -> None:
        self._store, self._hosts_of = store, hosts_of
        self._names: dict[str, dict[str, str]] = {}

    def issue(self, run_id: str, secret_id: str, guest_run_id: str | None = None) -> str:
        """Return the handle, and remember what it stands for in the run; it follows from the run that the guest knows itself by."""
        handle = handle_of(guest_run_id or run_id, secret_id)
        self._names.setdefault(run_id, {})[handle] = secret_id
        return handle

    def forget(self, run_id: str) -> None:
        """Drop the handles of a run that ended."""
        self._names.pop(run_id, None)

    def names_in(self, text: str, ctx: CallContext) -> list[str]:
        """The secrets whose handles stand in a text, each once.

        Raises:
            CallError: ``invalid`` for a handle that this run was not given, ``denied`` for one that the agent may not use.

        """
        found: list[str] = []
        for handle in dict.fromkeys(HANDLE.findall(text)):
            name = self._names.get(ctx.run_id, {}).get(handle)
            if name is None:
                hint = "ask for a handle with secrets.handle in this run"
                raise CallError(
                    CallErrorKind.INVALID, "the handle stands for no secret of this run", code="secrets.unknown_handle", hint=hint
                )
            require(ctx.caps.check_secret(name))
            found.append(name)
        return found

    def check_host(self, name: str, target: Target) -> None:
        """Refuse to send a secret to a host that it is not for. Raises :class:`CallError` (denied)."""
        host = host_text(target.host, None)
        if not {host, host_text(target.host, target.port)} & set(self._hosts_of(name)):
            raise CallError(
                CallErrorKind.DENIED,
                f"the secret {name} may not be sent to {host}",
                code="secrets.host_not_permitted",
                hint=f"add {host} to the hosts of the secret in the configuration, if it is meant to go there",
            )

    async def values(self, names: Sequence[str], ctx: CallContext) -> dict[str, str]:
        """Values by handle, for substitution at this moment. Raises :class:`CallError` (unavailable) for one that is not there."""
        return {handle_of(ctx.guest_run_id, name): await self.value(name) for name in names}

    async def value(self, name: str) -> str:
        """The value of one secret. Raises :class:`CallError` (unavailable)."""
        value = await self._store.get(name)
        if value is None:
            raise CallError(
                CallErrorKind.UNAVAILABLE,
                f"the secret {name} is not there",
                code="secrets.missing",
                hint=missing_hint(name),
            )
        return value


def substitute(text: str, values: Mapping[str, str]) -> str:
    """The text with each handle replaced by its value."""
    return HANDLE.sub(lambda found: values.get(found[0], found[0]), text)


def echoes(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each value, as it is and as servers write what they were sent, with its handle; the longest first.

    A short value is only looked for as it is: its other forms stand in many a text.
    """
    import html
    import json
    from urllib.parse import quote, quote_plus

    forms: dict[str, str] = {}
    for handle, value in values.items():
        raw, in_json, told = value.encode(), json.dumps(value)[1:-1], [value]
        if len(value) >= _LONG_ENOUGH:
            quoted = [
                quote(value, safe=""),
                quote(value),
                quote(value, safe=_KEPT_IN_QUERIES),
                quote_plus(value),
                quote(value, safe="!*'()"),
            ]
            told += [*quoted, *(_ESCAPED.sub(lambda found: found[0].lower(), each) for each in quoted)]
            told += [in_json, in_json.replace("/", "\\/"), json.dumps(value, ensure_ascii=False)[1:-1], html.escape(value)]
            told += [html.escape(value, quote=False), raw.hex(), raw.hex().upper()]
            told += [encode(raw).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)]
        for form in told:
            forms.setdefault(form, handle)
    return sorted(forms.items(), key=lambda item: -len(item[0]))


def hide(text: str, values: Mapping[str, str]) -> str:
    """The text with each value replaced by its handle, longest first, for what comes back from outside."""
    return without(text, echoes(values))


def without(text: str, forms: Iterable[tuple[str, str]]) -> str:
    """The text with each of what :func:`echoes` gives replaced by its handle, in that order."""
    for form, handle in forms:
        text = text.replace(form, handle)
    return text


class SecretsHandle:
    """``secrets.handle``: a handle, whether or not the secret is there, so that a replay needs no secrets."""

    def __init__(self, handles: SecretHandles) -> None:
        self._handles = handles

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check that the agent was granted the secret."""
        require(ctx.caps.check_secret(args["name"]))
        return Prepared("secrets.handle", EffectClass.VIRTUAL, f"a handle for {args['name']}", data={"name": args["name"]})

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Issue the handle."""
        return Outcome({"handle": self._handles.issue(ctx.run_id, prepared.data["name"], ctx.guest_run_id)})
