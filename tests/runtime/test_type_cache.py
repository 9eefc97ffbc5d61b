"""The interpreter's type cache works as `type_cache` says, and the names of the request path do not collide."""

import gc
import subprocess
import sys
import sysconfig
import timeit
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from mreactor.runtime import HOT, type_cache
from mreactor.runtime.type_cache import (
    FIXED,
    IMPLICIT_NAMES,
    address_part,
    attribute_names_used,
    attributes,
    bump_version,
    cache_slot,
    intern_apart,
    is_known,
    lookups_on_metatypes,
    names_in_use,
    separate_hot_classes,
    version,
)

ROOT = Path(__file__).resolve().parents[2]
IS_KNOWN_HERE = sys.version_info[:2] == (3, 13) and bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
NAMES = [f"name_{number}" for number in range(40)]
# Their addresses differ in more than the last bits, like old and new versions.
FAR = [sys.intern(f"far_{number}") for number in range(600)][::15]


def make(name: str) -> type:
    return type(name, (), dict.fromkeys(NAMES, 0))


def test_the_layout_is_known_on_3_13t_and_nowhere_else() -> None:
    assert is_known() is IS_KNOWN_HERE


def test_an_unknown_layout_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type_cache, "is_known", lambda: False)
    monkeypatch.setattr(type_cache, "bump_version", pytest.fail)
    assert separate_hot_classes(HOT) is None


def test_an_interpreter_with_another_layout_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type_cache, "VERSION_OFFSET", type_cache.VERSION_OFFSET + 8)
    assert not is_known()


def test_every_hot_method_is_a_function() -> None:
    methods = [getattr(cls, method) for cls, methods in HOT.items() for method in methods]
    assert all(isinstance(method, FunctionType) for method in methods)
    assert {"deadline", "idle_deadline", "head_cache", "get"} <= set(attribute_names_used(HOT))


def test_attributes_are_methods_slots_and_assigned_names() -> None:
    class Base:
        def set_up(self) -> None:
            self.assigned = 1

    class Derived(Base):
        __slots__ = ("slot",)

    assert {"set_up", "assigned", "slot"} <= set(attributes(Derived))


def test_names_in_use_are_found_without_running_code_of_objects() -> None:
    class Proxy:
        @property
        def __class__(self) -> type:  # type: ignore[override]
            raise AssertionError("__class__ was read")

        def a_method_of_the_proxy(self) -> object:
            return sys.an_attribute_of_sys  # type: ignore[attr-defined]

    proxy, module = Proxy(), ModuleType("module")
    vars(module)["a_name_of_the_module"] = 0
    assert gc.is_tracked(proxy)
    names = {"a_method_of_the_proxy", "an_attribute_of_sys", "a_name_of_the_module"}
    assert names <= names_in_use()


