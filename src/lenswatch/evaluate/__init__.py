"""Evaluation of drift detectors on a user's own footage; docs/evaluate.md has the protocol."""

from lenswatch.evaluate.conformance import check_detector
from lenswatch.evaluate.corruptions import CORRUPTIONS, corruption
from lenswatch.evaluate.ours import make_detector
from lenswatch.evaluate.protocol import Outcome, Plan, evaluate, figures
from lenswatch.evaluate.rivals import RIVALS

__all__ = [
    "CORRUPTIONS",
    "RIVALS",
    "Outcome",
    "Plan",
    "check_detector",
    "corruption",
    "evaluate",
    "figures",
    "make_detector",
]
