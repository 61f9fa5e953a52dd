"""Every built-in detector passes `check_detector`, and a detector that breaks one property is caught."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lenswatch.config import EncoderConfig
from lenswatch.errors import InputError
from lenswatch.evaluate import check_detector
from lenswatch.evaluate.conformance import ConformanceError, drawn_footage
from lenswatch.evaluate.encoding import Encoder
from lenswatch.evaluate.makers import BUILT_IN, with_encoder
from lenswatch.evaluate.ours import make_chart, make_mmd

DETECTORS = {**BUILT_IN, "chart": make_chart, "mmd": make_mmd}


@pytest.fixture(scope="module", autouse=True)
def _footage_is_drawn_once() -> Iterator[None]:
    """Hand out copies, since a detector may change what it gets."""
    drawn = functools.cache(drawn_footage)

    def copies(*given: Any, **options: Any) -> list[Any]:
        return [image.copy() for image in drawn(*given, **options)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lenswatch.evaluate.conformance.drawn_footage", copies)
        yield


@pytest.fixture(scope="module")
def encoder() -> Any:
    """Trained on what `check_detector` configures with; one epoch is enough for its properties."""
    return Encoder.train(drawn_footage(120), 0, EncoderConfig(epochs=1))


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_every_built_in_detector_keeps_to_the_protocol(name: Any, encoder: Any) -> None:
    check_detector(with_encoder(DETECTORS[name], encoder))


class Good:
    """Drift when the mean of the last three images is 20 away from that of the clean ones."""

    threshold = 20.0

    def __init__(self, clean: Any) -> None:
        if not clean:
            raise InputError("no clean images")
        self.clean = float(np.mean([image.mean() for image in clean]))
        self.seen: list[float] = []

    def update(self, image: Any) -> Any:
        self.seen = [*self.seen[-2:], float(image.mean())]
        return self.answer(None if len(self.seen) < 3 else self.score())

    def score(self) -> Any:
        return abs(float(np.mean(self.seen)) - self.clean)

    def answer(self, score: Any) -> tuple[Any, ...]:
        drift = score is not None and score > self.threshold
        return score, drift, drift

    def reset(self) -> None:
        self.seen = []


class WithoutImages(Good):
    def __init__(self, clean: Any) -> None:
        super().__init__(clean or [np.zeros((2, 2, 3), np.uint8)])


class OtherError(Good):
    def __init__(self, clean: Any) -> None:
        super().__init__([clean[0], *clean])


class ResetFails(Good):
    def reset(self) -> None:
        raise RuntimeError("no reset")


class UpdateFails(Good):
    def update(self, image: Any) -> Any:
        raise RuntimeError("no update")


class NoReset(Good):
    reset = None  # type: ignore[assignment]


class InfiniteThreshold(Good):
    threshold = float("inf")


class Pair(Good):
    def update(self, image: Any) -> Any:
        return super().update(image)[:2]


class Infinite(Good):
    def score(self) -> Any:
        return float("inf")


class Text(Good):
    def score(self) -> str:
        return "high"

    def answer(self, score: Any) -> tuple[Any, ...]:
        return score, False, False


class Numbers(Good):
    def answer(self, score: Any) -> tuple[Any, ...]:
        return score, 0, 0


class LaterNaN(Good):
    def update(self, image: Any) -> Any:
        score, warning, drift = super().update(image)
        self.count = getattr(self, "count", 0) + 1
        return (float("nan"), False, False) if self.count == 20 else (score, warning, drift)


class NeverScores(Good):
    def update(self, image: Any) -> tuple[Any, ...]:
        return None, False, False


class OtherDrift(Good):
    def answer(self, score: Any) -> tuple[Any, ...]:
        return score, True, True


class NoWarning(Good):
    threshold = -1.0

    def answer(self, score: Any) -> tuple[Any, ...]:
        return score, False, score is not None


class MovingThreshold(Good):
    def update(self, image: Any) -> Any:
        self.threshold += 1
        return super().update(image)


class SpoilsImages(Good):
    def update(self, image: Any) -> Any:
        answer = super().update(image)
        image[0] = 0
        return answer


class SpoilsClean(Good):
    def __init__(self, clean: Any) -> None:
        super().__init__(clean)
        for image in clean:
            image[0] = 0


class KeepsImages(Good):
    def update(self, image: Any) -> Any:
        self.seen = [*self.seen[-2:], image]
        if len(self.seen) < 3:
            return self.answer(None)
        return self.answer(abs(float(np.mean(self.seen)) - self.clean))


class KeepsClean(Good):
    def __init__(self, clean: Any) -> None:
        super().__init__(clean)
        self.images = clean

    def score(self) -> Any:
        return abs(float(np.mean(self.seen)) - float(np.mean(self.images[0])))


class KeepsWindow(Good):
    def reset(self) -> None:
        pass


class Random(Good):
    made = itertools.count()

    def __init__(self, clean: Any) -> None:
        super().__init__(clean)
        self.clean += next(self.made)


class SharedState(Good):
    memory: list[Any] = []  # noqa: RUF012 - the fault

    @property
    def seen(self) -> Any:
        return self.memory

    @seen.setter
    def seen(self, value: Any) -> None:
        self.memory[:] = value


class OneSize(Good):
    def __init__(self, clean: Any) -> None:
        super().__init__(clean)
        assert clean[0].shape == (128, 160, 3), "only 128 x 160"

    def update(self, image: Any) -> Any:
        image.reshape(128, 160, 3)
        return super().update(image)


class OneSizeLater(Good):
    def update(self, image: Any) -> Any:
        image.reshape(128, 160, 3)
        return super().update(image)


class AlwaysAlarms(Good):
    threshold = -1.0


class Blind(Good):
    threshold = 1000.0


class Backwards(Good):
    threshold = -1000.0

    def score(self) -> Any:
        return -super().score()


@pytest.mark.slow
def test_a_simple_detector_keeps_to_the_protocol() -> None:
    check_detector(lambda clean, ert, seed: Good(clean))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (WithoutImages, "^too few images: make returns a detector without any"),
        (
            OtherError,
            r"^too few images: make raises IndexError.*raise lenswatch\.errors\.InputError",
        ),
        (NoReset, "^attributes: the detector has no method reset"),
        (ResetFails, "^reset: the detector raises RuntimeError"),
        (UpdateFails, "^answers: the detector raises RuntimeError"),
        (InfiniteThreshold, "^attributes: threshold is inf"),
        (Pair, r"^answers: update returns \(None, False\)"),
        (Infinite, "^answers: the score of image 2 is inf"),
        (Text, "^answers: the score of image 2 is 'high'"),
        (Numbers, "^answers: warning and drift are 0 and 0"),
        (LaterNaN, "^answers: image 19 has no score, after image 2 had one"),
        (NeverScores, "^answers: there is no score after 60 images"),
        (OtherDrift, "^answers: drift is True with score None"),
        (NoWarning, "^answers: there is drift without a warning"),
        (MovingThreshold, "^answers: the threshold changes from 20.0 to 80.0"),
        (SpoilsImages, "^images: update changes the image"),
        (SpoilsClean, "^images: make changes the clean images"),
        (KeepsImages, "^images: update keeps the image.*image 2 scores"),
        (KeepsClean, "^images: the detector keeps the clean images"),
        (KeepsWindow, "^reset: after reset the detector is not as new: image 0 scores"),
        (Random, "^reproducible: a second detector with the same seed differs"),
        (SharedState, "^reproducible: detectors share state"),
        (OneSize, "^size: .*only 128 x 160"),
        (OneSizeLater, "^size: the detector raises ValueError"),
        (AlwaysAlarms, "^clean images: 100 % of the clean images are drift"),
        (Blind, "^faults: no fault is drift; highest scores.*black"),
        (Backwards, "^clean images: 100 %"),
    ],
)
def test_a_detector_that_breaks_a_property_is_caught(bad: Any, message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_detector(lambda clean, ert, seed: bad(clean))
