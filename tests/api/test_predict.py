"""The DEEPaaS hooks, through a real deepaas-run with two workers."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from PIL import Image

from conftest import Camera, Served, deepaas_running, small_config, write_settings
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.rows import OutboxRows
from lenswatch.reference.paths import node_database
from support.samples import huge_png


def store_of(served: Served) -> NodeStore:
    return NodeStore(node_database(served.root / "storage"))


def job_of(served: Served, event_id: Any) -> Any:
    (row,) = [row for row in OutboxRows(store_of(served)).due(10_000) if row.event_id == event_id]
    return row.job


def worker_processes(served: Served) -> list[Any]:
    """Return the pool's processes without multiprocessing's resource tracker."""
    children = psutil.Process(served.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_the_answer_is_the_promised_json(deepaas: Served, camera: Camera) -> None:
    reply = deepaas.predict(camera(60), name="reef 1.jpg", stream="promised")
    assert reply.status_code == 200
    answer = reply.json()
    assert set(answer) >= {
        "drift",
        "warning",
        "distance",
        "drift_distance",
        "warning_distance",
        "window",
        "stream",
        "event_id",
        "model",
        "image_name",
    }
    assert answer["stream"] == "promised"
    assert answer["image_name"] == "reef 1.jpg"
    assert answer["window"] == {"filled": 1, "size": 12}


def test_two_workers_share_the_window(
    deepaas: Served, camera: Camera, trained_root: Path, tmp_path: Path
) -> None:
    """In memory they would diverge: each worker would see every second picture."""

    found = [deepaas.predict(camera(i), stream="shared").json()["distance"] for i in range(60, 80)]
    config = small_config(trained_root)
    alone = Node(config, NodeStore(tmp_path / "node.db"))
    assert found == [
        alone.observe(camera(i), Request(stream="shared"))["distance"] for i in range(60, 80)
    ]


def test_an_event_id_makes_a_retry_harmless(deepaas: Served, camera: Camera) -> None:
    first = deepaas.predict(camera(60), stream="retry", event_id="r-1").json()
    assert deepaas.predict(camera(61), stream="retry", event_id="r-1").json() == first
    assert [s.images for s in store_of(deepaas).streams() if s.stream == "retry"] == [1]


def test_given_distances_are_the_tutorials_rule(deepaas: Served, camera: Camera) -> None:
    answer = deepaas.predict(camera(60), stream="fixed", drift_distance="-1").json()
    assert answer["drift"] is True
    assert answer["drift_distance"] == -1.0


def test_arguments_may_come_in_the_query_too(deepaas: Served, camera: Camera) -> None:
    reply = requests.post(
        deepaas.predict_url,
        params={"stream": "query", "captured_at": "20260601T100000+0200"},
        files={"input_file": camera(60)},
        timeout=60,
    )
    assert reply.json()["stream"] == "query"
    assert reply.json()["captured_at"] == "2026-06-01T08:00:00.000Z"


def encoded(image: Any, fmt: Any, **options: Any) -> Any:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


BAD_INPUT = {
    "empty": (b"", 422, "empty"),
    "text": (b"hello", 422, "not a picture"),
    "truncated": (encoded(Image.effect_noise((96, 64), 50), "JPEG")[:-500], 422, "cut off"),
    "100 megapixels": (huge_png(10_000, 10_000), 413, "10000 x 10000"),
    "too small": (encoded(Image.new("RGB", (4, 4)), "PNG"), 422, "4 x 4"),
    "too large": (bytes(2_000_001), 413, "limit"),
    "far too large": (bytes(3_000_000), 413, "larger than"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_a_json_4xx_and_a_failed_job_and_the_window_untouched(
    deepaas: Served, camera: Camera, name: Any
) -> None:
    data, status, says = BAD_INPUT[name]
    event_id = f"bad-{name.replace(' ', '-')}"
    deepaas.predict(camera(60), stream="bad")
    before = store_of(deepaas).streams()
    reply = deepaas.predict(data, name="x.jpg", event_id=event_id, stream="bad")
    assert (reply.status_code, reply.headers["Content-Type"].split(";")[0]) == (
        status,
        "application/json",
    )
    assert says in reply.json()["message"]
    assert store_of(deepaas).streams() == before
    if name != "far too large":  # its form was never read, so its event id is unknown
        job = job_of(deepaas, event_id)
        assert job["job_status"] == "Failed"
        assert job["parameters"]["error"] == reply.json()["message"]
        again = deepaas.predict(data, event_id=event_id, stream="bad")
        assert (again.status_code, again.json()["message"]) == (status, reply.json()["message"])
    assert deepaas.predict(camera(61), stream="bad").status_code == 200


GOOD_INPUT = {
    "CMYK": encoded(Image.new("CMYK", (96, 64), (20, 90, 90, 0)), "JPEG"),
    "16 bit": encoded(Image.new("I;16", (96, 64), 30_000), "PNG"),
    "animated": encoded(
        Image.new("RGB", (96, 64), "red"),
        "GIF",
        save_all=True,
        append_images=[Image.new("RGB", (96, 64))],
    ),
    "transparent": encoded(Image.new("RGBA", (96, 64), (9, 9, 9, 9)), "PNG"),
}


@pytest.mark.parametrize("name", GOOD_INPUT)
def test_unusual_pictures_are_taken(deepaas: Served, name: Any) -> None:
    assert deepaas.predict(GOOD_INPUT[name], stream="unusual").status_code == 200


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"stream": "Not A Slug"}, "stream"),
        ({"drift_distance": "much"}, "drift_distance"),
        ({"drift_distance": "nan"}, "drift_distance"),
        ({"captured_at": "noon"}, "captured_at"),
        ({"captured_at": "0001-01-01T00:00:00+02:00"}, "captured_at"),
        ({"captured_at": "9999-12-31T23:00:00-02:00", "stream": "?"}, "stream"),
        ({"event_id": "with space"}, "event_id"),
        ({"warning_distance": "0.3", "drift_distance": "0.2"}, "warning_distance"),
    ],
)
def test_a_bad_argument_is_named_and_the_failure_recorded(
    deepaas: Served, camera: Camera, fields: dict[str, Any], names: str
) -> None:
    before = OutboxRows(store_of(deepaas)).counts().pending
    reply = deepaas.predict(camera(60), **fields)
    assert reply.status_code == 422
    assert names in reply.json()["message"]
    assert OutboxRows(store_of(deepaas)).counts().pending == before + 1


def with_picture(camera: Camera, **options: Any) -> dict[str, Any]:
    return {"files": {"input_file": ("reef.jpg", camera(60), "image/jpeg")}, **options}


@pytest.mark.parametrize(
    "options",
    [
        lambda camera: with_picture(camera, data={"steam": "reef", "event_id": "u-1"}),
        lambda camera: with_picture(camera, params={"steam": "reef", "event_id": "u-2"}),
        lambda camera: {"data": {"steam": "reef", "event_id": "u-3"}},
        lambda camera: {"json": {"steam": "reef", "event_id": "u-4"}},
    ],
    ids=["multipart", "query", "urlencoded", "json"],
)
def test_an_unknown_field_is_named_with_the_nearest_and_recorded(
    deepaas: Served, camera: Camera, options: Any
) -> None:
    before = store_of(deepaas).streams()
    arguments = options(camera)
    reply = requests.post(deepaas.predict_url, timeout=60, **arguments)
    assert reply.status_code == 422
    assert reply.json()["message"] == "unknown field 'steam'; did you mean 'stream'?"
    ((_, given),) = [item for item in arguments.items() if item[0] != "files"]
    job = job_of(deepaas, given["event_id"])
    assert job["job_status"] == "Failed"
    assert job["parameters"]["error"] == reply.json()["message"]
    assert store_of(deepaas).streams() == before


def test_a_second_picture_is_refused_instead_of_dropped(deepaas: Served, camera: Camera) -> None:
    pictures = [("input_file", (f"{i}.jpg", camera(i), "image/jpeg")) for i in (60, 61)]
    reply = requests.post(deepaas.predict_url, files=pictures, timeout=60)
    assert reply.status_code == 422
    assert reply.json()["message"] == "the field 'input_file' is given more than once; send it once"


def test_a_stream_given_in_the_form_and_in_the_query_is_refused(
    deepaas: Served, camera: Camera
) -> None:
    arguments = with_picture(camera, data={"stream": "a"}, params={"stream": "b"})
    reply = requests.post(deepaas.predict_url, timeout=60, **arguments)
    assert reply.status_code == 422
    assert "'stream' is given more than once" in reply.json()["message"]


def test_the_argument_that_deepaas_ui_adds_is_accepted(deepaas: Served, camera: Camera) -> None:
    """AI4OS' web page sends `accept` in the query of every request, and as a header."""
    arguments = with_picture(camera, params={"accept": "application/json", "stream": "ui"})
    headers = {"accept": "application/json"}
    reply = requests.post(deepaas.predict_url, headers=headers, timeout=60, **arguments)
    assert (reply.status_code, reply.json()["stream"]) == (200, "ui")


