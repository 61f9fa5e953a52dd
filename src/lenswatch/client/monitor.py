"""Drift jobs from Python code, with the names of the published `drift-monitor` client.

    >>> import lenswatch
    >>> lenswatch.register(accept_terms=True)  # doctest: +SKIP
    >>> lenswatch.new_experiment("harbour", "Camera at the pier", public=True)  # doctest: +SKIP
    >>> with lenswatch.DriftMonitor("harbour", "model_1") as monitor:  # doctest: +SKIP
    ...     monitor(True, {"distance": 0.21})

These environment variables are read at each call: `DRIFT_MONITOR_URL`, `DRIFT_MONITOR_MYTOKEN` (without it
there is no authentication), `DRIFT_MONITOR_API_VERSION` (default "v1"), `DRIFT_MONITOR_TIMEOUT` (default 10
seconds) and `MYTOKEN_SERVER` (default https://mytok.eu).

The node does not use `DriftMonitor`, which waits for the server: it puts its jobs into the outbox.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any

from lenswatch.client.client import Experiment, TrackingClient
from lenswatch.client.credentials import BearerToken, Credentials, Mytoken
from lenswatch.config import TrackingConfig
from lenswatch.errors import ConfigError, InputError, TrackingRefused, TrackingUnavailable
from lenswatch.wire import DriftJob, JobStatus, new_event_id

__all__ = [
    "DriftMonitor",
    "Experiment",
    "ExperimentExists",
    "ExperimentNotFound",
    "TrackingClient",
    "client_for",
    "find_experiment",
    "new_experiment",
    "register",
]

log = logging.getLogger(__name__)

MYTOKEN_SERVER = "https://mytok.eu"


class ExperimentExists(TrackingRefused, ValueError):  # noqa: N818 - as its parent
    """An experiment with this name exists."""


class ExperimentNotFound(TrackingRefused, ValueError):  # noqa: N818
    """No experiment has this name."""


def client_for(config: TrackingConfig, environ: Mapping[str, str] | None = None) -> TrackingClient:
    """Return a client with the given settings; a mytoken is read from `DRIFT_MONITOR_MYTOKEN`.

    Raises:
        ConfigError: The url is invalid, or the token for the kind of authentication is missing.
    """
    environ = os.environ if environ is None else environ
    auth: Credentials | None = None
    if config.auth == "token":
        if not config.token:
            raise ConfigError(
                'tracking.auth = "token", but tracking.token is empty; set LENSWATCH_TRACKING_TOKEN'
            )
        auth = BearerToken(config.token)
    elif config.auth == "mytoken":
        mytoken = environ.get("DRIFT_MONITOR_MYTOKEN", "")
        if not mytoken:
            raise ConfigError(
                'tracking.auth = "mytoken", but DRIFT_MONITOR_MYTOKEN is not set; set it to a mytoken'
            )
        auth = Mytoken(environ.get("MYTOKEN_SERVER", MYTOKEN_SERVER), mytoken, config.timeout)
    return TrackingClient(config.url, config.api_version, auth, config.timeout)


def register(accept_terms: bool = False) -> None:
    """Register the token's owner as a user of the tracking server, or update the user's e-mail address.

    Raises:
        ValueError: The terms of service were not accepted.
    """
    if not accept_terms:
        raise InputError("registering means accepting the terms of service: accept_terms=True")
    _client().register()


def new_experiment(
    name: str,
    description: str,
    public: bool = False,
    permissions: Sequence[Mapping[str, str]] | None = None,
) -> Experiment:
    """Create an experiment.

    Raises:
        ExperimentExists: An experiment with this name exists; also a ValueError.
    """
    try:
        return _client().create_experiment(name, description, public, permissions or ())
    except TrackingRefused as refused:
        if refused.status != 409:
            raise
        taken = ExperimentExists(f"the experiment {name!r} exists already: {refused}")
        taken.status = 409
        raise taken from refused


def find_experiment(experiment_name: str) -> Experiment:
    """Return the experiment with this name.

    Raises:
        ExperimentNotFound: There is none that we may read; also a ValueError.
    """
    found = _client().find_experiment(experiment_name)
    if found is None:
        missing = ExperimentNotFound(
            f"no experiment {experiment_name!r}; create it with new_experiment, or ask for the "
            "permission to read it"
        )
        missing.status = 404
        raise missing
    return found


class DriftMonitor:
    """A drift job that is Running inside a `with` block, and Completed or Failed after it.

    Call the monitor with the verdict and the parameters. NaN and infinities are sent as null, numpy values as
    Python values. An exception in the block makes the job Failed, and is raised again.

    When the tracking server cannot be reached, when a gateway answers in its place, or when it no longer
    accepts the token, the block does not fail: a warning is logged, and the job is sent once more at the end.
    Errors in the call itself are raised, such as an unknown experiment, a tag that is too long, or a missing
    address.
    """

    def __init__(
        self, experiment_name: str, model_id: str, tags: Sequence[str] | None = None
    ) -> None:
        self._experiment_name = experiment_name
        self._model = model_id
        self._tags = tuple(tags or ())
        self._active = False

    def __enter__(self) -> DriftMonitor:
        self._client = _client()
        self._experiment: str | None = None
        self._drift: str | None = None
        self._event_id = new_event_id()
        self._detected = False
        self._parameters: dict[str, Any] = {}
        try:
            self._send("Running")
        except (TrackingUnavailable, TrackingRefused) as error:
            _warn_or_raise(error)
        self._active = True
        return self

    def __call__(self, detected: bool, parameters: Mapping[str, Any]) -> None:
        """Set the verdict and the parameters, which are sent at the end of the block."""
        if not self._active:
            raise RuntimeError("this DriftMonitor is not active; call it inside its `with` block")
        self._detected = bool(detected)
        self._parameters = dict(parameters)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._active:
            raise RuntimeError(
                "this DriftMonitor was not entered; use it as `with DriftMonitor(...) as monitor:`"
            )
        self._active = False
        try:
            self._send("Failed" if exc_type else "Completed")
        except (TrackingUnavailable, TrackingRefused) as error:
            deleted = isinstance(error, TrackingRefused) and error.gone
            _warn_or_raise(error, keep_quiet=deleted or exc_type is not None)

    def _send(self, status: JobStatus) -> None:
        """Post the job, or replace it when the server has stored it already."""
        if self._experiment is None:
            self._experiment = find_experiment(self._experiment_name).id
        if (
            self._drift is None and status != "Running"
        ):  # it may have been stored without our knowing
            record = self._client.find_event(self._experiment, self._event_id)
            self._drift = record["id"] if record else None
        job = self._job(status)
        if self._drift is None:
            self._drift = self._client.post_drift(self._experiment, job)["id"]
        else:
            self._client.put_drift(self._experiment, self._drift, job)

    def _job(self, status: JobStatus) -> DriftJob:
        parameters = {"event_id": self._event_id, **self._parameters}
        return DriftJob(status, self._model, self._detected, self._tags, parameters)


def _warn_or_raise(error: TrackingUnavailable | TrackingRefused, keep_quiet: bool = False) -> None:
    """Log an error of the server, so that the inference goes on, and raise one of the caller."""
    lapsed = isinstance(error, TrackingRefused) and error.status in {401, 403}
    if not (isinstance(error, TrackingUnavailable) or lapsed or keep_quiet):
        raise error
    log.warning("the drift job is not recorded: %s", error)


def _client() -> TrackingClient:
    url = os.environ.get("DRIFT_MONITOR_URL", "")
    if not url:
        raise ConfigError("DRIFT_MONITOR_URL is not set; set it to the tracking server's address")
    return _cached_client(
        url,
        os.environ.get("DRIFT_MONITOR_API_VERSION", "v1"),
        os.environ.get("DRIFT_MONITOR_MYTOKEN", ""),
        os.environ.get("MYTOKEN_SERVER", MYTOKEN_SERVER),
        os.environ.get("DRIFT_MONITOR_TIMEOUT", "10"),
    )


@lru_cache(maxsize=8)
def _cached_client(
    url: str, api_version: str, mytoken: str, mytoken_server: str, timeout_text: str
) -> TrackingClient:
    """Return one client for each set of variables, which keeps connections and access tokens."""
    try:
        timeout = float(timeout_text)
    except ValueError:
        timeout = 0.0
    if not 0 < timeout < 86_400:
        raise ConfigError(f"DRIFT_MONITOR_TIMEOUT = {timeout_text!r}: expected seconds, above 0")
    auth = Mytoken(mytoken_server, mytoken, timeout) if mytoken else None
    return TrackingClient(url, api_version, auth, timeout)
