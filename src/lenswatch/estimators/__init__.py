"""Lenswatch's parts as scikit-learn estimators: an encoder of pictures, and two drift detectors."""

from lenswatch.estimators.drift import KSDrift, MMDDrift
from lenswatch.estimators.images import ImageEncoder

__all__ = ["ImageEncoder", "KSDrift", "MMDDrift"]
