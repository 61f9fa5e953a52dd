"""The client of the DriftWatch REST contract.

It works with our tracking server and with an original one, which has no batches, no pictures and no unique
event ids.
"""

from __future__ import annotations

import os
import threading
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from lenswatch.client.credentials import Credentials
from lenswatch.client.replies import (
    BatchResult,
    Json,
    batch_results,
    check_reply,
    drift_record,
    event_id_of,
    experiment_record,
    named_record,
    picture_names,
    record,
    records,
    unreachable,
)
from lenswatch.errors import ConfigError, TrackingRefused, TrackingUnavailable
from lenswatch.wire import DriftJob, to_json

__all__ = ["BatchResult", "Experiment", "TrackingClient"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Experiment:
    """An experiment as the tracking server describes it."""

    id: str
    name: str
    description: str = ""
    public: bool = False
    permissions: list[Json] = field(default_factory=list)
    created_at: str = ""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Experiment:
        """Return the experiment of a server's record, without fields that we do not know."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__ if name in record})


class TrackingClient:
    """A client of one tracking server, which keeps connections open. Threads may share it.

    Every method that sends a request raises TrackingUnavailable when the server is unreachable, slow, failing
    or no DriftWatch server, and TrackingRefused when it refuses the request.

    Args:
        url: The server's address.
        api_version: The part of the address after `/api/`.
        auth: How to authenticate; None: not at all.
        timeout: Seconds to wait for an answer.
        connect_timeout: Seconds to wait for a connection, or `timeout` if that is shorter.

    Raises:
        ConfigError: `url` is no HTTP address.
    """

    def __init__(
        self,
        url: str,
        api_version: str = "latest",
        auth: Credentials | None = None,
        timeout: float = 10.0,
        connect_timeout: float = 5.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(
                f"{url!r} is not the address of a tracking server; write http://HOST:PORT"
            )
        self.url = url.rstrip("/")
        self._base = f"{self.url}/api/{api_version}"
        # The environment's proxies are not for servers on this machine.
        self._trust_env = parts.scheme == "https" or parts.hostname not in LOOPBACK
        self._auth = auth or Credentials()
        self._timeout = (min(connect_timeout, timeout), timeout)
        self._local = threading.local()
        self._lacks: set[str] = set()  # extensions that this server is known not to have

    def close(self) -> None:
        """Close this thread's connections."""
        if session := getattr(self._local, "session", None):
            session.close()
            self._local.session = None

    def register(self) -> None:
        """Register the token's owner as a user, or update the user's e-mail address."""
        try:
            self._request("POST", "/user")
        except TrackingRefused as refused:
            if refused.status != 409:
                raise
            self._request("PUT", "/user/self")

    def create_experiment(
        self,
        name: str,
        description: str = "",
        public: bool = False,
        permissions: Sequence[Mapping[str, str]] = (),
    ) -> Experiment:
        """Create an experiment. A name that exists is refused with status 409."""
        body = {
            "name": name,
            "description": description,
            "public": public,
            "permissions": list(permissions),
        }
        return Experiment.from_json(experiment_record(self._send("POST", "/experiment", body)))

    def find_experiment(self, name: str) -> Experiment | None:
        """Return the experiment with this name, the oldest if there are several, or None."""
        params = {"page": 1, "page_size": 1, "order_by": "asc"}
        listed = self._list("/experiment/search", {"name": name}, params)
        found = [each for each in listed if each.get("name") == name]
        return Experiment.from_json(found[0]) if found else None

    def ensure_experiment(self, name: str, description: str = "", public: bool = False) -> str:
        """Return the id of the experiment with this name, which is created if it is missing."""
        found = self.find_experiment(name)
        if found:
            return found.id
        try:
            return self.create_experiment(name, description, public).id
        except TrackingRefused as refused:
            if refused.status != 409:
                raise
        found = self.find_experiment(name)  # created meanwhile, or hidden from us
        if found:
            return found.id
        hidden = TrackingRefused(
            f"{self.url}: the experiment {name!r} exists, but we may not read it; ask its managers "
            "for Edit permission, or set tracking.experiment to another name"
        )
        hidden.status = 403
        raise hidden

    def post_drift(self, experiment: str, job: DriftJob | Mapping[str, Any]) -> Json:
        """Store a drift job, and return the server's record of it."""
        body = _body(job)
        response = self._send("POST", f"/experiment/{experiment}/drift", body)
        return drift_record(response, event_id_of(body))

    def put_drift(self, experiment: str, drift: str, job: DriftJob | Mapping[str, Any]) -> Json:
        """Replace a drift job, and return the server's record of it."""
        return drift_record(
            self._send("PUT", f"/experiment/{experiment}/drift/{drift}", _body(job))
        )

    def search_drifts(
        self, experiment: str, query: Mapping[str, Any], limit: int = 10
    ) -> list[Json]:
        """Return the newest drift jobs that match a query, at most `limit` (1 to 100)."""
        params = {"page": 1, "page_size": limit}
        return self._list(f"/experiment/{experiment}/drift/search", query, params)

    def find_event(self, experiment: str, event_id: str) -> Json | None:
        """Return the drift job with this event id, or None."""
        listed = self.search_drifts(experiment, {"parameters.event_id": event_id}, limit=1)
        return next((each for each in listed if event_id_of(each) == event_id), None)

    def post_batch(
        self, experiment: str, jobs: Sequence[Mapping[str, Any]]
    ) -> list[BatchResult] | None:
        """Store several drift jobs at once. Returns None when this server takes no batches."""
        path = f"/experiment/{experiment}/drift/batch"
        body = to_json({"drifts": list(jobs)}).encode()
        response = self._extension("POST", path, "batch", body)
        return None if response is None else batch_results(response, len(jobs))

    def put_image(self, experiment: str, drift: str, jpeg: bytes) -> bool:
        """Store the picture of a drift job. Returns False when this server takes no pictures."""
        path, known = f"/experiment/{experiment}/drift/{drift}", "image" in self._lacks
        response = self._extension("PUT", f"{path}/image", "image", jpeg, "image/jpeg")
        if response is not None:
            record(response)
            return True
        if not known:
            # A proxy may answer 404 for every path: the drift job itself tells.
            self._lacks.discard("image")
            drift_record(self._request("GET", path))
            self._lacks.add("image")
        return False

    def post_images(
        self, experiment: str, images: Sequence[tuple[str, bytes]]
    ) -> list[BatchResult] | None:
        """Store pictures of drift jobs at once. Returns None when this server takes them one by one only.

        Args:
            experiment: Id of the experiment.
            images: Ids of jobs with their pictures.
        """
        listed = [{"id": drift, "data": b64encode(data).decode()} for drift, data in images]
        path = f"/experiment/{experiment}/drift/images"
        response = self._extension("POST", path, "images", to_json({"pictures": listed}).encode())
        return None if response is None else batch_results(response, len(images))

    def reference_pictures(self, experiment: str, reference: str) -> frozenset[str] | None:
        """Return the names of a reference's clean pictures. Returns None when this server takes none."""
        path, known = f"/experiment/{experiment}", "reference" in self._lacks
        response = self._extension("GET", f"{path}/reference/{reference}", "reference")
        if response is not None:
            return picture_names(response)
        if not known:
            # A proxy may answer 404 for every path: the experiment itself tells.
            self._lacks.discard("reference")
            experiment_record(self._request("GET", path))
            self._lacks.add("reference")
        return None

    def put_reference_picture(
        self, experiment: str, reference: str, name: str, jpeg: bytes
    ) -> None:
        """Store a clean picture of a reference."""
        path = f"/experiment/{experiment}/reference/{reference}/picture/{name}"
        named_record(self._request("PUT", path, data=jpeg, content_type="image/jpeg"), name)

    def annotate(self, experiment: str, annotation: Mapping[str, Any]) -> Json | None:
        """Store an annotation, and return the server's record; None when this server takes none.

        Args:
            experiment: Id of the experiment.
            annotation: `kind`, and as needed `stream`, `text`, `begins_at`, `ends_at`, and an `id` (a UUID)
                with which it can be sent again without being stored twice.
        """
        path = f"/experiment/{experiment}/annotation"
        body = to_json(annotation).encode()
        response = self._extension("POST", path, "annotation", body, "application/json")
        return None if response is None else record(response)

    def put_feedback(self, experiment: str, job: str, verdict: str, text: str = "") -> bool:
        """Say what a picture really shows. Returns False when this server takes no verdicts.

        Args:
            experiment: Id of the experiment.
            job: Id or event id of the drift job.
            verdict: "true drift", or "false alarm" for a clean picture.
            text: Why.
        """
        path = f"/experiment/{experiment}/drift/{quote(job, safe='')}/feedback"
        return self._judge(path, verdict, text)

    def put_event_feedback(self, experiment: str, event: str, verdict: str, text: str = "") -> bool:
        """Say whether an alarm was true. Returns False when this server takes no verdicts.

        Args:
            experiment: Id of the experiment.
            event: Id of the event.
            verdict: "true drift" or "false alarm".
            text: Why.
        """
        return self._judge(f"/experiment/{experiment}/event/{event}/feedback", verdict, text)

    def _judge(self, path: str, verdict: str, text: str) -> bool:
        body = to_json({"verdict": verdict, "text": text}).encode()
        return self._extension("PUT", path, "feedback", body, "application/json") is not None

    def baseline_requests(self, experiment: str) -> list[Json] | None:
        """Return what people ask nodes to do; None when this server has no such requests."""
        path = f"/experiment/{experiment}/baseline-request?state=waiting&limit=1000"
        response = self._extension("GET", path, "baseline-request")
        return None if response is None else records(response)

    def answer_request(self, experiment: str, request: str, answer: Mapping[str, Any]) -> None:
        """Say what became of a request.

        Args:
            experiment: Id of the experiment.
            request: Id of the request.
            answer: `state` ("done" or "rejected"), `answer` (text) and `baseline` (number or None).
        """
        path = f"/experiment/{experiment}/baseline-request/{request}/answer"
        record(self._request("PUT", path, data=to_json(answer).encode()))

    def takes_batches(self) -> bool:
        """Return False when the server is known to take no batches; its event ids are not unique then."""
        return "batch" not in self._lacks

    def takes_images(self) -> bool:
        """Return False when the server is known to take pictures one by one only."""
        return "images" not in self._lacks

    def look_again(self) -> None:
        """Try missing extensions again: the server may have been replaced."""
        self._lacks.clear()

    def _extension(
        self,
        method: str,
        path: str,
        name: str,
        data: bytes | None = None,
        content_type: str = "application/json",
    ) -> requests.Response | None:
        """Use an extension of ours. Returns None, and does not ask again, if the server lacks it."""
        if name in self._lacks:
            return None
        try:
            return self._request(method, path, data=data, content_type=content_type)
        except TrackingUnavailable as unavailable:
            # A gateway may let the contract's paths pass only. What goes together can also go singly.
            if name in {"batch", "images"} and unavailable.status in {404, 405}:
                self._lacks.add(name)
                return None
            raise
        except TrackingRefused as refused:
            # The 404 of a known path says what was not found; that of an unknown path does not.
            if refused.status == 405 or (
                refused.status == 404 and "not found." not in str(refused)
            ):
                self._lacks.add(name)
                return None
            raise

    def _send(self, method: str, path: str, body: Json) -> requests.Response:
        return self._request(method, path, data=to_json(body).encode())

    def _list(self, path: str, query: Mapping[str, Any], params: Mapping[str, Any]) -> list[Json]:
        data = to_json(query).encode()
        return records(self._request("POST", path, params=params, data=data, again=True))

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        content_type: str = "application/json",
        again: bool = False,
    ) -> requests.Response:
        """Send a request, and repeat it once when the connection or the token had expired.

        Only `GET`, `PUT` and requests marked with `again` are repeated after a lost connection.
        """
        headers = {"Content-Type": content_type} if data is not None else {}
        again = again or method in {"GET", "PUT"}
        for last_try in (False, True):
            try:
                response = self._session().request(
                    method,
                    self._base + path,
                    params=params,
                    data=data,
                    headers=headers,
                    auth=self._auth,
                    timeout=self._timeout,
                    allow_redirects=False,
                )
            except requests.ConnectionError as error:
                if last_try or not again or isinstance(error, requests.Timeout):
                    raise unreachable(error, self._base + path) from error
            except requests.RequestException as error:
                raise unreachable(error, self._base + path) from error
            else:
                if response.status_code != 401 or last_try or not self._auth.renew():
                    break
        return check_reply(response)

    def _session(self) -> requests.Session:
        """Return this thread's session. A forked process gets its own, too."""
        if getattr(self._local, "owner", None) != os.getpid() or not self._local.session:
            self._local.owner = os.getpid()
            self._local.session = requests.Session()
            self._local.session.trust_env = self._trust_env
            self._local.session.headers["Accept"] = "application/json"
        session: requests.Session = self._local.session
        return session


def _body(job: DriftJob | Mapping[str, Any]) -> Json:
    return job.to_json() if isinstance(job, DriftJob) else dict(job)
