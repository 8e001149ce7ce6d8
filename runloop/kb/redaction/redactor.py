"""One function for a text and one for a JSON value: every edge of the system uses these."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from runloop.kb.redaction.email import EmailMasker, Known
from runloop.kb.redaction.encoded import mask_encoded
from runloop.kb.redaction.keys import is_key_name, mask_keys, mask_named_key
from runloop.kb.redaction.payment import is_card, mask_cards, mask_ibans
from runloop.kb.redaction.phone import is_phone_name, mask_named_phone, mask_phones
from runloop.kb.redaction.rules import EVERYTHING, Rules
from runloop.kb.redaction.urls import mask_urls
from runloop.patterns import lazy

_DEPTH = 3  # encodings inside encodings that are opened
_DIGITS = frozenset("0123456789")
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_HARMLESS = lazy(rf"[a-z_. ]*|(?:trace:|opening:|run:)?{_UUID}")  # words and ids, which records are full of
_SHORTEST_NUMBER = 10_000  # what is called a telephone number has five digits or more; a card has more
_SHORT = 128
_KEPT = 4096  # short texts whose masks are remembered: kinds, names and ids come again in every record


@lru_cache(maxsize=4096)
def _is_telling(name: str) -> bool:
    """Whether the name of a key or column says what its values are."""
    return is_key_name(name) or is_phone_name(name)


class Redactor:
    """Masks by ``rules`` under ``salt``, the same for the same value everywhere; a mask given back stays as it is."""

    def __init__(self, salt: str, rules: Rules = EVERYTHING, known: Known = lambda _first, _domain: ()) -> None:
        self.rules = rules
        self.salt = salt
        self._known = known
        self._emails = EmailMasker(salt, known)
        self._plain: dict[str, str] = {}
        self._named: dict[tuple[str, str], str] = {}
        self._long = ("", "", "")  # the last text that is too long for these, its name and its mask: a line of a log is in its record twice

    def for_agents(self) -> Redactor:
        """The same with every kind masked: settings loosen what people see, never what agents see."""
        return Redactor(self.salt, Rules(url_param_denylist=self.rules.url_param_denylist), self._known)

    def with_contacts(self) -> Redactor:
        """The same for whoever may see how to reach people."""
        return Redactor(self.salt, self.rules.with_contacts(), self._known)

    @property
    def hides_contacts(self) -> bool:
        """Whether addresses are masked: what a hit says to whoever would write to one."""
        return self.rules.enabled and self.rules.email

    def text(self, text: str, name: str = "") -> str:
        """The text with everything masked that the rules name; ``name`` is that of its key or column, which may tell what it is."""
        if not self.rules.enabled:
            return text
        if not name or not _is_telling(name):
            done = self._plain.get(text)
            return self._new(self._plain, text, text, "") if done is None else done
        done = self._named.get((text, name))
        return self._new(self._named, (text, name), text, name) if done is None else done

    def value(self, value: Any, name: str = "") -> Any:
        """A JSON value with everything masked in its texts, keys, and numbers that are card numbers."""
        return self._value(value, name) if self.rules.enabled else value

    def _value(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            return self.text(value, name)
        if isinstance(value, dict):
            return {self._plain.get(key) or self.text(key): self._value(item, key) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(item, name) for item in value]
        if isinstance(value, int) and value >= _SHORTEST_NUMBER:
            return self._number(value, name)
        return value

    def json(self, text: str, name: str = "") -> str:
        """A text that may be JSON: its masked value as JSON, else the masked text."""
        if not self.rules.enabled or not text:
            return text
        if text[0] in "{[":
            import msgspec  # a query that meets no JSON starts without it

            try:
                value = msgspec.json.decode(text)
                masked = self.value(value, name)
                return text if masked == value else msgspec.json.encode(masked).decode()
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):  # broken, half a character, or nested deeper than Python goes
                return self.text(text, name)
        return self.text(text, name)

    def _new(self, done: dict[Any, str], key: Any, text: str, name: str) -> str:
        """The masked text; where it is short it is remembered under ``key``."""
        if self._long[:2] == (text, name):
            return self._long[2]
        masked = text if not name and _HARMLESS.fullmatch(text) else self._text(text, name, _DEPTH)
        if len(text) <= _SHORT:
            if len(done) >= _KEPT:
                done.clear()
            done[key] = masked
        else:
            self._long = (text, name, masked)
        return masked

    def _text(self, text: str, name: str, depth: int) -> str:
        rules, salt = self.rules, self.salt
        if name:
            if rules.keys and is_key_name(name) and (masked := mask_named_key(name, text, salt)) != text:
                return masked
            if rules.phone and is_phone_name(name) and (masked := mask_named_phone(text, salt)) != text:
                return masked
        if rules.url_params:
            text = mask_urls(text, salt, rules.url_param_denylist)
        if rules.keys:
            text = mask_keys(text, salt)
        if not _DIGITS.isdisjoint(text):
            if rules.iban:
                text = mask_ibans(text, salt)
            if rules.card:
                text = mask_cards(text, salt)
            if rules.phone:
                text = mask_phones(text, salt)
        if rules.email:
            text = self._emails.text(text)
        if depth and len(text) >= 12:
            text = mask_encoded(text, salt, lambda inner: self._inner(inner, depth - 1))
        return text

    def _inner(self, text: str, depth: int) -> str:
        """What was decoded, masked as text and, where it is JSON, as a value."""
        if text[:1] in {"{", "["}:
            return self.json(text)
        return self._text(text, "", depth)

    def _number(self, value: int, name: str) -> Any:
        digits = str(value)
        if self.rules.phone and _is_telling(name) and is_phone_name(name):
            return mask_named_phone(digits, self.salt)
        return mask_cards(digits, self.salt) if self.rules.card and is_card(digits) else value
