"""Lenswatch's parts as scikit-learn estimators: encoders of pictures, and drift detectors."""

from lenswatch.estimators.chart import LensChart
from lenswatch.estimators.drift import DomainClassifierDrift, KSDrift, MMDDrift
from lenswatch.estimators.images import ImageEncoder
from lenswatch.estimators.pixels import ImagePixels, UntrainedEncoder

__all__ = [
    "DomainClassifierDrift",
    "ImageEncoder",
    "ImagePixels",
    "KSDrift",
    "LensChart",
    "MMDDrift",
    "UntrainedEncoder",
]
