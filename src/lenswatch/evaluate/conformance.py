"""Conformance of a detector to the protocol: what every detector has to hold, and a check of each.

The clean footage is a drawn scene with sensor noise and something that passes by, so that a check needs
no files and takes the time that making the detector four times takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, NoReturn

import numpy as np

from lenswatch.detect.arrays import Floats, Pixels
from lenswatch.errors import InputError
from lenswatch.evaluate.corruptions import corruption
from lenswatch.evaluate.protocol import Detector, MakeDetector

__all__ = ["ConformanceError", "check_detector", "drawn_footage"]

_CONFIGURE, _LATER = 120, 60  # images
_FAULTS: dict[str, Callable[[Pixels], Pixels]] = {
    "black": np.zeros_like,
    "white": lambda image: np.full_like(image, 255),
    "blurred": lambda image: corruption("defocus")(image, 5),
    "noisy": lambda image: corruption("gaussian noise")(image, 5),
}

Scores = list[float | None]


class ConformanceError(AssertionError):
    """A property that a detector does not hold; the message begins with its name."""


def check_detector(make: MakeDetector, *, ert: float = 200.0, seed: int = 0) -> None:
    """Check that the detectors which `make` returns keep to the protocol.

    The properties, in the order in which they are checked:

    - **too few images**: without clean images, `make` raises InputError.
    - **attributes**: there are `update`, `reset` and a finite `threshold`.
    - **answers**: `update` returns (score, warning, drift). The score is a finite number; None or NaN is
      allowed only before the first score, which comes within 60 images. Drift is a score above the
      threshold, and with drift there is a warning. The threshold does not change.
    - **images**: neither `make` nor `update` changes the caller's arrays, and a change of them afterwards
      changes no score.
    - **reset**: after `reset`, the detector scores as when it was new.
    - **reproducible**: two detectors from the same images and seed give the same scores, whatever another
      detector sees meanwhile.
    - **size**: images of another size, odd numbers of rows and columns among them, can be used.
    - **clean images**: at most half of them are drift.
    - **faults**: black, white, blurred or noisy images are drift, at least one of these kinds, within 60
      images; and for that kind the score rises.

    Args:
        make: Makes a detector, as for `evaluate`.
        ert: Expected run time asked for.
        seed: Seed for the detector.

    Raises:
        ConformanceError: an AssertionError that names the first property that does not hold.

    Example:
        >>> class Brightness:
        ...     def __init__(self, clean):
        ...         self.clean = np.mean([image.mean() for image in clean])
        ...         self.threshold = 20.0
        ...
        ...     def update(self, image):
        ...         score = abs(float(image.mean()) - self.clean)
        ...         return score, score > 10, score > self.threshold
        ...
        ...     def reset(self): ...
        >>> def make(clean_images, target_ert, seed):
        ...     if not clean_images:
        ...         raise InputError("no clean images")
        ...     return Brightness(clean_images)
        >>> check_detector(make)
    """
    _check_too_few(make, ert, seed)
    footage = drawn_footage(_CONFIGURE + _LATER)
    clean, later = footage[:_CONFIGURE], footage[_CONFIGURE:]
    with _property("images"):
        detector = _made(make, clean, ert, seed)
    _check_attributes(detector)
    with _property("answers"):
        scores = _check_answers(detector, later)
    with _property("reset"):
        _check_buffers(detector, later, scores)
        _check_reset(detector, later, scores)
    with _property("reproducible"):
        _check_reproducible(make, detector, clean, later, scores, (ert, seed))
    with _property("size"):
        _check_size(make, ert, seed)
    _check_clean(detector, scores)
    with _property("faults"):
        _check_faults(detector, later)


def drawn_footage(count: int, shape: tuple[int, int] = (128, 160), seed: int = 0) -> list[Pixels]:
    """Return clean images (h, w, 3) of a still scene with sensor noise and a passing object."""
    rng, (height, width) = np.random.default_rng(seed), shape
    tiles = rng.uniform(60, 190, (-(-height // 8), -(-width // 8), 3))
    scene = np.kron(tiles, np.ones((8, 8, 1)))[:height, :width]
    images = []
    for _ in range(count):
        image = scene + rng.normal(0, 2, scene.shape)
        row, column = rng.integers(0, height - 12), rng.integers(0, width - 6)
        image[row : row + 12, column : column + 6] = (60, 80, 60)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return images


def _fail(name: str, message: str, cause: Exception | None = None) -> NoReturn:
    raise ConformanceError(f"{name}: {message}") from cause


@contextmanager
def _property(name: str) -> Iterator[None]:
    """Report an exception of the detector itself as a breach of the property that is being checked."""
    try:
        yield
    except ConformanceError:
        raise
    except Exception as error:
        _fail(name, f"the detector raises {error!r}", error)


def _made(make: MakeDetector, clean: Sequence[Pixels], ert: float, seed: int) -> Detector:
    """Make a detector and check that the images were left alone."""
    given = [image.copy() for image in clean]
    detector = make(given, ert, seed)
    if not all(map(np.array_equal, given, clean)):
        _fail("images", "make changes the clean images that it is given; let it copy them")
    return detector


def _check_too_few(make: MakeDetector, ert: float, seed: int) -> None:
    advice = "raise lenswatch.errors.InputError with a sentence that says how many are needed"
    try:
        make([], ert, seed)
    except InputError:
        return
    except TypeError as error:
        call = "it is called as make(clean_images, ert, seed)"
        _fail(
            "too few images", f"make raises {error!r} without images; {call}, and {advice}", error
        )
    except Exception as error:
        _fail("too few images", f"make raises {error!r} without images; {advice}", error)
    _fail("too few images", f"make returns a detector without any clean image; {advice}")


def _check_attributes(detector: Detector) -> None:
    for name in ("update", "reset"):
        if not callable(getattr(detector, name, None)):
            _fail("attributes", f"the detector has no method {name}")
    _threshold(detector)


def _threshold(detector: Detector) -> float:
    threshold: Any = getattr(detector, "threshold", None)
    if not isinstance(threshold, Real) or not math.isfinite(threshold):
        _fail("attributes", f"threshold is {threshold!r}; it has to be a finite number")
    return float(threshold)


def _answer(detector: Detector, image: Pixels, i: int) -> float | None:
    """Return the score of one image, None while there is none; check the whole answer."""
    threshold, seen = _threshold(detector), image.copy()
    answer: Any = detector.update(image)
    if not np.array_equal(seen, image):
        _fail("images", f"update changes the image that it is given (image {i})")
    if not isinstance(answer, tuple) or len(answer) != 3:
        _fail("answers", f"update returns {answer!r}; it has to be (score, warning, drift)")
    score, warning, drift = answer
    if any(not isinstance(flag, bool | np.bool_) for flag in (warning, drift)):
        _fail(
            "answers", f"warning and drift are {warning!r} and {drift!r} (image {i}), not booleans"
        )
    if score is not None and not isinstance(score, Real):
        _fail("answers", f"the score of image {i} is {score!r}; it has to be a number or None")
    if score is not None and math.isinf(score):
        _fail("answers", f"the score of image {i} is {score!r}; it has to be finite")
    value = None if score is None or math.isnan(score) else float(score)
    if drift != (value is not None and value > threshold):
        _fail(
            "answers", f"drift is {drift} with score {score} and threshold {threshold} (image {i})"
        )
    if drift and not warning:
        _fail("answers", f"there is drift without a warning (image {i})")
    return value


def _check_answers(detector: Detector, later: Sequence[Pixels]) -> Scores:
    threshold = _threshold(detector)
    scores = [_answer(detector, image, i) for i, image in enumerate(later)]
    if _threshold(detector) != threshold:
        _fail("answers", f"the threshold changes from {threshold} to {detector.threshold}")
    first = next((i for i, score in enumerate(scores) if score is not None), None)
    if first is None:
        _fail("answers", f"there is no score after {len(later)} images")
    if None in scores[first:]:
        missing = scores.index(None, first)
        _fail("answers", f"image {missing} has no score, after image {first} had one")
    return scores


def _check_buffers(detector: Detector, later: Sequence[Pixels], scores: Scores) -> None:
    """Give all images in one buffer, and overwrite it after each."""
    detector.reset()
    buffer, found = np.empty_like(later[0]), Scores()
    for i, image in enumerate(later):
        buffer[:] = image
        found.append(_answer(detector, buffer, i))
        buffer[:] = 0
    if found != scores:
        # Without a buffer, a difference is the fault of reset.
        _check_reset(detector, later, scores)
        _fail(
            "images", f"update keeps the image that it is given: {_differ(found, scores)}; copy it"
        )


def _check_reset(detector: Detector, later: Sequence[Pixels], scores: Scores) -> None:
    for image in later[:30]:
        detector.update(np.zeros_like(image))
    detector.reset()
    found = [_answer(detector, image, i) for i, image in enumerate(later)]
    if found != scores:
        _fail("reset", f"after reset the detector is not as new: {_differ(found, scores)}")


def _check_reproducible(
    make: MakeDetector,
    detector: Detector,
    clean: Sequence[Pixels],
    later: Sequence[Pixels],
    scores: Scores,
    settings: tuple[float, int],
) -> None:
    """Compare with a second detector whose clean images are overwritten, while the first sees black."""
    given = [image.copy() for image in clean]
    second = make(given, *settings)
    for image in given:
        image[:] = 0
    if (found := _side_by_side(second, detector, later)) == scores:
        return
    third = make([image.copy() for image in clean], *settings)
    if _side_by_side(third, detector, later) == scores:
        _fail("images", f"the detector keeps the clean images: {_differ(found, scores)}; copy them")
    third = make([image.copy() for image in clean], *settings)
    alone = [_answer(third, image, i) for i, image in enumerate(later)]
    if alone == scores:
        _fail("reproducible", f"detectors share state: {_differ(found, scores)}")
    _fail("reproducible", f"a second detector with the same seed differs: {_differ(alone, scores)}")


def _side_by_side(detector: Detector, other: Detector, later: Sequence[Pixels]) -> Scores:
    found = Scores()
    for i, image in enumerate(later):
        other.update(np.zeros_like(image))
        found.append(_answer(detector, image, i))
    return found


def _check_size(make: MakeDetector, ert: float, seed: int) -> None:
    images = drawn_footage(_CONFIGURE + 3, shape=(91, 133))
    detector = make(images[:_CONFIGURE], ert, seed)
    for i, image in enumerate(images[_CONFIGURE:]):
        _answer(detector, image, i)


def _check_clean(detector: Detector, scores: Scores) -> None:
    found = _finite(scores)
    share = float(np.mean(found > detector.threshold))
    if share > 0.5:
        _fail("clean images", f"{100 * share:.0f} % of the clean images are drift")


def _check_faults(detector: Detector, later: Sequence[Pixels]) -> None:
    highest = {}
    for name, fault in _FAULTS.items():
        detector.reset()
        clean = _finite([_answer(detector, image, i) for i, image in enumerate(later)])
        faulty = [_answer(detector, fault(image), i) for i, image in enumerate(later)]
        highest[name] = float(np.max(_finite(faulty)))
        if highest[name] > max(detector.threshold, float(np.median(clean))):
            return
    tried = ", ".join(f"{name} {score:.4g}" for name, score in highest.items())
    limit = f"{detector.threshold:.4g}"
    _fail("faults", f"no fault is drift; highest scores, for a threshold of {limit}: {tried}")


def _finite(scores: Scores) -> Floats:
    return np.array([score for score in scores if score is not None])


def _differ(found: Scores, expected: Scores) -> str:
    i = next(i for i, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1])
    return f"image {i} scores {found[i]} instead of {expected[i]}"
