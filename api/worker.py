"""The hooks as they run in DEEPaaS' worker processes. Only `train` needs torch, and loads it."""

from __future__ import annotations

import dataclasses
import functools
import gc
import logging
import multiprocessing
import re
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from lenswatch.api.schemas import checked, predict_fields
from lenswatch.api.temporary import PREFIX

from lenswatch.checking.report import check
from lenswatch.config import load_config
from lenswatch.errors import ArtefactError, InputError
from lenswatch.node.judge import Judge
from lenswatch.node.observe import Node
from lenswatch.node.originals import Originals
from lenswatch.node.recalibrate import alarm_lines, take_up
from lenswatch.node.request import Request, record_refusal
from lenswatch.progress import Step

__all__ = ["predict", "train", "warm"]

log = logging.getLogger(__name__)

_UPLOAD = re.compile(r"tmp[a-z0-9_]{8}\Z")  # DEEPaaS' names for its copies


@functools.cache
def _node() -> Node:
    """Return this process's node. DEEPaaS uses a worker for one call at a time."""
    node = Node(load_config())
    gc.freeze()  # what the libraries made lives as long as the worker: the collector can skip it
    return node


@functools.cache
def _fields() -> dict[str, Any]:
    return predict_fields()


def warm() -> None:
    """Load the reference and its calibration, and delete kept pictures beyond a limit that was lowered.

    Without them, or when they are damaged, log that and let the API start: `train` makes new ones, and each
    picture is answered with the reason until then.
    """
    try:
        node = _node()
        Originals(node.config).prune(node.store)
        node.warm()
    except ArtefactError as error:
        said = str(error)
    else:
        return
    log.warning("%s", said)


def predict(
    input_file: Any,
    stream: str = "default",
    drift_distance: float | None = None,
    warning_distance: float | None = None,
    event_id: str | None = None,
    captured_at: datetime | None = None,
) -> dict[str, Any]:
    """Judge one upload, and delete the temporary file in which DEEPaaS passes it.

    In a process that no other one serves, as `deepaas-cli` is, the drift job is sent too.
    """
    path = Path(input_file.filename)
    name = input_file.original_filename or path.name
    given = {
        "stream": stream,
        "event_id": event_id,
        "captured_at": captured_at,
        "drift_distance": drift_distance,
        "warning_distance": warning_distance,
    }
    try:
        return _observe(_node(), path, given, name)
    finally:
        if _is_temporary(path):
            path.unlink(missing_ok=True)


def _observe(node: Node, path: Path, given: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        try:
            request = Request(**checked(_fields(), given), image_name=name)
        except InputError as error:  # of deepaas-cli; DEEPaaS has checked those of a request
            record_refusal(node.store, node.config, Request(image_name=name), error)
            raise
        return node.observe(path, request)
    finally:
        if multiprocessing.parent_process() is None:  # no other process sends what was recorded
            _deliver(node)


def train(epochs: int, learning_rate: float, seed: int) -> dict[str, Any]:
    """Train on the clean pictures, make the new reference current, and return a summary.

    Raises:
        InputError: There are too few pictures, or what training needs is not installed.
    """
    from lenswatch.reference.clean import find_clean
    from lenswatch.reference.schema import save_schema
    from lenswatch.registry.push import push_if_wanted

    try:
        from lenswatch.reference.training import build_reference
    except ModuleNotFoundError as error:
        raise InputError(
            f"training needs {error.name}, which is not installed here; train on another machine, and "
            "import its reference here with `lenswatch reference import`"
        ) from None
    config = load_config()
    encoder = dataclasses.replace(
        config.encoder, epochs=epochs, learning_rate=learning_rate, seed=seed
    )
    config = dataclasses.replace(config, encoder=encoder)
    ordered = find_clean(config)
    log.info("%s", ordered.told())
    for note in ordered.notes:
        log.warning("%s", note)
    report = check(config.image_folder, ordered, config, _log_step)
    for finding in report.before_training:
        log.warning("%s", finding.line())
    reference = build_reference(config, ordered.pictures, _log_step, make_current=False)
    save_schema(config.storage_path, reference.digest, report.schema)
    taken_up = take_up(config, reference, _log_step)
    notes = Judge.of(taken_up.default, config.alarm).notes
    for note in notes:
        log.warning("calibration of %s: %s", reference.model, note)
    streams = [*taken_up.lines, *alarm_lines(config)]
    for line in streams:
        log.warning("%s", line)
    for line in push_if_wanted(config, reference.digest):
        log.warning("%s", line)
    threshold = taken_up.default.thresholds.get("mmd")
    return {
        "model": reference.model,
        "pictures": len(reference.pictures),
        "metrics": dict(reference.manifest["metrics"]),
        "drift_distance": None if threshold is None else threshold.drift,
        "warning_distance": None if threshold is None else threshold.warning,
        "calibrated": threshold is not None and threshold.calibrated,
        "calibration_notes": list(notes),
        "streams": streams,
    }


def _deliver(node: Node) -> None:
    from lenswatch.outbox.before_end import deliver_before_end  # a worker has no use for it

    waiting = deliver_before_end(node.store, node.config.tracking)
    if waiting:
        log.warning("%s", waiting)


def _log_step(step: Step) -> None:
    log.info("%s %d/%d %s", step.task, step.done, step.total, step.detail)


def _is_temporary(path: Path) -> bool:
    """Return True when DEEPaaS made the file and leaves it to us to delete, as `deepaas-cli` does too."""
    ours = path.parent == Path(tempfile.gettempdir()) or path.parent.name.startswith(PREFIX)
    return ours and bool(_UPLOAD.match(path.name))
