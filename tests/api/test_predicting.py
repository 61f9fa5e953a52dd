"""Requests for a verdict, around a stand-in for DEEPaaS and its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lenswatch.api.ending import Ending
from lenswatch.api.predicting import Predicting
from lenswatch.api.workers.model_pool import EVENT_ID

from conftest import small_config
from lenswatch.config import Config, TrackingConfig
from lenswatch.errors import ArtefactError, InputError, WorkerError
from lenswatch.node.request import open_store
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer
from lenswatch.outbox.rows import OutboxRows

# The class of field that deepaas-cli needs.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:marshmallow.warnings.ChangedInMarshmallow4Warning"
)

PATH = "/v2/models/lenswatch/predict/"
Client = TestClient[web.Request, web.Application]


def lost(*, died: bool = True, retry_after: float = 5.0) -> WorkerError:
    error = WorkerError("the worker process with this call was killed by SIGSEGV")
    error.died, error.retry_after = died, retry_after
    return error


class Workers:
    """The fates of the calls, in their order; after that all are judged."""

    def __init__(self, *outcomes: Exception | Callable[[], Any]) -> None:
        self.outcomes = list(outcomes)
        self.events: list[str | None] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.events.append(EVENT_ID.get())
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            await outcome()
        return web.json_response({"drift": False, "event_id": EVENT_ID.get()})


@pytest.fixture
def config(tmp_path: Any) -> Config:
    """Settings of a node whose tracking server is down."""
    return small_config(tmp_path, tracking=TrackingConfig(url="http://127.0.0.1:9"))


@pytest.fixture
def store(config: Config) -> NodeStore:
    """The node's database."""
    return open_store(config)


def serving(
    config: Config,
    store: NodeStore,
    workers: Workers,
    play: Callable[[Client], Awaitable[Any]],
    *,
    names_calls: bool = True,
) -> None:
    """Run `play` with a client of a server that has these workers."""
    predicting = Predicting(config, lambda: store, names_calls=names_calls)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await predicting.answer(request, workers)

    async def run() -> None:
        app = web.Application()
        app.router.add_post(PATH, answer)
        async with TestClient(TestServer(app)) as client, asyncio.timeout(60):
            await play(client)

    asyncio.run(run())


async def post(client: Client, data: bytes = b"picture", **fields: str) -> Any:
    """Send a picture, and return status, body and Retry-After."""
    form = aiohttp.FormData(fields)
    form.add_field("input_file", data, filename="a.jpg")
    async with client.post(PATH, data=form) as reply:
        return reply.status, await reply.json(), reply.headers.get("Retry-After")


def failed_jobs(store: NodeStore) -> list[str]:
    """Return the event ids of the recorded Failed jobs."""
    jobs = [row.job for row in OutboxRows(store).due(100)]
    assert {job["job_status"] for job in jobs} <= {"Failed"}
    return [job["parameters"]["event_id"] for job in jobs]


def test_a_lost_request_is_told_when_and_how_to_try_again(config: Config, store: NodeStore) -> None:
    workers = Workers(lost(), lost(retry_after=12.3))

    async def play(client: Client) -> None:
        status, told, after = await post(client)
        assert (status, after) == (503, "5")
        assert told["event_id"] == workers.events[0]
        assert told["message"] == (
            "the worker process with this call was killed by SIGSEGV; nothing was recorded: send the picture "
            f"again with event_id={told['event_id']}"
        )
        assert await post(client, event_id="mine") == (
            503,
            told
            | {
                "event_id": "mine",
                "message": told["message"].replace(told["event_id"], "mine"),
            },
            "13",
        )
        status, judged, _ = await post(client, event_id=told["event_id"])
        assert (status, judged["event_id"]) == (200, told["event_id"])
        assert workers.events == [told["event_id"], "mine", told["event_id"]]

    serving(config, store, workers, play)
    assert failed_jobs(store) == []


def test_a_request_that_was_judged_before_its_worker_died_gets_its_verdict(
    config: Config, store: NodeStore
) -> None:
    async def judge_and_die() -> None:
        event_id = EVENT_ID.get()
        assert event_id is not None
        with store.begin() as transaction:
            transaction.put_answer(
                event_id, Answer("judged", {"event_id": event_id, "drift": True})
            )
        raise lost()

    async def play(client: Client) -> None:
        status, told, _ = await post(client)
        assert (status, told["drift"], told["event_id"]) == (200, True, workers.events[0])

    workers = Workers(judge_and_die)
    serving(config, store, workers, play)


