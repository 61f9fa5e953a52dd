"""A DriftWatch server with faults on demand. Tests without faults use our own server.

Without `extensions` it is like an original one: no batches, no pictures, and a job posted twice is
there twice.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Fault = Callable[["Handler"], bool]  # returns True when it has answered the request


class Stub:
    """The records of the server, and its faults."""

    def __init__(self, extensions: bool = True) -> None:
        self.extensions = extensions
        self.experiments: dict[str, dict[str, Any]] = {}
        self.drifts: dict[str, dict[str, Any]] = {}
        self.images: dict[str, bytes] = {}
        self.clean: dict[tuple[str, str, str], bytes] = {}  # by experiment, reference and name
        self.requests: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.fault: Fault | None = None
        self.refuse: Callable[[dict[str, Any]], int] = lambda job: 0  # a status for a job, or 0
        self.changed = threading.Condition()
        self.released = threading.Event()  # ends all requests that hang
        self.url = ""
        self.params: dict[str, str] = {}  # of the query string of the latest request

    def event_ids(self) -> list[str]:
        with self.changed:
            return [drift["parameters"].get("event_id") for drift in self.drifts.values()]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60.0) -> bool:
        """Wait until the condition holds, which is checked after every request."""
        with self.changed:
            return self.changed.wait_for(condition, timeout)

    def asked(self, method: str, ending: str) -> int:
        return sum(m == method and p.split("?")[0].endswith(ending) for m, p in self.requests)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.params = dict(parse_qsl(urlsplit(path).query))
        for pattern, route in ROUTES:
            found = re.fullmatch(pattern, f"{method} {path.split('?')[0]}")
            if found and (self.extensions or not route.__name__.startswith("ext_")):
                status, record = route(self, body, *found.groups())
                return status, record
        return 404, {"code": 404, "status": "Not Found"}

    def search_experiments(self, body: Any) -> tuple[int, Any]:
        found = [e for e in self.experiments.values() if body in ({}, {"name": e["name"]})]
        return 200, self._page(found)

    def create_experiment(self, body: Any) -> tuple[int, Any]:
        if any(e["name"] == body["name"] for e in self.experiments.values()):
            return 409, {"code": 409, "message": "Name conflict."}
        record = {"id": str(uuid.uuid4()), "created_at": "2026-06-01T08:00:00", **body}
        self.experiments[record["id"]] = record
        return 201, record

    def post_drift(self, body: Any, experiment: str) -> tuple[int, Any]:
        if experiment not in self.experiments:
            return 404, {"code": 404, "message": "Experiment not found."}
        status = self.refuse(body)
        if status:
            return status, {"code": status, "errors": {"json": {"tags": {"0": ["Too long."]}}}}
        known = self._known(body) if self.extensions else None
        record = known or {**body, "id": str(uuid.uuid4()), "experiment": experiment}
        self.drifts[record["id"]] = record
        return 200 if known else 201, record

    def _known(self, body: Any) -> dict[str, Any] | None:
        event_id = body["parameters"].get("event_id")
        same = (d for d in self.drifts.values() if d["parameters"].get("event_id") == event_id)
        return next(same, None)

    def ext_batch(self, body: Any, experiment: str) -> tuple[int, Any]:
        if experiment not in self.experiments:
            return 404, {"code": 404, "message": "Experiment not found."}
        results = []
        for position, job in enumerate(body["drifts"]):
            status, record = self.post_drift(job, experiment)
            results.append({"position": position, "status": status, "id": record.get("id")})
            results[-1]["errors"] = record.get("errors")
        return 200, {"results": results}

    def search_drifts(self, body: Any, experiment: str) -> tuple[int, Any]:
        found = [d for d in self.drifts.values() if d["experiment"] == experiment]
        for path, value in body.items():
            key = path.removeprefix("parameters.")
            if key == "created_at":  # which the original compares as text
                found = [d for d in found if d["created_at"] >= value["$gte"]]
            else:
                found = [d for d in found if d["parameters"].get(key) == value]
        return 200, self._page(found)

    def _page(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        size, page = int(self.params.get("page_size", 10)), int(self.params.get("page", 1))
        if self.params.get("order_by") == "asc":
            records = sorted(records, key=lambda record: record.get("created_at", ""))
        return records[(page - 1) * size : page * size]

    def put_drift(self, body: Any, experiment: str, drift: str) -> tuple[int, Any]:
        if drift not in self.drifts:
            return 404, {"code": 404, "message": "Drift not found."}
        self.drifts[drift] |= body
        return 200, self.drifts[drift]

    def get_drift(self, body: Any, experiment: str, drift: str) -> tuple[int, Any]:
        if drift not in self.drifts:
            return 404, {"code": 404, "message": "Drift not found."}
        return 200, self.drifts[drift]

    def ext_image(self, body: Any, experiment: str, drift: str) -> tuple[int, Any]:
        if drift not in self.drifts:
            return 404, {"code": 404, "message": "Drift not found."}
        self.images[self.drifts[drift]["parameters"]["event_id"]] = body
        return 200, {"id": drift}

    def ext_images(self, body: Any, experiment: str) -> tuple[int, Any]:
        if experiment not in self.experiments:
            return 404, {"code": 404, "message": "Experiment not found."}
        results = []
        for position, each in enumerate(body["pictures"]):
            status, _ = self.ext_image(b64decode(each["data"]), experiment, each["id"])
            results.append({"position": position, "status": status})
        return 200, {"results": results}

    def get_experiment(self, body: Any, experiment: str) -> tuple[int, Any]:
        if experiment not in self.experiments:
            return 404, {"code": 404, "message": "Experiment not found."}
        return 200, self.experiments[experiment]

    def ext_reference(self, body: Any, experiment: str, reference: str) -> tuple[int, Any]:
        if experiment not in self.experiments:
            return 404, {"code": 404, "message": "Experiment not found."}
        names = [name for e, r, name in self.clean if (e, r) == (experiment, reference)]
        return 200, {"reference": reference, "pictures": [{"name": name} for name in names]}

    def ext_clean(self, body: Any, experiment: str, reference: str, name: str) -> tuple[int, Any]:
        if experiment not in self.experiments:
            return 404, {"code": 404, "message": "Experiment not found."}
        self.clean[experiment, reference, name] = body
        return 200, {"name": name}

    def register(self, body: Any) -> tuple[int, Any]:
        return 409, {"code": 409, "message": "User already exists."}

    def update_user(self, body: Any) -> tuple[int, Any]:
        return 200, {"id": "u"}


ID = "([0-9a-f-]{36})"
EXPERIMENT = f"/api/[a-z0-9]+/experiment/{ID}"
ROUTES: list[tuple[str, Any]] = [
    ("POST /api/[a-z0-9]+/experiment/search", Stub.search_experiments),
    ("POST /api/[a-z0-9]+/experiment", Stub.create_experiment),
    ("POST /api/[a-z0-9]+/user", Stub.register),
    ("PUT /api/[a-z0-9]+/user/self", Stub.update_user),
    (f"POST {EXPERIMENT}/drift", Stub.post_drift),
    (f"POST {EXPERIMENT}/drift/batch", Stub.ext_batch),
    (f"POST {EXPERIMENT}/drift/search", Stub.search_drifts),
    (f"PUT {EXPERIMENT}/drift/{ID}", Stub.put_drift),
    (f"GET {EXPERIMENT}/drift/{ID}", Stub.get_drift),
    (f"PUT {EXPERIMENT}/drift/{ID}/image", Stub.ext_image),
    (f"POST {EXPERIMENT}/drift/images", Stub.ext_images),
    (f"GET {EXPERIMENT}", Stub.get_experiment),
    (f"GET {EXPERIMENT}/reference/([0-9a-f]+)", Stub.ext_reference),
    (f"PUT {EXPERIMENT}/reference/([0-9a-f]+)/picture/([0-9]+)", Stub.ext_clean),
]


class Handler(BaseHTTPRequestHandler):
    """Handler of one connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet
    stub: Stub

    def dispatch(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_json = self.headers.get("Content-Type") == "application/json"
        self.body: Any = _parsed(raw) if is_json else raw
        with self.stub.changed:
            self.stub.requests.append((self.command, self.path))
            self.stub.tokens.append(self.headers.get("Authorization"))
            fault = self.stub.fault
        if not (fault and fault(self)):
            self.reply(*self.carry_out())
        with self.stub.changed:
            self.stub.changed.notify_all()

    do_GET = do_POST = do_PUT = dispatch  # noqa: N815 - names that http.server wants

    def carry_out(self) -> tuple[int, Any]:
        with self.stub.changed:
            return self.stub.answer(self.command, self.path, self.body)

    def reply(self, status: int, body: Any, **headers: str) -> None:
        """Answer with JSON. An error that has a `code` also gets the `status` of the contract."""
        if isinstance(body, dict) and "code" in body:
            body = {"status": HTTPStatus(status).phrase, **body}
        self.send_bytes(status, json.dumps(body).encode(), "application/json", **headers)

    def send_bytes(self, status: int, data: bytes, content_type: str, **headers: str) -> None:
        """Answer with any bytes, as something between node and server may do."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def hang_up(self) -> None:
        """End the connection without an answer."""
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


def _parsed(raw: bytes) -> Any:
    def never(name: str) -> Any:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(raw, parse_constant=never)


@contextmanager
def serving(stub: Stub, port: int = 0) -> Iterator[Stub]:
    """Run the stub on a free port, or on the given one."""
    handler = type("BoundHandler", (Handler,), {"stub": stub})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield stub
    finally:
        stub.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


# Faults


def answers(status: int, times: int = 10**9, **headers: str) -> Fault:
    """Return a fault that answers the next requests with this status and does nothing else."""
    left = [times]

    def fault(handler: Handler) -> bool:
        left[0] -= 1
        if left[0] < 0:
            return False
        handler.reply(status, {"code": status, "message": "as told"}, **headers)
        return True

    return fault


def never_answers(handler: Handler) -> bool:
    """Accept the request and never answer."""
    handler.stub.released.wait(60)
    handler.hang_up()
    return True


def dies_after_storing(ending: str, times: int = 1) -> Fault:
    """Return a fault that carries out the next such requests and hangs up without an answer."""
    left = [times]

    def fault(handler: Handler) -> bool:
        if not handler.path.endswith(ending) or left[0] <= 0:
            return False
        left[0] -= 1
        handler.carry_out()
        handler.hang_up()
        return True

    return fault
