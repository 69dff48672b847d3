"""Resource names made from the arguments of a call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from concurrent_locks import distributed_lock, get_lock_manager, read_lock, write_lock
from facts import is_free


def held(name: str) -> bool:
    return not is_free(get_lock_manager(), name)


class Store:
    def __init__(self, db_path: Path) -> None:
        self.db_path = db_path

    @read_lock("episodic_db:{self.db_path.name}")
    def query(self) -> bool:
        return held(f"episodic_db:{self.db_path.name}")


def test_an_attribute_of_self(tmp_path: Path) -> None:
    assert Store(tmp_path / "one.db").query()
    assert Store(tmp_path / "two.db").query()
    assert not held("episodic_db:one.db")


CASES: list[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    ("t:{a}", lambda a, b=2: None, (1,), {}, "t:1"),
    ("t:{a}", lambda a, b=2: None, (), {"a": 1}, "t:1"),
    ("t:{b}", lambda a, b=2: None, (1,), {}, "t:2"),
    ("t:{b}", lambda a, b=2: None, (1, 5), {}, "t:5"),
    ("t:{c}", lambda a, *, c=3: None, (1,), {"c": 7}, "t:7"),
    ("t:{c}", lambda a, *, c=3: None, (1,), {}, "t:3"),
    ("t:{a}-{b}", lambda a, b: None, ("x", "y"), {}, "t:x-y"),
    ("t:{a.b.c}", lambda a: None, (SimpleNamespace(b=SimpleNamespace(c="deep")),), {}, "t:deep"),
    ("t:{{a}}", lambda a: None, (1,), {}, "t:{a}"),
]


@pytest.mark.parametrize(("template", "function", "args", "kwargs", "expected"), CASES)
def test_templates(
    template: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], expected: str
) -> None:
    get_lock_manager().reset_statistics(expected)
    write_lock(template)(function)(*args, **kwargs)
    assert get_lock_manager().get_statistics(expected)["locks"]["write"]["total_acquisitions"] == 1


@pytest.mark.parametrize(
    "template",
    ["{missing}", "{self.x}", "{a[0]}", "{a.__class__}", "{a.b.__dict__}", "{}", "{0}", "{a", "a}", "{a:03d}", "{a!r}"],
)
@pytest.mark.parametrize("decorator", [read_lock, write_lock, distributed_lock])
def test_what_cannot_work_is_refused_when_decorated(decorator: Any, template: str) -> None:
    with pytest.raises((TypeError, ValueError)):

        @decorator(template)
        def section(a: int) -> None:
            pass


def test_a_callable_makes_the_name(name: str) -> None:
    @write_lock(lambda account, amount: f"{name}:{account}")
    def deposit(account: str, amount: int) -> bool:
        return held(f"{name}:{account}") and not held(f"{name}:other")

    assert deposit("ann", 5)
    assert deposit("bob", amount=5)


async def test_a_callable_on_an_async_method(name: str) -> None:
    class Account:
        def lock_name(self) -> str:
            return name

        @write_lock(lock_name)
        async def deposit(self) -> bool:
            return held(name)

    assert await Account().deposit()


def test_a_callable_that_returns_no_text_is_refused(name: str) -> None:
    @write_lock(lambda: 5)  # type: ignore[arg-type, return-value]
    def section() -> None:
        pass

    with pytest.raises(TypeError):
        section()


def test_an_attribute_that_is_missing_at_the_call_is_an_error(name: str) -> None:
    @write_lock("t:{a.missing}")
    def section(a: object) -> None:
        pytest.fail("entered without a name")

    with pytest.raises(AttributeError, match="missing"):
        section(object())


def test_a_missing_argument_is_the_usual_error() -> None:
    @write_lock("t:{a}")
    def section(a: int) -> None:
        pass

    with pytest.raises(TypeError, match="'a'"):
        section()  # type: ignore[call-arg]