def test_three_deaths_for_one_event_refuse_it(config: Config, store: NodeStore) -> None:
    workers = Workers(lost(), lost(), lost())

    async def play(client: Client) -> None:
        _, told, _ = await post(client)  # the caller learns the event id
        event_id = told["event_id"]
        assert (await post(client, event_id=event_id))[0] == 503
        status, told, after = await post(client, event_id=event_id)
        assert (status, told["event_id"], after) == (422, event_id, None)
        assert told["message"].startswith("3 worker processes ended while they judged this picture")
        assert await post(client, event_id=event_id) == (422, told, None)
        assert failed_jobs(store) == [event_id]
        assert (await post(client, event_id="other"))[0] == 200  # the same picture
        assert workers.events == [event_id] * 3 + ["other"]

    serving(config, store, workers, play)


def test_a_picture_without_an_event_id_is_known_by_its_content(
    config: Config, store: NodeStore
) -> None:
    workers = Workers(lost(), lost(), lost())

    async def play(client: Client) -> None:
        assert [(await post(client))[0] for _ in range(4)] == [503, 503, 422, 422]
        assert len(workers.events) == 3  # the fourth was not tried
        assert len(set(failed_jobs(store))) == 2
        assert (await post(client, b"another"))[0] == 200

    serving(config, store, workers, play)


def test_a_camera_that_is_frozen_is_not_blamed_for_events_with_names(
    config: Config, store: NodeStore
) -> None:
    workers = Workers(*(lost() for _ in range(6)))

    async def play(client: Client) -> None:
        replies = [await post(client, event_id=f"e{i}") for i in range(6)]
        assert [status for status, *_ in replies] == [503] * 6

    serving(config, store, workers, play)


def test_a_verdict_ends_the_count(config: Config, store: NodeStore) -> None:
    async def fine() -> None:
        return

    workers = Workers(lost(), lost(), fine, lost(), lost())

    async def play(client: Client) -> None:
        assert [(await post(client))[0] for _ in range(6)] == [503, 503, 200, 503, 503, 200]

    serving(config, store, workers, play)


def test_pictures_that_are_lost_together_are_not_blamed(config: Config, store: NodeStore) -> None:
    """As when memory runs out while a frozen camera sends."""
    everybody = asyncio.Event()

    async def die_together() -> None:
        if len(workers.events) == 4:
            everybody.set()
        await everybody.wait()
        raise lost()

    workers = Workers(*[die_together] * 4)

    async def play(client: Client) -> None:
        replies = await asyncio.gather(*(post(client) for _ in range(4)))
        assert [status for status, *_ in replies] == [503] * 4
        assert (await post(client))[0] == 200

    serving(config, store, workers, play)


def test_deaths_that_we_brought_about_do_not_count(config: Config, store: NodeStore) -> None:
    workers = Workers(*(lost(died=False) for _ in range(4)))

    async def play(client: Client) -> None:
        assert [(await post(client, event_id="e"))[0] for _ in range(5)] == [503] * 4 + [200]

    serving(config, store, workers, play)


def test_a_refusal_of_the_worker_names_its_event(config: Config, store: NodeStore) -> None:
    workers = Workers(InputError("a.jpg: not a picture"), ArtefactError("there is no reference"))

    async def play(client: Client) -> None:
        told = {"message": "a.jpg: not a picture", "event_id": "e"}
        assert await post(client, event_id="e") == (422, told, None)
        told = {
            "message": "there is no reference; nothing was recorded: send the picture again with event_id=e",
            "event_id": "e",
        }
        assert await post(client, event_id="e") == (503, told, "30")

    serving(config, store, workers, play)


def test_beside_deepaas_own_pool_no_event_id_is_promised(config: Config, store: NodeStore) -> None:
    workers = Workers(InputError("no"))

    async def play(client: Client) -> None:
        assert await post(client) == (422, {"message": "no"}, None)
        assert workers.events == [None]

    serving(config, store, workers, play, names_calls=False)


def test_a_server_that_ends_refuses_what_still_comes() -> None:
    ending = Ending()

    async def run() -> None:
        go_on = asyncio.Event()

        async def answer(request: web.Request) -> web.Response:
            await request.read()
            await go_on.wait()
            return web.Response(text="done")

        async def slow_body() -> Any:
            yield b"begun"
            await go_on.wait()

        async def handle(request: web.Request) -> web.StreamResponse:
            return await ending.handle(request, answer)

        app = web.Application()
        app.router.add_post("/", handle)
        async with TestClient(TestServer(app)) as client, asyncio.timeout(60):
            whole = asyncio.create_task(client.post("/", data=b"whole"))
            half = asyncio.create_task(client.post("/", data=slow_body()))
            while len(ending._running) < 2:
                await asyncio.sleep(0.01)
            ending.begin(4.0)
            reply = await half
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
            assert (await client.post("/", data=b"late")).status == 503
            go_on.set()
            assert await (await whole).text() == "done"

    asyncio.run(run())