# Elsewhere there is nothing to test, and a skip counts as a failure.
if IS_KNOWN_HERE:

    class TestSlots:
        def test_a_changed_class_and_its_subclasses_have_new_versions(self) -> None:
            base = make("Base")
            derived = type("Derived", (base,), {})
            before = version(base), version(derived)
            bump_version(base)
            assert min(version(base), version(derived)) > max(before)

        def test_names_that_share_a_slot_are_slow(self) -> None:
            """The premise of the module: two lookups in one slot take more than 1.3 times as long (measured: 1.65)."""
            first, second = make("First"), make("Second")
            one, other = next(clashes(first, second))
            free = next(
                name for name in NAMES if cache_slot(second, name) not in {cache_slot(first, name) for name in NAMES}
            )
            names = {"a": first(), "b": second()}
            sharing, clear = (timeit.Timer(f"a.{one}; b.{name}", globals=names) for name in (other, free))
            # Short alternating runs: both see the same machine, and some runs are undisturbed.
            costs = [(sharing.timeit(4000), clear.timeit(4000)) for _ in range(50)]
            assert min(cost for cost, _ in costs) > 1.3 * min(cost for _, cost in costs)

        def test_two_classes_are_separated(self) -> None:
            def method(self: object) -> None:
                for name in NAMES:
                    getattr(self, name)

            method.__code__ = method.__code__.replace(co_names=(*method.__code__.co_names, *NAMES))
            first = type("First", (), {**dict.fromkeys(NAMES, 0), "method": method})
            second = make("Second")
            next(clashes(first, second))
            separate_hot_classes({first: ("method",), second: ()})
            assert all(one == other for one, other in shared({first: NAMES, second: NAMES}))

        def test_a_class_is_separated_from_lookups_on_modules(self) -> None:
            module = ModuleType("module")
            vars(module).update(dict.fromkeys(FAR, 0))
            code = version.__code__.replace(co_names=("module", *FAR))
            method = FunctionType(code, {"module": module})
            cls = type("First", (), {**dict.fromkeys(FAR, 0), "method": method})
            next(clashes(ModuleType, cls, FAR))
            separate_hot_classes({cls: ("method",)})
            assert {cache_slot(ModuleType, name) for name in FAR}.isdisjoint(cache_slot(cls, name) for name in FAR)

        def test_the_request_path_is_separated(self) -> None:
            """In a process of its own: in this one, tests may have used up the versions that a class can have."""
            program = "from tests.runtime.test_type_cache import find_collisions; print(find_collisions())"
            done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
            assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr

        def test_names_interned_apart_avoid_each_other_and_earlier_names(self) -> None:
            early = [sys.intern(f"early_{number}") for number in range(200)]
            late = [f"_late_{number}" for number in range(400)]
            assert set(intern_apart([*late, *early])) == set(late)
            parts = {address_part(sys.intern(name)) for name in late}
            assert len(parts) == len(late)
            assert parts.isdisjoint(map(address_part, early))
            assert intern_apart(late) == []

        def test_separating_again_changes_nothing(self) -> None:
            separate_hot_classes(HOT)
            before = [version(cls) for cls in HOT]
            separate_hot_classes(HOT)
            assert [version(cls) for cls in HOT] == before


def find_collisions() -> list[tuple[str, str]]:
    """Separate the classes of the request path; return those whose names share a slot all the same."""
    import_module("mreactor.server")
    left = separate_hot_classes(HOT)
    used = {*IMPLICIT_NAMES, *attribute_names_used(HOT)}
    names = {cls: sorted(used & set(attributes(cls))) for cls in HOT}
    fixed = {cls: used & {"__class__", *vars(cls)} for cls in FIXED}
    for cls, name in lookups_on_metatypes(HOT):
        fixed.setdefault(cls, set()).add(name)
    names |= {cls: sorted(found) for cls, found in fixed.items()}
    pairs = shared(names)
    assert left is not None
    assert left <= len(pairs)
    # A version cannot separate two names of one class, or the names of the interpreter's own types.
    return [(one.__name__, other.__name__) for one, other in pairs if one != other and not {one, other} <= set(fixed)]


def clashes(first: type, second: type, names: list[str] = NAMES) -> Iterator[tuple[str, str]]:
    """Yield names of two classes that share a slot, giving the second class new versions until some do."""
    for _ in range(900):
        slots = {cache_slot(first, name): name for name in names}
        for name in names:
            if cache_slot(second, name) in slots:
                yield slots[cache_slot(second, name)], name
        bump_version(second)
    pytest.fail("40 names never met 40 others")


def shared(names: dict[type, list[str]]) -> list[tuple[type, type]]:
    """Return the types of each two names that share a slot."""
    by_slot: dict[int, type] = {}
    pairs = []
    for cls, own in names.items():
        for name in own:
            other = by_slot.setdefault(cache_slot(cls, name), cls)
            meetings = sum(cache_slot(cls, name) == cache_slot(cls, mine) for mine in own)
            if other is not cls or meetings > 1:
                pairs.append((other, cls))
    return pairs
