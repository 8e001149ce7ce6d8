"""Our dataclasses do what those of the standard library do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable


def both(define: Callable[[Any], type]) -> tuple[Any, Any]:
    """The same class by our decorator and by the standard library's."""
    return define(dataclass), define(dataclasses.dataclass)


def plain(decorator: Any) -> type:
    @decorator(slots=True)
    class Plain:
        """With every kind of field."""

        kind: ClassVar[str] = "plain"
        first: int
        second: Any = "two"
        third: list[int] = field(default_factory=list)
        hidden: int = field(default=0, repr=False)
        aside: int = field(default=0, compare=False)
        made: list[int] = field(init=False, default_factory=list)
        fixed: int = field(init=False, default=7)
        later: int = field(init=False)
        named: int = field(default=3, kw_only=True)

        def __post_init__(self) -> None:
            self.later = 1

    return Plain


def frozen(decorator: Any) -> type:
    @decorator(frozen=True, slots=True)
    class Frozen:
        """A value."""

        first: Any
        second: Any = 2
        third: list[int] = field(default_factory=list, hash=False)

    return Frozen


@dataclass(frozen=True, slots=True)
class Copied:
    """At the top of a module, as pickle wants it."""

    first: int
    second: list[int] = field(default_factory=list)


values = st.one_of(st.integers(), st.text(max_size=3), st.floats(), st.none())
NOTHING: dict[str, Any] = {}


@given(
    st.lists(values, max_size=3),
    st.dictionaries(st.sampled_from(["first", "second", "third", "hidden", "aside", "made", "named", "other"]), values, max_size=4),
)
def test_a_call_gives_the_same_fields_or_the_same_kind_of_error(arguments: list[Any], named: dict[str, Any]) -> None:
    for define in (plain, frozen):
        shown = []
        for cls in both(define):
            try:
                shown.append(repr(cls(*arguments, **named)))
            except TypeError as error:
                shown.append(str(error))
        assert shown[0] == shown[1]


@given(st.tuples(values, values), st.tuples(values, values))
def test_two_values_are_equal_where_the_standard_librarys_are(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    for define in (plain, frozen):
        ours, theirs = both(define)
        assert (ours(*one) == ours(*other)) == (theirs(*one) == theirs(*other))
        assert ours(*one) != theirs(*one)


@given(values, values)
def test_a_frozen_value_has_the_hash_of_the_standard_librarys(first: Any, second: Any) -> None:
    ours, theirs = both(frozen)
    assert hash(ours(first, second)) == hash(theirs(first, second))


def test_what_can_change_has_no_hash_and_what_is_compared_by_identity_has_its_own() -> None:
    @dataclass(slots=True, eq=False)
    class Identical:
        """Only equal to itself."""

        first: int

    one = Identical(1)
    assert one != Identical(1)
    assert hash(one) == object.__hash__(one)
    with pytest.raises(TypeError, match="unhashable"):
        hash(dataclass(slots=True)(type("Changing", (), {"__annotations__": {"first": int}}))(1))


def test_a_frozen_value_refuses_to_be_set_and_to_lose_a_field() -> None:
    value = Copied(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'first'"):
        value.first = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'first'"):
        del value.first
    assert value == Copied(1)


def test_each_instance_gets_a_new_default() -> None:
    ours, _ = both(plain)
    one, other = ours(1), ours(1)
    one.third.append(1)
    assert (one.third, other.third) == ([1], [])


def test_helpers_of_the_standard_library_take_ours() -> None:
    value = Copied(1, [2])
    assert [each.name for each in fields(Copied)] == ["first", "second"]
    assert asdict(value) == {"first": 1, "second": [2]}
    assert Copied(3, [2]) == replace(value, first=3)
    match value:
        case Copied(first, second):
            assert (first, second) == (1, [2])


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_frozen_value_can_be_copied_and_pickled(through: Callable[[Copied], Copied]) -> None:
    assert Copied(1, [2]) == through(Copied(1, [2]))


def test_a_class_inherits_the_fields_and_what_it_defines_itself_stays() -> None:
    def define(decorator: Any) -> type:
        base = frozen(decorator)

        @decorator(frozen=True, slots=True)
        class Derived(base):  # type: ignore[misc, valid-type]
            """More of it."""

            fourth: int = 4

            def __repr__(self) -> str:
                return f"<{self.first} to {self.fourth}>"

            def __hash__(self) -> int:
                return 1

        return Derived

    for cls in both(define):
        assert repr(cls(1)) == "<1 to 4>"
        assert (hash(cls(1)), cls(1, fourth=5).fourth) == (1, 5)
        with pytest.raises(FrozenInstanceError):
            cls(1).fourth = 5


def test_a_value_within_itself_is_shown_once() -> None:
    ours, theirs = both(plain)
    shown = []
    for cls in (ours, theirs):
        value = cls(1)
        value.third.append(value)
        shown.append(repr(value))
    assert shown[0] == shown[1]
    assert "..." in shown[0]


def test_a_class_without_fields_is_a_value_too() -> None:
    ours, theirs = both(lambda decorator: decorator(frozen=True, slots=True)(type("Empty", (), {"__doc__": "None."})))
    assert ours() == ours()
    assert repr(ours()) == repr(theirs())
    assert hash(ours()) == hash(theirs())


def test_nothing_is_compiled_for_a_class_that_is_not_used() -> None:
    """The reason for all this: the import of a module with values compiles none of their methods."""
    code = """
from runloop.openings import model
values = [each for each in vars(model).values() if hasattr(each, "__dataclass_fields__")]
print(len(values) > 5, [each for each in values if each.__init__.__code__.co_filename == "<string>"])
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True []\n", "")


def test_the_first_instance_leaves_an_ordinary_initialiser() -> None:
    ours, theirs = both(plain)
    ours(1)
    names = [list(inspect.signature(cls).parameters) for cls in (ours, theirs)]
    assert names[0] == names[1]
