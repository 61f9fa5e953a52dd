"""The errors of Lenswatch, all of them.

::

    LenswatchError
    ├── ConfigError             a setting that cannot be used
    ├── InputError              what a caller gave cannot be used; nothing was changed
    │   ├── ImageError          an upload that is no picture we can read
    │   │   └── ImageTooLarge   more bytes or pixels than the configuration allows
    │   └── EmbeddingError      NaN, infinite or misshaped embeddings
    ├── ArtefactError           a reference or calibration that is missing, damaged or tampered with
    ├── BlindKernelError        a bandwidth under which the kernel cannot tell two pictures apart
    ├── StoreError              storage/node.db cannot be used
    ├── WriteError              a file that cannot be written
    ├── TrackingError           the tracking server could not be asked
    │   ├── TrackingUnavailable unreachable, slow or failing: worth another try
    │   └── TrackingRefused     it answered 4xx: another try will not help
    └── ServerError             the tracking server cannot start or go on

Each takes exactly one string, so that it crosses a process boundary unharmed.
"""

__all__ = [
    "ArtefactError",
    "BlindKernelError",
    "ConfigError",
    "EmbeddingError",
    "ImageError",
    "ImageTooLarge",
    "InputError",
    "LenswatchError",
    "ServerError",
    "StoreError",
    "TrackingError",
    "TrackingRefused",
    "TrackingUnavailable",
    "WriteError",
]


class LenswatchError(Exception):
    """What Lenswatch raises on purpose: one string that says what was wrong and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class ConfigError(LenswatchError):
    """A setting that cannot be used."""


class InputError(LenswatchError, ValueError):
    """What a caller gave cannot be used; nothing was changed."""


class ImageError(InputError):
    """An upload that is no picture we can read."""


class ImageTooLarge(ImageError):  # noqa: N818 - the name says it without a suffix
    """More bytes or pixels than the configuration allows."""


class EmbeddingError(InputError):
    """NaN, infinite or misshaped embeddings."""


class ArtefactError(LenswatchError):
    """A reference or calibration that is missing, damaged or tampered with."""


class BlindKernelError(LenswatchError, ValueError):
    """A bandwidth under which the kernel cannot tell two pictures apart."""


class StoreError(LenswatchError):
    """The node's database cannot be used."""


class WriteError(LenswatchError):
    """A file that cannot be written."""


class TrackingError(LenswatchError):
    """The tracking server could not be asked."""


class TrackingUnavailable(TrackingError):  # noqa: N818
    """Unreachable, slow or failing: worth another try."""

    status: int = 0  # of the answer; 0: there was none
    reached: bool = False  # the server may have carried the request out
    retry_after: float = 0.0  # seconds that the server asked us to wait


class TrackingRefused(TrackingError):  # noqa: N818
    """It answered 4xx: another try will not help."""

    status: int = 0  # of the answer
    gone: bool = False  # a DriftWatch server said that there is no such record


class ServerError(LenswatchError):
    """The tracking server cannot start or go on."""
