"""A reference as an MLflow run with a registered model."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenswatch import __version__
from lenswatch.config import Config
from lenswatch.errors import InputError, LenswatchError
from lenswatch.node.transfer import export_reference
from lenswatch.reference.artefact import Reference, load_reference
from lenswatch.registry.session import ADDRESS, connected

__all__ = ["Pushed", "push_if_wanted", "push_reference"]

log = logging.getLogger(__name__)

_MODEL = "model"  # folder of the run's artefacts


@dataclass(frozen=True)
class Pushed:
    """A reference as MLflow has it.

    Attributes:
        run_id: The run.
        name: The registered model.
        version: Its version.
    """

    run_id: str
    name: str
    version: str

    @property
    def uri(self) -> str:
        """The address that `lenswatch reference pull` takes."""
        return f"models:/{self.name}/{self.version}"


def push_if_wanted(config: Config, digest: str) -> Iterator[str]:
    """Log a new reference if $MLFLOW_TRACKING_URI is set, and yield lines that say so.

    Nothing that goes wrong here is raised: the training is done, and can be logged later.
    """
    if not os.environ.get(ADDRESS, "").strip():
        return
    try:
        pushed = push_reference(config, digest)
    except ModuleNotFoundError as error:
        problem = (
            f"{ADDRESS} is set, but {error.name} is not installed: pip install 'lenswatch[mlflow]'"
        )
    except (LenswatchError, OSError) as error:
        problem = str(error)
    else:
        yield f"logged in MLflow: {pushed.uri}, run {pushed.run_id}"
        return
    yield f"warning: not logged in MLflow: {problem}"
    yield f"the reference is kept; `lenswatch reference push {digest}` logs it later"


def push_reference(config: Config, digest: str, alias: str | None = None) -> Pushed:
    """Log a reference as a run: parameters, metrics of each epoch, a figure, and a registered model.

    The experiment is $MLFLOW_EXPERIMENT_NAME, else `tracking.experiment`, which also names the model.
    The model is loaded by `lenswatch.registry.pyfunc`.

    Args:
        config: The settings.
        digest: The reference, which must be calibrated and have a light form or torch where it is loaded.
        alias: Alias of the new version.

    Raises:
        ArtefactError: The reference is damaged.
        RegistryError: MLflow did not take it.
    """
    reference = load_reference(config.storage_path, digest)
    with connected() as client, tempfile.TemporaryDirectory() as scratch:
        experiment = _experiment(client, config)
        tags = {"reference": digest, "lenswatch": __version__}
        run = client.create_run(experiment, run_name=digest, tags=tags).info.run_id
        with _ended(client, run):
            _log_numbers(client, run, reference)
            figure = Path(scratch) / "calibration.png"
            if _draw(config, reference, figure):
                client.log_artifact(run, str(figure), "figures")
            model = Path(scratch) / _MODEL
            _save_model(config, reference, model)
            client.log_artifacts(run, str(model), _MODEL)
        version = _register(client, config.tracking.experiment, run, digest)
        if alias is not None:
            client.set_registered_model_alias(config.tracking.experiment, alias, version)
    return Pushed(run, config.tracking.experiment, version)


def _experiment(client: Any, config: Config) -> str:
    """Return the id of the experiment, which is made if there is none."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or config.tracking.experiment
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


@contextmanager
def _ended(client: Any, run: str) -> Iterator[None]:
    """End a run, as failed if something raises."""
    try:
        yield
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED")


def _log_numbers(client: Any, run: str, reference: Reference) -> None:
    from mlflow.entities import Metric, Param

    manifest = reference.manifest
    settings = manifest.get("configuration") or {}
    given = {f"{table}.{key}": v for table, keys in settings.items() for key, v in keys.items()}
    given |= {"pictures": len(reference.pictures), "sigma": reference.sigma}
    params = [Param(key, str(value)[:500]) for key, value in given.items()]
    metrics = []
    for epoch in manifest.get("history") or ():
        at, step = round(1000 * epoch["ended_at"]), epoch["epoch"]
        metrics += [
            Metric(key, epoch[key], at, step) for key in ("training_loss", "validation_loss")
        ]
    client.log_batch(run, metrics, params)


def _draw(config: Config, reference: Reference, file: Path) -> bool:
    """Draw the calibration of the default stream; return False where it cannot be."""
    from lenswatch.evaluate.figure import save_figure
    from lenswatch.node.calibrate import clean_runs
    from lenswatch.node.calibration_file import load_calibration
    from lenswatch.reference.paths import calibration_folder

    calibration = load_calibration(
        calibration_folder(config.storage_path), reference.digest, "default"
    )
    if calibration is None:
        return False
    try:
        runs = clean_runs(config, reference)
    except InputError:  # an adopted pair, or clean pictures that are gone
        return False
    names = {"mmd": "distance (MMD²)", "chart": "lens score"}
    save_figure(file, [(names[key], calibration.thresholds[key], run) for key, run in runs.items()])
    return True


def _save_model(config: Config, reference: Reference, folder: Path) -> None:
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    from lenswatch.registry.pyfunc import ANSWER, REFERENCE, SETTINGS

    kinds = {"distance": "double", "score": "double"}
    signature = ModelSignature(
        Schema([ColSpec("binary", "image")]),
        Schema([ColSpec(kinds.get(name, "boolean"), name) for name in ANSWER]),
        ParamSchema([ParamSpec("stream", "string", "default")]),
    )
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "lenswatch"
        data.mkdir()
        export_reference(config.storage_path, reference.digest, data / REFERENCE)
        (data / SETTINGS).write_text(json.dumps(_settings(config)), encoding="utf-8")
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module="lenswatch.registry.pyfunc",
            data_path=str(data),
            signature=signature,
            pip_requirements=[f"lenswatch[edge,mlflow]=={__version__}"],
            metadata={"reference": reference.digest},
        )


def _settings(config: Config) -> Mapping[str, Any]:
    return {table: dataclasses.asdict(getattr(config, table)) for table in ("detector", "alarm")}


def _register(client: Any, name: str, run: str, digest: str) -> str:
    """Make a new version of the registered model, which is made if there is none."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run).info.artifact_uri}/{_MODEL}"
    return str(client.create_model_version(name, source, run, {"reference": digest}).version)
