"""Commands that make a reference and its thresholds: `train`, `calibrate` and `adopt`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lenswatch.cli.collect import mention_collections
from lenswatch.cli.console import say, show_progress
from lenswatch.cli.footage import find_told, tell_order
from lenswatch.cli.options import FILE, FOLDER, at_scheduler, with_config, with_scheduler
from lenswatch.config import Config
from lenswatch.errors import ConfigError, InputError

if TYPE_CHECKING:
    from lenswatch.node.calibration_file import Calibration
    from lenswatch.reference.artefact import Reference

__all__ = ["adopt", "calibrate", "train"]


@click.command()
@with_config
@with_scheduler
def train(config: Config, scheduler: str | None) -> None:
    """Check the clean pictures, train on them, and calibrate.

    What `lenswatch check` would warn of is told first, on standard error.
    Streams with thresholds of their own are calibrated again with the clean pictures they had. Then
    the new reference becomes the current one. Up to 2 % of the pictures may be unreadable; they are
    listed and left out. With $MLFLOW_TRACKING_URI set, the training is logged there in the end.
    """
    from lenswatch.checking.report import check
    from lenswatch.reference.clean import find_clean
    from lenswatch.reference.schema import save_schema
    from lenswatch.reference.training import build_reference
    from lenswatch.registry.push import push_if_wanted

    ordered = tell_order(config.image_folder, find_clean(config))
    with show_progress() as progress, at_scheduler(scheduler) as cluster:
        report = check(config.image_folder, ordered, config, progress)
        for finding in report.before_training:
            click.echo(f"lenswatch: {config.image_folder}: {finding.line()}", err=True)
        reference = build_reference(
            config, ordered.pictures, progress, make_current=False, cluster=cluster
        )
    save_schema(config.storage_path, reference.digest, report.schema)
    say(f"reference {reference.digest} from {len(reference.pictures)} clean pictures")
    calibration = _take_up(config, reference)
    _check_on_dirty(config, reference, calibration)
    for line in push_if_wanted(config, reference.digest):
        say(line)
    mention_collections(config)


def _take_up(config: Config, reference: Reference) -> Calibration:
    """Calibrate all streams under a new reference, make it the current one, and say what was done."""
    from lenswatch.node.judge import Judge
    from lenswatch.node.recalibrate import alarm_lines, take_up

    with show_progress() as progress:
        taken_up = take_up(config, reference, progress)
    say("stream default:")
    for line in taken_up.default.lines():
        say(f"  {line}")
    if not Judge.of(taken_up.default, config.alarm).can_alarm:
        say(f"  warning: nothing can alarm with alarm.verdict = {config.alarm.verdict!r}")
    for line in (*taken_up.lines, *alarm_lines(config)):
        say(line)
    return taken_up.default


def _check_on_dirty(config: Config, reference: Reference, calibration: Calibration) -> None:
    """Print how many windows of dirty pictures are above the threshold, if there are such pictures."""
    from lenswatch.reference.footage import read_pictures
    from lenswatch.reference.order import find_in_order
    from lenswatch.reference.paths import kept_folder

    try:
        dirty = config.camera_state.dirty
        kept = kept_folder(config.storage_path)
        found = find_in_order(config.image_folder, dirty, config.camera.zone, but=kept).pictures
        size, bits = reference.transform.resize, reference.transform.sample_bits
        footage = read_pictures(found, size, config.upload, kind="dirty pictures", sample_bits=bits)
    except ConfigError:
        return
    except InputError as error:
        click.echo(f"lenswatch: warning: {error}", err=True)
        return
    threshold = calibration.thresholds.get("mmd")
    if threshold is None:
        return
    embeddings = [reference.encoder(pixels) for pixels in footage.pixels]
    distances = reference.detector(config.detector.window_size).distances(embeddings)
    drifted = int((distances > threshold.drift).sum())
    full = max(0, len(footage.files) - config.detector.window_size + 1)
    say(
        f"dirty pictures: {len(footage.files)}; by the distance alone, drift in {drifted} of {full} windows"
    )


@click.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="Camera to calibrate.")
@with_scheduler
@click.option("--plot", type=FILE, help="Draw scores and thresholds into this file.")
@click.argument("folder", required=False, type=FOLDER)
def calibrate(
    config: Config, stream: str, scheduler: str | None, plot: Path | None, folder: Path | None
) -> None:
    """Find the thresholds of a stream from clean pictures.

    FOLDER holds clean pictures of the stream, which are remembered for the next training. Without it
    the clean pictures of the reference are used. The thresholds of the stream "default" apply to all
    streams that have none of their own.
    They aim at alarm.expected_run_time.
    """
    from lenswatch.node.calibrate import calibrate_stream
    from lenswatch.node.judge import Judge
    from lenswatch.reference.artefact import load_reference

    pictures = find_told(config, folder, ["*"], key="FOLDER").pictures if folder else None
    reference = load_reference(config.storage_path)
    say(f"stream {stream}:")
    with at_scheduler(scheduler) as cluster:
        calibration = calibrate_stream(config, reference, stream, pictures, cluster=cluster)
    for line in calibration.lines():
        say(f"  {line}")
    if not Judge.of(calibration, config.alarm).can_alarm:
        say(f"  warning: nothing can alarm with alarm.verdict = {config.alarm.verdict!r}")
    mention_collections(config)
    if plot is not None:
        _plot(config, reference, calibration, pictures, plot)


def _plot(
    config: Config,
    reference: Reference,
    calibration: Calibration,
    pictures: Sequence[Path] | None,
    file: Path,
) -> None:
    from lenswatch.evaluate.figure import save_figure
    from lenswatch.node.calibrate import clean_runs

    runs = clean_runs(config, reference, pictures)
    names = {"mmd": "distance (MMD²)", "chart": "lens score"}
    panels = [(names[key], calibration.thresholds[key], run) for key, run in runs.items()]
    save_figure(file, panels)
    say(f"drawn: {file}")


@click.command()
@with_config
@click.option(
    "--network",
    metavar="MODULE:CLASS",
    help="Your class, of which autoencoder.pth is a state dict.",
)
@click.argument("folder", type=FOLDER, required=False)
def adopt(config: Config, network: str | None, folder: Path | None) -> None:
    """Adopt the tutorial's pair of files as the reference.

    FOLDER holds autoencoder.pth and clean_embeddings.pth. Without it the folder is taken in which
    the archive lies, /storage on AI4OS. autoencoder.pth may be any encoder as TorchScript,
    torch.export or ONNX, that takes pictures normalised by [transform]; or the state dict of a
    class of your own, with --network.
    """
    from lenswatch.node.starting import tutorial_folder
    from lenswatch.reference.artefact import save_reference
    from lenswatch.reference.foreign import exported
    from lenswatch.reference.keep_light import keep_light, noise
    from lenswatch.reference.manifest import EMBEDDINGS, WEIGHTS
    from lenswatch.reference.pair import load_pair

    folder = folder or tutorial_folder(config)
    if folder is None:
        raise InputError(
            f"FOLDER is missing, and no {WEIGHTS} and {EMBEDDINGS} lie beside the archive; give it"
        )
    sigma = None if config.detector.sigma == "median" else float(config.detector.sigma)
    with tempfile.TemporaryDirectory() as temporary:
        weights = folder / WEIGHTS
        if network is not None:
            content = exported(network, weights, config.transform.resize)
            weights = Path(temporary) / WEIGHTS
            weights.write_bytes(content)
        pair = load_pair(weights, folder / EMBEDDINGS, config.transform, sigma)
        manifest = {"source": str(folder)}
        reference = save_reference(config.storage_path, pair, manifest, make_current=False)
    reference = keep_light(config.storage_path, reference, noise(reference.transform.resize))
    say(f"reference {reference.digest} from {len(reference.embeddings)} clean embeddings")
    _take_up(config, reference)
