"""Calls that are executed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lenswatch.server.http.groups import MOST, MOST_BYTES, Groups


class Recorder:
    """Executes numbers by doubling them, once it is let; odd hundreds are refused."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.open = asyncio.Event()

    async def execute(self, calls: Sequence[int]) -> Sequence[int | Exception]:
        self.seen.append(list(calls))
        await self.open.wait()
        if 13 in calls:
            raise RuntimeError("unlucky")
        return [ValueError(str(call)) if call == 7 else 2 * call for call in calls]


def test_calls_that_come_meanwhile_are_the_next_group() -> None:
    async def run() -> tuple[list[list[int]], list[int]]:
        recorder = Recorder()
        groups = Groups(recorder.execute)
        tasks = [asyncio.create_task(groups.run("a", 1))]
        while not recorder.seen:
            await asyncio.sleep(0)
        tasks += [asyncio.create_task(groups.run("a", number)) for number in (2, 3, 4)]
        await asyncio.sleep(0)
        recorder.open.set()
        return recorder.seen, await asyncio.gather(*tasks)

    seen, results = asyncio.run(run())
    assert (seen, results) == ([[1], [2, 3, 4]], [2, 4, 6, 8])


def test_calls_of_different_keys_do_not_wait_for_each_other() -> None:
    async def run() -> list[list[int]]:
        recorder = Recorder()
        groups = Groups(recorder.execute)
        tasks = [asyncio.create_task(groups.run(key, 1)) for key in ("a", "b")]
        while len(recorder.seen) < 2:
            await asyncio.sleep(0)
        recorder.open.set()
        await asyncio.gather(*tasks)
        return recorder.seen

    assert asyncio.run(run()) == [[1], [1]]


def test_a_group_is_not_larger_than_the_most() -> None:
    async def run() -> list[int]:
        recorder = Recorder()
        recorder.open.set()
        groups = Groups(recorder.execute)
        await asyncio.gather(*(groups.run("a", 1) for _ in range(2 * MOST + 1)))
        return [len(calls) for calls in recorder.seen]

    assert asyncio.run(run()) == [MOST, MOST, 1]


def test_large_calls_do_not_share_a_group() -> None:
    async def run() -> list[list[int]]:
        recorder = Recorder()
        recorder.open.set()
        groups = Groups(recorder.execute, lambda call: call)
        sizes = (2, MOST_BYTES, MOST_BYTES // 2, MOST_BYTES // 2, 2 * MOST_BYTES)
        await asyncio.gather(*(groups.run("a", size) for size in sizes))
        return [[sizes.index(size) for size in calls] for calls in recorder.seen]

    assert asyncio.run(run()) == [[0], [1], [2, 2], [4]]


def test_each_call_gets_its_own_error() -> None:
    async def run() -> list[int | BaseException]:
        recorder = Recorder()
        recorder.open.set()
        groups = Groups(recorder.execute)
        return await asyncio.gather(
            *(groups.run("a", number) for number in (6, 7, 8)), return_exceptions=True
        )

    first, second, third = asyncio.run(run())
    assert (first, third) == (12, 16)
    assert isinstance(second, ValueError)


def test_an_error_of_the_group_is_raised_by_each_and_ends_nothing() -> None:
    async def run() -> int:
        recorder = Recorder()
        recorder.open.set()
        groups = Groups(recorder.execute)
        both = await asyncio.gather(
            *(groups.run("a", number) for number in (13, 1)), return_exceptions=True
        )
        assert [str(error) for error in both] == ["unlucky", "unlucky"]
        return await groups.run("a", 2)

    assert asyncio.run(run()) == 4


def test_a_call_that_is_cancelled_leaves_the_others() -> None:
    async def run() -> int:
        recorder = Recorder()
        groups = Groups(recorder.execute)
        gone = asyncio.create_task(groups.run("a", 1))
        stays = asyncio.create_task(groups.run("a", 2))
        while not recorder.seen:
            await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        recorder.open.set()
        return await stays

    assert asyncio.run(run()) == 4
