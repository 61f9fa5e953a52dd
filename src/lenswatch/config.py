"""Settings: config.toml and LENSWATCH_* variables, read into frozen dataclasses.

Each dataclass is a table. Its fields are the keys, with their types, limits and defaults.
`docs/configuration.md` describes every key; a test compares the two.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
import typing
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec
import tomli
from msgspec import Meta

from lenswatch.durations import DURATION, DURATION_RULE
from lenswatch.errors import ConfigError

__all__ = [
    "AlarmConfig",
    "AuthConfig",
    "CameraConfig",
    "CameraStateConfig",
    "Config",
    "DetectorConfig",
    "EncoderConfig",
    "ServerConfig",
    "StorageConfig",
    "TrackingConfig",
    "TransformConfig",
    "UploadConfig",
    "check_settings",
    "load_config",
    "setting_names",
]

# Beginnings of variables with the LENSWATCH_ prefix that are not keys of config.toml.
OTHER_VARIABLES = ("LENSWATCH_CONFIG", "LENSWATCH_TEST_")

# The description of a type ends the message "KEY = VALUE: must be ...".
# msgspec accepts NaN and infinity for a float without limits, so every float here has limits.
_MAX = sys.float_info.max
AtLeast1 = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
AtLeast2 = Annotated[int, Meta(ge=2, description="a whole number, 2 or more")]
NotNegative = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port, 1 to 65535")]
Workers = Annotated[int, Meta(ge=1, le=256, description="1 to 256")]
Side = Annotated[int, Meta(ge=32, le=4096, description="a whole number of pixels, 32 to 4096")]
SampleBits = Literal[0, 10, 12, 14, 16]
Number = Annotated[float, Meta(ge=-_MAX, le=_MAX, description="a number")]
PositiveNumber = Annotated[float, Meta(gt=0, le=_MAX, description="a number greater than 0")]
NotNegativeNumber = Annotated[float, Meta(ge=0, le=_MAX, description="a number, 0 or more")]
Images = Annotated[float, Meta(ge=1, le=_MAX, description="1 or more images")]
Share = Annotated[float, Meta(gt=0, lt=1, description="a number between 0 and 1")]
FolderPath = Annotated[str, Meta(pattern=r"\A[^\x00]+\Z", description="the path of a folder")]
Duration = Annotated[
    str, Meta(pattern=rf"\A({DURATION})?\Z", description=f"empty or {DURATION_RULE}")
]
Secret = Annotated[str, Meta(description="a string", extra={"secret": True})]
Host = Annotated[str, Meta(pattern=r"\A[!-~]+\Z", description="an IP address or a host name")]
UrlPath = Annotated[
    str,
    Meta(
        pattern=r"(?a)\A(/[\w.~-]+)*/?\Z",
        description="empty or a path such as /lenswatch, of letters, digits and . _ ~ -",
    ),
]
Origin = Annotated[
    str,
    Meta(
        pattern=r"\A(\*|[a-z][a-z0-9+.-]*://[!-.0-~]+)\Z",
        description="an origin such as https://lens.example, without a path",
    ),
]


@dataclass(frozen=True)
class TransformConfig:
    """Conversion of a picture to the encoder's input."""

    resize: tuple[Side, Side] = (216, 384)  # height, width
    mean: tuple[Number, Number, Number] = (0.485, 0.456, 0.406)
    std: tuple[PositiveNumber, PositiveNumber, PositiveNumber] = (0.229, 0.224, 0.225)
    sample_bits: SampleBits = 0  # used by the camera, of 16; 0 lets training find out


