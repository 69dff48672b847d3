"""Each defect of the old module: we do not have it, and the check would notice."""

from __future__ import annotations

import asyncio
import inspect
from types import ModuleType

import concurrent_locks
import old_shape
import pytest
from defects import CHECKS, Check


def put(check: Check, locks: ModuleType) -> None:
    outcome = check(locks)
    if inspect.iscoroutine(outcome):
        asyncio.run(outcome)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_we_do_not_have_it(check: Check) -> None:
    put(check, concurrent_locks)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_old_one_has_it(check: Check) -> None:
    with pytest.raises(AssertionError):
        put(check, old_shape)