@pytest.mark.parametrize(
    "options",
    [
        {"data": {"stream": "reef"}},
        {"data": {"input_file": "not a file"}},
        {"json": {"input_file": "not a file"}},
        {"data": b"{broken", "headers": {"Content-Type": "application/json"}},
        {"data": b"[1]", "headers": {"Content-Type": "application/json"}},
        {"data": b"[" * 100_000, "headers": {"Content-Type": "application/json"}},
        {"data": b"{}", "headers": {"Content-Type": "application/vnd.api+json"}},
        {"data": b"garbage", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"data": b"garbage", "headers": {"Content-Type": "multipart/form-data"}},
    ],
)
def test_a_form_without_a_picture_is_a_json_4xx(deepaas: Served, options: dict[str, Any]) -> None:
    reply = requests.post(deepaas.predict_url, timeout=60, **options)
    assert reply.status_code == 422
    assert reply.json()["message"]


def test_uploads_leave_nothing_in_the_temporary_folder(deepaas: Served, camera: Camera) -> None:
    deepaas.predict(camera(60))
    deepaas.predict(b"rubbish")
    assert [path.name for path in deepaas.temporary.rglob("tmp*") if path.is_file()] == []


def test_concurrent_json_and_form_requests_do_not_mix(deepaas: Served, camera: Camera) -> None:
    """webargs' parser has one cache for all requests."""

    def form(i: Any) -> Any:
        return deepaas.predict(camera(60 + i % 9), stream=f"mix-{i}").json().get("stream")

    def slow_json(i: Any) -> Any:
        def body() -> Iterator[Any]:
            yield b'{"stream": "intruder",'
            time.sleep(0.02)  # lets the event loop turn to the forms in between
            yield b' "drift_distance": -1}'

        headers = {"Content-Type": "application/json"}
        return requests.post(
            deepaas.predict_url, data=body(), headers=headers, timeout=60
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        forms = [pool.submit(form, i) for i in range(24)]
        documents = [pool.submit(slow_json, i) for i in range(24)]
        assert [f.result() for f in forms] == [f"mix-{i}" for i in range(24)]
        assert {d.result() for d in documents} == {422}


def test_with_the_tracking_server_down_nothing_waits_and_nothing_is_lost(
    deepaas: Served, camera: Camera
) -> None:
    before = OutboxRows(store_of(deepaas)).counts().pending
    started = time.monotonic()
    for i in range(20):
        assert deepaas.predict(camera(i), stream="offline").status_code == 200
    assert time.monotonic() - started < 100  # each would wait for a time-out of 10 s
    assert OutboxRows(store_of(deepaas)).counts().pending == before + 20


def test_the_parent_process_stays_small_and_without_torch(deepaas: Served, camera: Camera) -> None:
    deepaas.predict(camera(60))
    parent = psutil.Process(deepaas.process.pid)
    assert parent.memory_info().rss < 200e6
    assert not any("libtorch" in mapped.path for mapped in parent.memory_maps())
    assert len(worker_processes(deepaas)) == 2


def test_metadata_and_health_are_there(deepaas: Served) -> None:
    model = requests.get(f"{deepaas.url}/v2/models/lenswatch/", timeout=60).json()
    assert model["name"] == "lenswatch"
    health = requests.get(f"{deepaas.url}/healthz", timeout=60).json()
    assert health["reference"] is True


@pytest.mark.slow
def test_terminating_leaves_no_process(trained_root: Path, tmp_path: Path, camera: Camera) -> None:
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    with deepaas_running(tmp_path) as served:
        served.predict(camera(60))
        family = psutil.Process(served.process.pid).children(recursive=True)
        served.process.send_signal(signal.SIGINT)
        served.process.wait(60)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.slow
def test_without_a_reference_it_serves_and_says_what_to_do(tmp_path: Path, camera: Camera) -> None:
    write_settings(tmp_path)
    with deepaas_running(tmp_path) as served:
        reply = served.predict(camera(60))
        assert reply.status_code == 503
        assert "lenswatch train" in reply.json()["message"]


def run(command: Any, root: Path, **variables: Any) -> Any:
    environment = {**os.environ, "LENSWATCH_CONFIG": str(root / "config.toml"), **variables}
    path = Path(sys.executable).with_name(command[0])
    return subprocess.run(
        [path, *command[1:]], env=environment, cwd=root, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_settings_that_cannot_be_used_end_deepaas_with_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[detector]\nwindow_sise = 3\n")
    ended = run(["deepaas-run", "--listen-port=0"], tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1] == (
        "lenswatch: detector.window_sise: unknown key; did you mean detector.window_size?"
    )


@pytest.mark.slow
def test_a_database_that_cannot_be_opened_ends_deepaas_with_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "node.db").symlink_to("gone/node.db")  # as a folder of another user
    ended = run(["deepaas-run", "--listen-port=0"], tmp_path)
    assert ended.returncode == 1
    assert "node.db: unable to open database file; the file and" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_the_deepaas_command_line_warms_itself_and_deletes_only_its_copy(
    trained_root: Path, tmp_path: Path, camera: Camera
) -> None:
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    mine = tmp_path / "mine.jpg"
    mine.write_bytes(camera(60))
    copies = tmp_path / "copies"
    copies.mkdir()
    command = ["deepaas-cli", "predict", "--input_file", str(mine), "--stream", "cli"]
    ended = run(command, tmp_path, TMPDIR=str(copies))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "'stream': 'cli'" in ended.stdout + ended.stderr
    assert mine.exists()
    assert list(copies.glob("tmp*")) == []