@dataclass(frozen=True)
class CameraConfig:
    """The cameras whose pictures arrive, and their clocks."""

    collect: Duration = ""  # a node without a reference collects clean pictures for so long
    timezone: str = ""  # an IANA name; "" for the zone of this machine

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of stamps without offset; None for that of this machine."""
        return ZoneInfo(self.timezone) if self.timezone else None


@dataclass(frozen=True)
class CameraStateConfig:
    """Pictures that show the camera clean and dirty."""

    folder: FolderPath = "images"  # under storage.path, unless absolute
    clean: tuple[str, ...] = ("clean/*",)
    dirty: tuple[str, ...] = ("dirty/*",)


@dataclass(frozen=True)
class EncoderConfig:
    """The autoencoder and its training."""

    latent_dim: AtLeast2 = 32
    epochs: AtLeast1 = 30
    batch_size: AtLeast1 = 16
    learning_rate: PositiveNumber = 2e-3
    sparsity_weight: NotNegativeNumber = 1e-4
    patience: AtLeast1 = 6  # epochs without progress before training stops
    validation_share: Share = 0.2  # the last part of the pictures, by time
    seed: NotNegative = 0
    threads: AtLeast1 = 1  # one gives the same weights on any number of cores


@dataclass(frozen=True)
class DetectorConfig:
    """The MMD detector."""

    window_size: AtLeast2 = 12
    sigma: Literal["median"] | PositiveNumber = "median"
    warm_start: bool = True


@dataclass(frozen=True)
class AlarmConfig:
    """The rule that turns distances and lens scores into a verdict."""

    verdict: Literal["either", "mmd", "chart"] = "either"  # statistics that may raise drift
    expected_run_time: Images = 200.0
    warning_distance: Number | None = None
    drift_distance: Number | None = None


@dataclass(frozen=True)
class UploadConfig:
    """Limits of the pictures that are read: uploads, and files from a folder."""

    max_bytes: AtLeast1 = 32 * 2**20
    max_pixels: AtLeast1 = 64_000_000
    max_decode_bytes: AtLeast1 = 300 * 2**20
    timeout: PositiveNumber = 300.0  # seconds that a worker process may take to judge one upload


@dataclass(frozen=True)
class StorageConfig:
    """The node's own storage."""

    path: FolderPath = "storage"
    keep_images: bool = True
    max_bytes: AtLeast1 = 2_000_000_000  # of the drift jobs and pictures that wait to be sent
    keep_originals: Literal["off", "drift", "all"] = "off"  # "drift": and warnings
    originals_max_bytes: AtLeast1 = 5_000_000_000


@dataclass(frozen=True)
class TrackingConfig:
    """The tracking server that drift jobs are sent to. An empty url sends none."""

    url: str = "http://127.0.0.1:5001"
    api_version: str = "latest"
    experiment: str = "lenswatch"
    description: str = ""
    public: bool = False
    tags: tuple[str, ...] = ()
    auth: Literal["none", "mytoken", "token"] = "none"
    token: Secret = field(default="", repr=False)  # an API key or access token
    timeout: PositiveNumber = 10.0  # seconds


@dataclass(frozen=True)
class AuthConfig:
    """Authentication of the tracking server's users."""

    mode: Literal["none", "keys", "oidc"] = "none"
    issuers: tuple[str, ...] = ()
    audience: str = ""
    entitlements_path: str = "realm_access/roles"
    user_entitlements: tuple[str, ...] = ()
    admin_entitlements: tuple[str, ...] = ()
    client_id: str = ""
    client_secret: Secret = field(default="", repr=False)


@dataclass(frozen=True)
class ServerConfig:
    """The tracking server."""

    host: Host = "127.0.0.1"
    port: Port = 5001
    database: Secret = field(default="", repr=False)  # SQLAlchemy URL, which may hold a password
    workers: Workers = 1
    root_path: UrlPath = ""
    max_body_bytes: AtLeast1 = 8 * 2**20
    cors_origins: tuple[Origin, ...] = ()
    log_level: Literal["debug", "info", "warning"] = "warning"  # "info": a line for each request
    auth: AuthConfig = field(default_factory=AuthConfig)


