"""Dataclasses whose methods cost nothing until they are used: the standard library's fields, slots and helpers, with other methods.

The standard library compiles half a dozen functions for each class while its module is imported, 0.5 ms a class: a third of the daemon's
start. Here ``__init__`` is compiled for the first instance, and comparing, hashing and showing need no code of their own.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass

else:

    def dataclass(*, slots: bool, frozen: bool = False, eq: bool = True, kw_only: bool = False) -> Callable[[type], type]:
        """As :func:`dataclasses.dataclass`, whose ``fields``, ``replace`` and ``asdict`` take these too. No ``InitVar``."""

        def decorate(cls: type) -> type:
            made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
            methods = {"__init__": _first_init(made, frozen=frozen), "__repr__": _repr}
            if eq:
                methods |= _comparing(made, hashable=frozen)
            if frozen:
                methods |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete, "__getstate__": _state, "__setstate__": _restore}
            own = dict(vars(made))
            for name, method in methods.items():
                if own.get(name) is None:  # Python itself puts a None where a class has an __eq__ without a __hash__
                    setattr(made, name, method)
            return made

        return decorate


__all__ = ["dataclass"]

_MISSING: Any = dataclasses.MISSING


def _first_init(cls: Any, *, frozen: bool) -> Callable[..., None]:
    """An ``__init__`` that puts a compiled one into its place when it is called."""

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        init = _compiled_init(cls, frozen=frozen)
        cls.__init__ = init
        init(self, *args, **kwargs)

    return first


def _compiled_init(cls: Any, *, frozen: bool) -> Callable[..., None]:
    """``__init__`` from the fields of a class, in their order. A frozen one is filled past its ``__setattr__``, through its slots."""
    places: dict[str, Any] = {"_missing": _MISSING}
    ordinary, by_name, lines = ["self"], list[str](), list[str]()
    for number, each in enumerate(dataclasses.fields(cls)):
        value, parameter = each.name, each.name
        if each.default_factory is not _MISSING:
            places[f"_new{number}"] = each.default_factory
            value = f"_new{number}() if {each.name} is _missing else {each.name}" if each.init else f"_new{number}()"
            parameter += "=_missing"
        elif each.default is not _MISSING:
            places[f"_default{number}"] = each.default
            value = each.name if each.init else f"_default{number}"
            parameter += f"=_default{number}"
        elif not each.init:
            continue
        if each.init:
            (by_name if each.kw_only else ordinary).append(parameter)
        if frozen:
            places[f"_set{number}"] = getattr(cls, each.name).__set__
        lines.append(f"_set{number}(self, {value})" if frozen else f"self.{each.name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    parameters = ", ".join([*ordinary, *(["*", *by_name] if by_name else [])])
    body = "\n ".join(lines or ["pass"])
    exec(f"def __init__({parameters}):\n {body}", places)  # noqa: S102 - the names of fields, nothing from outside
    init: Callable[..., None] = places["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _comparing(cls: Any, *, hashable: bool) -> dict[str, Any]:
    """``__eq__`` and ``__hash__`` by the fields that count, as tuples."""
    fields = dataclasses.fields(cls)
    compared = _getter([each.name for each in fields if each.compare])
    counted = _getter([each.name for each in fields if (each.compare if each.hash is None else each.hash)])

    def equal(self: Any, other: object) -> Any:
        if other.__class__ is self.__class__:
            return compared(self) == compared(other)
        return NotImplemented

    def hashed(self: Any) -> int:
        return hash(counted(self))

    return {"__eq__": equal, "__hash__": hashed if hashable else None}


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What gives the values of these attributes as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda each: tuple(getattr(each, name) for name in names)


@recursive_repr()
def _repr(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in dataclasses.fields(self) if each.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _refuse_set(_self: Any, name: str, _value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(_self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    """What a copy or a pickle is made of: without these two an instance that refuses to be set could not be copied."""
    return [getattr(self, each.name) for each in dataclasses.fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for each, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)
