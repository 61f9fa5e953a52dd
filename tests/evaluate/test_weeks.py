"""The protocol of weeks, on a small camera that takes 40 pictures a day."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lenswatch.detect.chart.features import Measured, measure_all
from lenswatch.errors import InputError
from lenswatch.evaluate.corruptions import CORRUPTIONS
from lenswatch.evaluate.fouling import FAULTS, fault
from lenswatch.evaluate.weeks import learn, live, replaced
from lenswatch.evaluate.weeks_plan import WeeksPlan, assess_weeks
from lenswatch.evaluate.weeks_report import weeks_page, weeks_tables
from support.lens_footage import frames

pytestmark = pytest.mark.slow
A_DAY = 40
LEARNT = 6 * A_DAY
DAYS = np.arange(14 * A_DAY) / A_DAY


@pytest.fixture(scope="module")
def pictures() -> Any:
    return frames(len(DAYS))


@pytest.fixture(scope="module")
def measured(pictures: Any) -> Measured:
    return measure_all(pictures)


def wall(picture: Any) -> Any:
    built = picture.copy()
    built[:60, 90:] = 150
    built[10:20, 90:] = 60
    return built


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in CORRUPTIONS])
def test_a_fault_grows_with_its_severity_and_stays_in_its_place(name: str) -> None:
    picture = frames(1)[0]
    corrupt, again = fault(name, 3), fault(name, 3)
    assert corrupt(picture, 0) is picture
    changes = [np.abs(corrupt(picture, s).astype(int) - picture).mean() for s in (1, 3, 5)]
    assert 0 < changes[0] < changes[1] < changes[2]
    np.testing.assert_array_equal(corrupt(picture, 3), again(picture, 3))


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(InputError, match="unknown corruption 'rust'; known are: defocus"):
        fault("rust")


def test_a_person_ends_the_alarm_of_a_scene_that_was_changed_on_purpose(
    measured: Measured, pictures: Any
) -> None:
    first = learn(measured[:LEARNT], DAYS[:LEARNT], 200)
    rest = measured[LEARNT:]
    built = measure_all([wall(picture) for picture in pictures[LEARNT:]])
    changed, days = replaced(rest, built, A_DAY), DAYS[LEARNT:]
    learnt = measured[:LEARNT], DAYS[:LEARNT]
    person, gated, daily, never = (
        live(first, learnt, changed, days, policy)
        for policy in ("person", "gated", "daily", "never")
    )
    assert person.accepted[0] == 2
    assert not person.alarm[4 * A_DAY :].any()
    assert gated.alarm[2 * A_DAY :].mean() > 0.9
    assert never.alarm[2 * A_DAY :].mean() > 0.5
    assert gated.accepted == never.accepted == never.renewals == ()
    assert len(daily.renewals) == 8
    assert not daily.alarm[4 * A_DAY :].any()


def test_nobody_accepts_a_fault(measured: Measured, pictures: Any) -> None:
    first = learn(measured[:LEARNT], DAYS[:LEARNT], 200)
    corrupt = fault("defocus")
    fouled = measure_all([corrupt(picture, 3) for picture in pictures[LEARNT:]])
    learnt = measured[:LEARNT], DAYS[:LEARNT]
    life = live(first, learnt, fouled, DAYS[LEARNT:], "person", onset=0)
    assert life.accepted == ()
    assert life.alarm.mean() > 0.95
    assert life.ratios[-1] > 1


def test_a_report_has_all_faults_and_policies(pictures: Any) -> None:
    plan = WeeksPlan(6, faults=("defocus",), onsets=1, after=3, creeping=4)
    steps, until = set[str](), 10 * A_DAY
    found = assess_weeks(pictures[:until], DAYS[:until], plan, lambda step: steps.add(step.task))
    assert json.loads(json.dumps(found))["live days"] == 4
    assert found["learnt"]["images"] == LEARNT
    assert found["learnt"]["witness votes"] is True
    assert found["clean"]["person"]["in drift"] < 0.1
    daily, person = found["sudden"]
    assert [(o["fault"], o["policy"], o["day"]) for o in (daily, person)] == [
        ("defocus", "daily", 1),
        ("defocus", "person", 1),
    ]
    assert person["delay"] == 1
    assert person["last day"] == 1
    assert person["absorbed on day"] is None
    assert daily["absorbed on day"] == 2
    (creeping,) = found["creeping"]
    assert creeping["named"] == "blurred"
    assert 0 < creeping["score"] < creeping["witness"] < 4
    page = weeks_page({"harbour": found})
    assert "harbour" in page
    assert "defocus" in page
    titles = [str(table.title) for table in weeks_tables("harbour", found)]
    assert len(titles) == 3
    assert titles[0] == "harbour: clean days"
    assert steps == {
        "measuring clean pictures",
        "clean days",
        "sudden defocus",
        "creeping defocus",
    }


def test_too_few_days_are_refused(pictures: Any) -> None:
    with pytest.raises(InputError, match=r"3\.0 days after them"):
        assess_weeks(pictures[: 9 * A_DAY], DAYS[: 9 * A_DAY], WeeksPlan(6))
    with pytest.raises(InputError, match="40 pictures in the first 1 days"):
        assess_weeks(pictures, DAYS, WeeksPlan(1))