@dataclass(frozen=True)
class Config:
    """All settings.

    Attributes:
        root: Folder of `file`, else the working directory. Relative paths start here.
        file: The configuration file that was read, if any.
    """

    transform: TransformConfig = field(default_factory=TransformConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    camera_state: CameraStateConfig = field(default_factory=CameraStateConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    alarm: AlarmConfig = field(default_factory=AlarmConfig)
    upload: UploadConfig = field(default_factory=UploadConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    root: Path = field(default=Path(), metadata={"key": False})
    file: Path | None = field(default=None, metadata={"key": False})

    @property
    def storage_path(self) -> Path:
        """The storage folder, absolute."""
        return (self.root / self.storage.path).resolve()

    @property
    def image_folder(self) -> Path:
        """The folder that `camera_state` patterns start from, absolute."""
        return (self.storage_path / self.camera_state.folder).resolve()

    @property
    def database_url(self) -> str:
        """The tracking server's SQLAlchemy URL."""
        return self.server.database or f"sqlite:///{self.storage_path / 'server.db'}"


def load_config(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings from `path`, $LENSWATCH_CONFIG or ./config.toml, else use the defaults.

    `LENSWATCH_<TABLE>_<KEY>` variables override the file; any other `LENSWATCH_*` variable warns.

    Raises:
        ConfigError: A named file is missing, a key unknown, or a value has the wrong type or range.
    """
    environ = os.environ if environ is None else environ
    named = path or environ.get("LENSWATCH_CONFIG")
    file = Path(named or "config.toml")
    if named and not file.is_file():
        raise ConfigError(f"{file}: no such configuration file; name an existing one with --config")
    document = _parse(file) if file.is_file() else {}
    _override(document, environ)
    config: Config = dataclasses.replace(
        _convert(Config, document, ""),
        root=file.resolve().parent,
        file=file.resolve() if file.is_file() else None,
    )
    _check_distances(config.alarm)
    _check_timezone(config.camera.timezone)
    return config


def check_settings(table: Any, path: str) -> None:
    """Check a table that was not read from a file as the table `path` of config.toml is checked.

    Raises:
        ConfigError: A value has the wrong type or range.
    """
    _convert(type(table), dataclasses.asdict(table), path)


def setting_names() -> list[str]:
    """Return the path of every key, such as `detector.window_size`."""
    return [".".join(path) for path, _ in _keys(Config)]


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomli.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _check_distances(alarm: AlarmConfig) -> None:
    warning, drift = alarm.warning_distance, alarm.drift_distance
    if warning is not None and drift is None:
        raise ConfigError(
            "alarm.warning_distance is set without alarm.drift_distance; give both or drift alone"
        )
    if warning is not None and drift is not None and warning > drift:
        raise ConfigError(
            f"alarm.warning_distance = {warning} is above alarm.drift_distance = {drift}; "
            "a warning comes first, so make it the smaller one"
        )


def _check_timezone(name: str) -> None:
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last for the name of a folder
        known = available_timezones()
        near = _nearest(name, known)
        hint = f"did you mean {near!r}?" if near else "use a name such as Europe/Lisbon or UTC"
        if not known:
            hint = "this machine has no time zones; install its package tzdata"
        raise ConfigError(f"camera.timezone = {name!r}: no such time zone; {hint}") from None


def _types(table: type) -> dict[str, Any]:
    """Return the type of each key of a table."""
    hints = typing.get_type_hints(table, include_extras=True)
    keys = (f.name for f in dataclasses.fields(table) if f.metadata.get("key", True))
    return {name: hints[name] for name in keys}


def _keys(table: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the type of each key of a table and of the tables in it."""
    for name, kind in _types(table).items():
        if dataclasses.is_dataclass(kind):
            yield from _keys(typing.cast(type, kind), (*path, name))
        else:
            yield (*path, name), kind


def _convert(kind: Any, value: Any, path: str, *, strict: bool = True) -> Any:
    """Return `value` as the type `kind`; with `strict` off, numbers and booleans may be text."""
    if dataclasses.is_dataclass(kind):
        return _convert_table(typing.cast(type, kind), value, path)
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError:
        shown = path if kind is Secret else f"{path} = {value!r}"
        raise ConfigError(f"{shown}: must be {_describe(kind)}") from None


def _convert_table(table: type, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{path} = {values!r}: must be a table, [{path}]")
    prefix, known = f"{path}." if path else "", _types(table)
    for name in values:
        if name not in known:
            near = _nearest(name, known)
            hint = f"did you mean {prefix}{near}?" if near else f"known here: {sorted(known)}"
            raise ConfigError(f"{prefix}{name}: unknown key; {hint}")
    return table(**{k: _convert(known[k], v, f"{prefix}{k}") for k, v in values.items()})


def _nearest(name: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.5)), "")


def _describe(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return str(args[1].description)
    if origin in (typing.Union, UnionType):
        return " or ".join(_describe(arg) for arg in args if arg is not NoneType)
    if origin is Literal:
        return " or ".join(f'"{arg}"' if isinstance(arg, str) else str(arg) for arg in args)
    if origin is tuple:
        count = "" if args[-1] is ... else f" of {len(args)}"
        return f"a list{count}, each {_describe(args[0])}"
    return {str: "a string", bool: "true or false"}[kind]


def _override(document: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put the values of LENSWATCH_* variables into the document; lists are comma-separated."""
    keys = {"LENSWATCH_" + "_".join(path).upper(): (path, kind) for path, kind in _keys(Config)}
    for variable, text in environ.items():
        if not variable.startswith("LENSWATCH_") or variable.startswith(OTHER_VARIABLES):
            continue
        if variable not in keys:
            near = _nearest(variable, keys)
            hint = f"; did you mean {near}?" if near else ""
            warnings.warn(f"{variable} is not a setting of Lenswatch{hint}", stacklevel=3)
            continue
        (*tables, name), kind = keys[variable]
        parts = [part.strip() for part in text.split(",") if part.strip()]
        given = parts if typing.get_origin(kind) is tuple else text
        target: Any = document
        for table in tables:
            target = target.setdefault(table, {}) if isinstance(target, dict) else None
        if isinstance(target, dict):  # else reading the document ends with an error
            target[name] = _convert(kind, given, variable, strict=False)
