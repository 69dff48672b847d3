"""Random histories against what must always hold: the shapes, the counters, and exclusion."""

from __future__ import annotations

import asyncio
import json
import uuid

from concurrent_locks import LockManager
from hypothesis import given, settings
from hypothesis import strategies as st
from test_contract_shapes import STATISTICS, STATUS, assert_shape

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63)
STEP = st.tuples(
    st.sampled_from(["read", "write"]),
    st.sampled_from([0, 0.0001, None]),  # one try, hardly any time, for ever
    st.integers(0, 3),  # suspensions inside
    st.sampled_from(["leave", "raise", "cancel"]),
)


async def act(manager: LockManager, name: str, step: tuple[str, float | None, int, str], inside: list[str]) -> str:
    mode, timeout, pauses, end = step
    try:
        async with getattr(manager, f"{mode}_lock")(name, timeout=timeout):
            inside.append(mode)
            assert inside.count("write") == 0 or len(inside) == 1, inside
            try:
                for _ in range(pauses):
                    await asyncio.sleep(0)
                if end == "raise":
                    raise KeyError
            finally:
                inside.remove(mode)
    except TimeoutError:
        return "timeout" if timeout else "refused at once"
    except KeyError:
        pass
    return "entered"


async def run(manager: LockManager, name: str, steps: list[tuple[str, float | None, int, str]]) -> list[object]:
    inside: list[str] = []
    tasks = [asyncio.create_task(act(manager, name, step, inside)) for step in steps]
    await asyncio.sleep(0)
    for task, step in zip(tasks, steps, strict=True):
        if step[3] == "cancel":
            task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_any_history_leaves_a_free_lock_and_true_counters(steps: list[tuple[str, float | None, int, str]]) -> None:
    manager, name = LockManager("local:tests"), uuid.uuid4().hex
    outcomes = asyncio.run(run(manager, name, steps))
    assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
    shown = manager.get_lock_status(name).get(name)
    if shown is not None:
        assert_shape(shown, STATUS)
        assert (shown["readers"], shown["writer_active"], shown["pending_requests"]) == (0, False, 0)
    locks = manager.get_statistics(name).get("locks", {})
    for statistics in locks.values():
        assert_shape(statistics, STATISTICS)
        assert statistics["total_acquisitions"] == statistics["total_releases"]
        assert (statistics["current_holders"], statistics["current_waiters"]) == (0, 0)
        kinds = [each["type"] for each in statistics["recent_operations"]]
        assert kinds.count("acquire") == statistics["total_acquisitions"]
        assert kinds.count("release") == statistics["total_releases"]
        assert kinds.count("timeout") <= statistics["total_timeouts"]  # who would not wait at all is only counted
    times = outcomes.count("timeout"), outcomes.count("refused at once")
    assert sum(each["total_timeouts"] for each in locks.values()) == sum(times)
    listed = [each["type"] for statistics in locks.values() for each in statistics["recent_operations"]]
    assert listed.count("timeout") >= times[0]


@settings(max_examples=100, deadline=None)
@given(NAMES)
def test_any_text_is_a_name(name: str) -> None:
    manager = LockManager("local:names")
    with manager.write_lock(name):
        assert manager.get_lock_status(name)[name]["writer_active"]
    assert json.loads(json.dumps(manager.get_statistics(name)))["resource_name"] == name
    assert name in manager.get_statistics()
