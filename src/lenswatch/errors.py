"""All errors of Lenswatch.

::

    LenswatchError
    ├── ConfigError             an invalid setting
    ├── InputError              an invalid argument; nothing was changed
    │   ├── ImageError          a file that cannot be read as a picture
    │   │   └── ImageTooLarge   more bytes or pixels than the settings allow
    │   └── EmbeddingError      embeddings with NaN, infinities or a wrong shape
    ├── ArtefactError           a reference or calibration that is missing, damaged or was changed
    ├── BlindKernelError        a bandwidth with which the kernel cannot tell two pictures apart
    ├── StoreError              a node.db that cannot be used
    │   ├── StoreUnavailable    a node's database that cannot be used until something outside has changed
    │   │   └── DiskFull        a node.db that cannot be written until there is space again
    │   └── StoreDamaged        a node.db with damaged pages
    ├── WriteError              a file that cannot be written
    ├── WorkerError             a call that no worker process carried out; another try may succeed
    ├── TrackingError           a request that the tracking server did not carry out
    │   ├── TrackingUnavailable the server is unreachable, slow or failing; a later try may succeed
    │   └── TrackingRefused     the server itself refused it; another try will not help
    ├── RegistryError           a request that MLflow did not carry out
    └── ServerError             a tracking server that cannot start or continue

Each takes exactly one string, so that it can be pickled and sent to another process.
"""

__all__ = [
    "ArtefactError",
    "BlindKernelError",
    "ConfigError",
    "DiskFull",
    "EmbeddingError",
    "ImageError",
    "ImageTooLarge",
    "InputError",
    "LenswatchError",
    "RegistryError",
    "ServerError",
    "StoreDamaged",
    "StoreError",
    "StoreUnavailable",
    "TrackingError",
    "TrackingRefused",
    "TrackingUnavailable",
    "WorkerError",
    "WriteError",
]


class LenswatchError(Exception):
    """Base of all errors. The message says what was wrong, with which value, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class ConfigError(LenswatchError):
    """An invalid setting."""


class InputError(LenswatchError, ValueError):
    """An invalid argument; nothing was changed."""


class ImageError(InputError):
    """A file that cannot be read as a picture."""


class ImageTooLarge(ImageError):  # noqa: N818 - the name says it without a suffix
    """More bytes or pixels than the settings allow."""


class EmbeddingError(InputError):
    """Embeddings with NaN, infinities or a wrong shape."""


class ArtefactError(LenswatchError):
    """A reference or calibration that is missing, damaged or was changed."""


class BlindKernelError(LenswatchError, ValueError):
    """A bandwidth with which the kernel cannot tell two pictures apart."""


class StoreError(LenswatchError):
    """A `node.db` that cannot be used."""


class StoreUnavailable(StoreError):  # noqa: N818
    """A node's database that cannot be used until something outside has changed; later it may be."""


class DiskFull(StoreUnavailable):
    """A `node.db` that cannot be written until there is space on its disk again."""


class StoreDamaged(StoreError):  # noqa: N818
    """A `node.db` with damaged pages."""


class WriteError(LenswatchError):
    """A file that cannot be written."""


class WorkerError(LenswatchError):
    """A call that no worker process carried out; another try may succeed.

    Attributes:
        died: The process with the call ended, and nobody wanted that.
        retry_after: Seconds after which another try makes sense.
    """

    died: bool = False
    retry_after: float = 5.0


class TrackingError(LenswatchError):
    """A request that the tracking server did not carry out."""


class TrackingUnavailable(TrackingError):  # noqa: N818
    """The server is unreachable, slow or failing; a later try may succeed.

    So it is when something else answered in the server's place, such as a gateway or a captive portal.

    Attributes:
        status: Status of the reply; 0 when there was none.
        reason: What was wrong, without the address; empty if only the message says it.
        reached: The server may have carried the request out.
        retry_after: Seconds that the server asked us to wait.
        of_known_jobs: Other jobs were accepted while these had failed already: this is no outage.
    """

    status: int = 0
    reason: str = ""
    reached: bool = False
    retry_after: float = 0.0
    of_known_jobs: bool = False


class TrackingRefused(TrackingError):  # noqa: N818
    """The server itself refused the request; another try will not help.

    Attributes:
        status: Status of the reply.
        reason: Status and complaint of the reply, without its address; empty if there is none.
        gone: A DriftWatch server replied that there is no such record.
    """

    status: int = 0
    reason: str = ""
    gone: bool = False


class RegistryError(LenswatchError):
    """A request that MLflow did not carry out, or a registered model that is no reference."""


class ServerError(LenswatchError):
    """A tracking server that cannot start or continue."""
