"""The worker pool, with processes that are killed."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from lenswatch.api.workers import pace as paces
from lenswatch.api.workers import pool as pools
from lenswatch.api.workers.pool import WorkerPool
from lenswatch.api.workers.process import Worker

from lenswatch.errors import WorkerError
from support import worker_calls as calls

pytestmark = pytest.mark.slow  # each worker is a new process

SECONDS = 60


def pooled(
    play: Callable[[WorkerPool], Awaitable[Any]],
    n: int = 1,
    warm: Callable[[], object] | None = None,
) -> Any:
    """Run `play` with a pool of `n` processes, and see that none is left."""

    async def run() -> Any:
        before = set(psutil.Process().children())
        pool = WorkerPool(n, warm)
        try:
            async with asyncio.timeout(2 * SECONDS):
                return await play(pool)
        finally:
            pool.shutdown()
            left = [child for child in psutil.Process().children() if child not in before]
            assert [c for c in left if "spawn_main" in " ".join(c.cmdline())] == []

    return asyncio.run(run())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def held(folder: Path, name: str = "call") -> Callable[[], int]:
    """Return a call that begins with the file NAME, and ends when NAME.end exists."""
    return partial(calls.begin_and_wait, folder / name, folder / f"{name}.end")


def test_results_and_errors_come_back() -> None:
    async def play(pool: WorkerPool) -> None:
        assert await pool.apply(calls.pid) == pool.states()[0].pid
        with pytest.raises(ValueError, match="too late") as raised:
            await pool.apply(partial(calls.fail, "too late"))
        assert str(raised.value) == "too late"
        assert "worker_calls.py" in raised.value.__notes__[0]
        with pytest.raises(RuntimeError, match="Unportable: 7: seven"):
            await pool.apply(calls.fail_unportably)
        with pytest.raises((RuntimeError, AttributeError), match="lambda"):
            await pool.apply(calls.unpicklable)
        assert pool.states()[0].restarts == 0

    pooled(play)


def test_calls_run_beside_each_other_and_wait_in_order(tmp_path: Path) -> None:
    async def play(pool: WorkerPool) -> None:
        first, second = (asyncio.create_task(pool.apply(held(tmp_path, name))) for name in "ab")
        await until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
        ended: list[int] = []
        waiting = [asyncio.create_task(pool.apply(calls.pid)) for _ in range(3)]
        for i, task in enumerate(waiting):
            task.add_done_callback(lambda _, i=i: ended.append(i))  # type: ignore[misc]
        await asyncio.sleep(0)
        (tmp_path / "a.end").touch()
        assert await asyncio.gather(*waiting) == [await first] * 3
        assert ended == [0, 1, 2]
        (tmp_path / "b.end").touch()
        assert await second != await first

    pooled(play, n=2)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_call_whose_process_is_killed_fails_and_the_next_is_answered(by: signal.Signals) -> None:
    async def play(pool: WorkerPool) -> None:
        with pytest.raises(WorkerError, match=by.name) as raised:
            await pool.apply(partial(calls.die, by))
        assert raised.value.died
        assert isinstance(await pool.apply(calls.pid), int)
        assert [state.restarts for state in pool.states()] == [1]

    pooled(play)


def test_a_call_that_ends_its_process_fails() -> None:
    async def play(pool: WorkerPool) -> None:
        with pytest.raises(WorkerError, match="ended with exit code 1"):
            await pool.apply(calls.leave)

    pooled(play)


def test_a_call_that_a_killed_process_never_began_is_given_to_the_next() -> None:
    async def play(pool: WorkerPool) -> None:
        first = await pool.apply(calls.pid)
        os.kill(first, signal.SIGSTOP)  # it cannot take the call
        waiting = asyncio.create_task(pool.apply(calls.pid))
        await until(lambda: pool.states()[0].busy)
        os.kill(first, signal.SIGKILL)
        assert await waiting != first

    pooled(play)


def test_every_call_gets_its_own_answer_when_a_process_dies_as_it_answers() -> None:
    async def play(pool: WorkerPool) -> None:
        await pool.apply(calls.pid)
        first = asyncio.create_task(pool.apply(partial(calls.answer_and_die, 1, 0.3)))
        others = [asyncio.create_task(pool.apply(partial(calls.echo, i))) for i in (2, 3)]
        await until(lambda: pool.states()[0].busy)
        time.sleep(1.5)  # the event loop learns of the answer and of the death at once
        assert await first == 1
        assert await asyncio.gather(*others) == [2, 3]
        assert await pool.apply(partial(calls.echo, 4)) == 4
        assert pool.states()[0].restarts == 1

    pooled(play)


def test_a_process_that_hangs_before_it_takes_a_call_is_replaced_and_the_call_is_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pools, "BEGIN_SECONDS", 0.3)

    async def play(pool: WorkerPool) -> None:
        first = await pool.apply(calls.pid, SECONDS)
        os.kill(first, signal.SIGSTOP)
        assert await pool.apply(calls.pid, SECONDS) != first
        assert pool.states()[0].restarts == 1

    pooled(play)
    assert "did not take a call within 0.3 s; a new one starts" in caplog.text


def test_a_call_that_no_process_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "BEGIN_SECONDS", 0.1)
    monkeypatch.setattr(pools, "HAND_ON_SECONDS", 0.2)

    async def play(pool: WorkerPool) -> None:
        with pytest.raises(WorkerError, match="no worker process took the call") as raised:
            await pool.apply(calls.pid, SECONDS)
        assert "did not take a call within 0.1 s" in str(raised.value)
        assert not raised.value.died
        assert pool.states()[0].restarts >= 1

    pooled(play, warm=calls.take_no_call)


def test_a_call_that_was_taken_may_last_longer_than_the_time_to_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "BEGIN_SECONDS", 2.0)  # a time that a busy machine needs, too

    async def play(pool: WorkerPool) -> None:
        first = await pool.apply(calls.pid)
        running = asyncio.create_task(pool.apply(held(tmp_path), SECONDS))
        await until(lambda: pool.states()[0].busy_seconds > 2.5)
        (tmp_path / "call.end").touch()
        assert await running == first

    pooled(play)


def test_a_call_that_takes_far_longer_than_usual_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(paces, "UNKNOWN_SECONDS", 0.1)

    async def play(pool: WorkerPool) -> None:
        await until(lambda: pool.states()[0].ready)
        training = asyncio.create_task(pool.apply(held(tmp_path, "training")))
        await until(lambda: pool.states()[0].busy_seconds > 0.2)
        assert not pool.states()[0].slow
        (tmp_path / "training.end").touch()
        await training
        running = asyncio.create_task(pool.apply(held(tmp_path), SECONDS))
        await until(lambda: pool.states()[0].slow)
        (tmp_path / "call.end").touch()
        await running
        assert not pool.states()[0].slow

    pooled(play)
    assert [r.levelname for r in caplog.records if "far longer than usual" in r.message] == [
        "WARNING"
    ]


def test_a_process_that_is_killed_while_it_is_idle_costs_no_call() -> None:
    async def play(pool: WorkerPool) -> None:
        first = await pool.apply(calls.pid)
        os.kill(first, signal.SIGKILL)
        assert await pool.apply(calls.pid) != first
        await until(lambda: pool.states()[0].restarts == 1)

    pooled(play)


def test_the_other_processes_go_on_while_one_is_replaced(tmp_path: Path) -> None:
    async def play(pool: WorkerPool) -> None:
        running = asyncio.create_task(pool.apply(held(tmp_path)))
        await until(lambda: (tmp_path / "call").exists())
        with pytest.raises(WorkerError):
            await pool.apply(partial(calls.die, signal.SIGKILL))
        (tmp_path / "call.end").touch()
        one = await running
        assert await pool.apply(calls.pid) == one  # the other one is still starting
        await until(lambda: all(state.ready for state in pool.states()))
        assert sorted(state.restarts for state in pool.states()) == [0, 1]

    pooled(play, n=2)


def test_a_cancelled_call_ends_its_process_and_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(pool: WorkerPool) -> None:
        running = asyncio.create_task(pool.apply(held(tmp_path)))
        await until(lambda: (tmp_path / "call").exists())
        waiting = asyncio.create_task(pool.apply(calls.pid))
        given_up = asyncio.create_task(pool.apply(calls.pid))
        await asyncio.sleep(0)
        given_up.cancel()
        running.cancel()
        for task in (running, given_up):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert isinstance(await waiting, int)

    with caplog.at_level("INFO", "lenswatch"):
        pooled(play)
    assert [(r.levelname, "was cancelled" in r.message) for r in caplog.records] == [("INFO", True)]


def test_a_call_that_is_cancelled_as_it_ends_leaves_its_process_to_the_next(tmp_path: Path) -> None:
    async def play(pool: WorkerPool) -> None:
        first = asyncio.create_task(pool.apply(held(tmp_path)))
        await until(lambda: (tmp_path / "call").exists())
        second = asyncio.create_task(pool.apply(held(tmp_path, "next")))
        await asyncio.sleep(0)
        worker = pool._places[0].worker
        assert worker is not None
        assert worker._answer is not None
        worker._answer.add_done_callback(lambda _: first.cancel())
        (tmp_path / "call.end").touch()
        with pytest.raises(asyncio.CancelledError):
            await first
        (tmp_path / "next.end").touch()
        assert await second == worker.pid

    pooled(play)


def test_a_call_that_takes_too_long_ends_its_process(tmp_path: Path) -> None:
    async def play(pool: WorkerPool) -> None:
        await pool.apply(calls.pid)
        with pytest.raises(WorkerError, match=r"took more than 0\.2 s") as raised:
            await pool.apply(held(tmp_path), 0.2)
        assert raised.value.died
        assert await pool.apply(calls.pid, SECONDS)

    pooled(play)


def test_a_process_is_prepared_before_it_takes_a_call(tmp_path: Path) -> None:
    async def play(pool: WorkerPool) -> None:
        for restarts in range(2):
            assert pool.states()[0].ready is False
            waiting = asyncio.create_task(pool.apply(partial(calls.die, signal.SIGKILL)))
            await until((tmp_path / "warm").exists)
            assert pool.states()[0].ready is False
            (tmp_path / "warm").unlink()
            (tmp_path / "warm.end").touch()
            with pytest.raises(WorkerError):
                await waiting
            (tmp_path / "warm.end").unlink()
            assert pool.states()[0].restarts == restarts + 1
        (tmp_path / "warm.end").touch()

    pooled(play, warm=held(tmp_path, "warm"))


def test_a_preparation_that_fails_is_left_to_the_calls() -> None:
    async def play(pool: WorkerPool) -> None:
        assert isinstance(await pool.apply(calls.pid), int)

    pooled(play, warm=calls.not_prepared)


def test_processes_that_never_are_ready_are_started_more_and_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pools, "LONGEST_PAUSE_SECONDS", 0.3)
    full = tmp_path / "memory is full"
    full.touch()

    async def play(pool: WorkerPool) -> None:
        with pytest.raises(WorkerError, match=r"next one starts in \d s; the server") as waited:
            await pool.apply(calls.pid)
        assert waited.value.retry_after > pools.RETRY_SECONDS
        assert not waited.value.died
        with pytest.raises(WorkerError):  # at once, instead of after the pause
            await pool.apply(calls.pid)
        assert pool.states()[0].pid is None
        assert pool.states()[0].short_seconds > 0
        assert not await pool.ping()
        full.unlink()
        await until(lambda: pool.states()[0].ready)
        assert isinstance(await pool.apply(calls.pid), int)
        assert pool.states()[0].short_seconds == 0

    pooled(play, warm=partial(calls.die_while, full))
    assert "next try in 0.3 s" in caplog.text


def test_starts_that_fail_seldom_are_followed_by_the_next_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pools, "FORGET_SECONDS", 0.0)
    full = tmp_path / "memory is full"
    full.touch()

    async def play(pool: WorkerPool) -> None:
        await until(lambda: pool.states()[0].restarts == pools.AT_ONCE + 1)
        full.unlink()
        assert isinstance(await pool.apply(calls.pid), int)

    pooled(play, warm=partial(calls.die_while, full))
    assert "next try" not in caplog.text


def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([OSError("no memory")])

    def start(*given: Any) -> Worker:
        for failure in failures:
            raise failure
        return Worker(*given)

    monkeypatch.setattr(pools, "Worker", start)

    async def play(pool: WorkerPool) -> None:
        assert isinstance(await pool.apply(calls.pid), int)
        assert [state.restarts for state in pool.states()] == [0]

    pooled(play)


def test_a_process_that_is_not_ready_in_time_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "START_SECONDS", 0.01)

    async def play(pool: WorkerPool) -> None:
        first = pool.states()[0].pid
        await until(lambda: pool.states()[0].pid not in (first, None))
        monkeypatch.setattr(pools, "START_SECONDS", SECONDS)

    pooled(play, warm=held(tmp_path))


def test_ping_asks_the_idle_ones_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    monkeypatch.setattr(pools, "PING", pickle.dumps(partial(calls.note_pid, asked)))

    async def play(pool: WorkerPool) -> None:
        assert not await pool.ping()  # all are starting
        await until(lambda: all(state.ready for state in pool.states()))
        for _ in range(4):
            assert await pool.ping()
        one, other, *again = asked.read_text().split()
        assert one != other
        assert again == [one, other]

    pooled(play, n=2)


def test_ping_replaces_a_process_that_does_not_answer() -> None:
    async def play(pool: WorkerPool) -> None:
        first = await pool.apply(calls.pid)
        os.kill(first, signal.SIGSTOP)
        assert not await pool.ping(0.2)
        assert await pool.apply(calls.pid) != first
        assert await pool.ping()

    pooled(play)


def test_ping_passes_over_a_process_that_has_just_died() -> None:
    async def play(pool: WorkerPool) -> None:
        await until(lambda: all(state.ready for state in pool.states()))
        for state in pool.states():
            assert state.pid is not None
            os.kill(state.pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(state.pid)], timeout=0.5)
        assert not await pool.ping()

    pooled(play, n=2)


def test_busy_processes_are_ready_and_not_asked(tmp_path: Path) -> None:
    async def play(pool: WorkerPool) -> None:
        running = asyncio.create_task(pool.apply(held(tmp_path)))
        await until(lambda: (tmp_path / "call").exists())
        assert await pool.ping(0.2)
        await until(lambda: pool.states()[0].busy_seconds > 0.2)
        (tmp_path / "call.end").touch()
        await running
        assert pool.states()[0].busy_seconds == 0

    pooled(play)


def test_finishing_waits_for_running_calls_up_to_a_time(tmp_path: Path) -> None:
    async def play(pool: WorkerPool) -> None:
        soon, never = (asyncio.create_task(pool.apply(held(tmp_path, name))) for name in "ab")
        await until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
        ending = asyncio.create_task(pool.finish(0.5))
        waiting = asyncio.create_task(pool.apply(held(tmp_path, "c")))
        await asyncio.sleep(0)
        (tmp_path / "a.end").touch()
        assert isinstance(await soon, int)
        await ending
        for error in await asyncio.gather(never, waiting, return_exceptions=True):
            assert isinstance(error, WorkerError)
            assert "the server" in str(error)
            assert not error.died
        with pytest.raises(WorkerError, match="the server is ending"):
            await pool.apply(calls.pid)

    pooled(play, n=2)


def test_the_parent_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    """The pool's processes end in the middle of a call, too."""
    script = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from functools import partial\n"
        "from lenswatch.api.workers.pool import WorkerPool\n"
        "from support.worker_calls import begin_and_wait\n"
        "async def main(folder):\n"
        "    pool = WorkerPool(2)\n"
        "    asyncio.create_task(pool.apply(partial(begin_and_wait, folder / 'begun', folder / 'never')))\n"
        "    while not (folder / 'begun').exists() or not all(s.ready for s in pool.states()):\n"
        "        await asyncio.sleep(0.01)\n"
        "    print(*(state.pid for state in pool.states()), flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main(Path(sys.argv[1])))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert parent.stdout is not None
    with parent:
        workers = [psutil.Process(int(word)) for word in parent.stdout.readline().split()]
        assert len(workers) == 2
        parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=SECONDS)
    assert alive == []
