"""config.toml and LENSWATCH_* variables, read into frozen dataclasses.

One dataclass is one table; its fields are the keys, their annotations the types, their defaults the
defaults. `docs/configuration.md` tells users about each of them (a test holds it to that).
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli

from lenswatch.errors import ConfigError

__all__ = [
    "AlarmConfig",
    "AuthConfig",
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

# Variables with the LENSWATCH_ prefix that are no setting of config.toml.
OTHER_VARIABLES = frozenset({"LENSWATCH_CONFIG", "LENSWATCH_TEST_POSTGRES"})

Check = tuple[Callable[[Any], object], str]


def _key(default: Any, check: Check | None = None) -> Any:
    return field(default=default, metadata={"check": check} if check else {})


_POSITIVE: Check = (lambda v: v > 0, "greater than 0")
_NOT_NEGATIVE: Check = (lambda v: v >= 0, "0 or more")
_AT_LEAST_2: Check = (lambda v: v >= 2, "2 or more")
_PORT: Check = (lambda v: 1 <= v <= 65535, "a port, 1 to 65535")
_WORKERS: Check = (lambda v: 1 <= v <= 256, "1 to 256")
_SHARE: Check = (lambda v: 0 < v < 1, "between 0 and 1")
_PIXELS: Check = (lambda v: min(v) >= 32 and max(v) <= 4096, "two numbers from 32 to 4096")
_STD: Check = (lambda v: min(v) > 0, "three numbers greater than 0")
_HOST: Check = (lambda v: re.fullmatch(r"[!-~]+", v), "an address or the name of one")
_PATH: Check = (
    lambda v: re.fullmatch(r"(/[\w.~-]+)*/?", v, re.ASCII),
    "empty or a path such as /lenswatch, of letters, digits and . _ ~ -",
)
_ORIGINS: Check = (
    lambda v: all(re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[!-.0-~]+", origin) for origin in v),
    "origins such as https://lens.example, without a path",
)


@dataclass(frozen=True)
class TransformConfig:
    """How an image becomes the encoder's input."""

    resize: tuple[int, int] = _key((216, 384), _PIXELS)  # height, width
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = _key((0.229, 0.224, 0.225), _STD)


@dataclass(frozen=True)
class CameraStateConfig:
    """Which pictures show the camera clean and dirty."""

    folder: str = "images"  # under storage.path, unless absolute
    clean: tuple[str, ...] = ("clean/*",)
    dirty: tuple[str, ...] = ("dirty/*",)


@dataclass(frozen=True)
class EncoderConfig:
    """The autoencoder and its training."""

    latent_dim: int = _key(32, _AT_LEAST_2)
    epochs: int = _key(30, _POSITIVE)
    batch_size: int = _key(16, _POSITIVE)
    learning_rate: float = _key(2e-3, _POSITIVE)
    sparsity_weight: float = _key(1e-4, _NOT_NEGATIVE)
    patience: int = _key(6, _POSITIVE)  # epochs without progress before training stops
    validation_share: float = _key(0.2, _SHARE)  # the last part of the pictures, by time
    seed: int = _key(0, _NOT_NEGATIVE)
    threads: int = _key(1, _POSITIVE)  # one gives the same weights on any number of cores


@dataclass(frozen=True)
class DetectorConfig:
    """The MMD detector."""

    window_size: int = _key(12, _AT_LEAST_2)
    sigma: float | Literal["median"] = _key(
        "median", (lambda v: v == "median" or v > 0, '"median" or a number greater than 0')
    )
    warm_start: bool = True


@dataclass(frozen=True)
class AlarmConfig:
    """When a distance is an alarm."""

    verdict: Literal["either", "mmd", "chart"] = "either"  # which statistics may say drift
    expected_run_time: float = _key(200.0, (lambda v: v >= 1, "1 or more images"))
    warning_distance: float | None = None
    drift_distance: float | None = None


@dataclass(frozen=True)
class UploadConfig:
    """What `predict` takes."""

    max_bytes: int = _key(32 * 2**20, _POSITIVE)
    max_pixels: int = _key(64_000_000, _POSITIVE)


@dataclass(frozen=True)
class StorageConfig:
    """Where the node keeps what it must not lose."""

    path: str = "storage"
    keep_images: bool = True


@dataclass(frozen=True)
class TrackingConfig:
    """Where drift jobs go. An empty url: nowhere."""

    url: str = "http://127.0.0.1:5001"
    api_version: str = "latest"
    experiment: str = "lenswatch"
    description: str = ""
    public: bool = False
    tags: tuple[str, ...] = ()
    auth: Literal["none", "mytoken", "token"] = "none"
    token: str = ""  # for auth = "token": an API key or access token
    timeout: float = _key(10.0, _POSITIVE)


@dataclass(frozen=True)
class AuthConfig:
    """Who may use the tracking server."""

    mode: Literal["none", "keys", "oidc"] = "none"
    issuers: tuple[str, ...] = ()
    audience: str = ""
    entitlements_path: str = "realm_access/roles"
    user_entitlements: tuple[str, ...] = ()
    admin_entitlements: tuple[str, ...] = ()
    client_id: str = ""
    client_secret: str = ""


@dataclass(frozen=True)
class ServerConfig:
    """The tracking server."""

    host: str = _key("127.0.0.1", _HOST)
    port: int = _key(5001, _PORT)
    database: str = ""  # SQLAlchemy URL; empty: server.db under storage.path
    workers: int = _key(1, _WORKERS)
    root_path: str = _key("", _PATH)
    max_body_bytes: int = _key(8 * 2**20, _POSITIVE)
    cors_origins: tuple[str, ...] = _key((), _ORIGINS)
    log_level: Literal["debug", "info", "warning"] = "warning"  # "info": a line for each request
    auth: AuthConfig = field(default_factory=AuthConfig)


@dataclass(frozen=True)
class Config:
    """All settings. Relative paths start from `root`, the folder of `file` where there is one."""

    transform: TransformConfig = field(default_factory=TransformConfig)
    camera_state: CameraStateConfig = field(default_factory=CameraStateConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    alarm: AlarmConfig = field(default_factory=AlarmConfig)
    upload: UploadConfig = field(default_factory=UploadConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    root: Path = field(default=Path(), metadata={"table": False})
    file: Path | None = field(default=None, metadata={"table": False})

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
    """Read the settings: `path`, else $LENSWATCH_CONFIG, else ./config.toml, else the defaults.

    `LENSWATCH_<TABLE>_<KEY>` variables override the file; any other `LENSWATCH_*` variable warns.

    Raises:
        ConfigError: a named file is missing, a key unknown, a value of the wrong type or range.
    """
    environ = os.environ if environ is None else environ
    named = path or environ.get("LENSWATCH_CONFIG")
    file = Path(named or "config.toml")
    if named and not file.is_file():
        raise ConfigError(f"{file}: no such configuration file; name an existing one with --config")
    document = _parse(file) if file.is_file() else {}
    _override(document, environ)
    config: Config = dataclasses.replace(
        _table(Config, document, ""),
        root=file.resolve().parent,
        file=file.resolve() if file.is_file() else None,
    )
    _judge_together(config)
    return config


def check_settings(table: Any, path: str) -> None:
    """Hold a table that was not read from a file to what the table `path` of config.toml is held to.

    Raises:
        ConfigError: a value out of range.
    """
    for name, (_, check) in _fields(type(table)).items():
        _checked(getattr(table, name), check, f"{path}.{name}")


def setting_names() -> list[str]:
    """The path of every key: `detector.window_size` and so on."""
    return [".".join(path) for path, _ in _variables(Config, ()).values()]


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomli.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _judge_together(config: Config) -> None:
    warning, drift = config.alarm.warning_distance, config.alarm.drift_distance
    if warning is not None and drift is not None and warning > drift:
        raise ConfigError(
            f"alarm.warning_distance = {warning} is above alarm.drift_distance = {drift}; "
            "a warning comes first, so make it the smaller one"
        )
    if warning is not None and drift is None:
        raise ConfigError(
            "alarm.warning_distance is set without alarm.drift_distance; give both or drift alone"
        )


def _fields(table: type) -> dict[str, Any]:
    hints = typing.get_type_hints(table)
    return {
        f.name: (hints[f.name], f.metadata.get("check"))
        for f in dataclasses.fields(table)
        if f.metadata.get("table", True)
    }


def _table(table: type, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{path} = {values!r}: expected a table, [{path}]")
    known = _fields(table)
    given = {}
    for name, value in values.items():
        here = f"{path}.{name}" if path else name
        if name not in known:
            raise ConfigError(f"{here}: unknown key{_nearest(name, known, path)}")
        hint, check = known[name]
        if dataclasses.is_dataclass(hint):
            given[name] = _table(typing.cast(type, hint), value, here)
        else:
            given[name] = _checked(_convert(hint, value, here), check, here)
    return table(**given)


def _nearest(name: str, known: Mapping[str, Any], path: str) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {path + '.' if path else ''}{close[0]}?"
    return f"; known here: {', '.join(sorted(known))}"


def _checked(value: Any, check: Check | None, path: str) -> Any:
    if check and not check[0](value):
        raise ConfigError(f"{path} = {value!r}: must be {check[1]}")
    return value


def _convert(hint: Any, value: Any, path: str) -> Any:
    """`value` as the type `hint`, refusing what only looks alike (True is no number)."""
    converted = _try_convert(hint, value)
    if converted is _NO:
        raise ConfigError(f"{path} = {value!r}: expected {_describe(hint)}")
    return converted


_NO = object()


def _try_convert(hint: Any, value: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        tries = (_try_convert(arg, value) for arg in args)
        return next((t for t in tries if t is not _NO), _NO)
    if origin is Literal:
        return value if isinstance(value, str) and value in args else _NO
    if origin is tuple:
        return _try_sequence(args, value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) <= sys.float_info.max else _NO
    if hint is int and isinstance(value, bool):
        return _NO
    return value if hint in (int, str, bool) and isinstance(value, hint) else _NO


def _try_sequence(args: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return _NO
    hints = (args[0],) * len(value) if args[-1] is ... else args
    if len(hints) != len(value):
        return _NO
    items = tuple(_try_convert(h, v) for h, v in zip(hints, value, strict=True))
    return _NO if any(item is _NO for item in items) else items


def _describe(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(a) for a in args if a is not type(None))
    if origin is Literal:
        return " or ".join(f'"{a}"' for a in args)
    if origin is tuple:
        one = _describe(args[0])
        return f"a list, each {one}" if args[-1] is ... else f"a list of {len(args)}, each {one}"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[hint]


def _override(document: dict[str, Any], environ: Mapping[str, str]) -> None:
    settings = _variables(Config, ())
    for variable, text in environ.items():
        if not variable.startswith("LENSWATCH_") or variable in OTHER_VARIABLES:
            continue
        if variable not in settings:
            close = difflib.get_close_matches(variable, settings, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            warnings.warn(f"{variable} is no setting of Lenswatch{hint}", stacklevel=3)
            continue
        path, hint = settings[variable]
        target = document
        for part in path[:-1]:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                break  # the file is refused for it
        else:
            target[path[-1]] = _from_text(hint, text, variable)


def _variables(table: type, prefix: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], Any]]:
    found: dict[str, tuple[tuple[str, ...], Any]] = {}
    for name, (hint, _) in _fields(table).items():
        path = (*prefix, name)
        if dataclasses.is_dataclass(hint):
            found |= _variables(typing.cast(type, hint), path)
        else:
            found["LENSWATCH_" + "_".join(path).upper()] = (path, hint)
    return found


def _from_text(hint: Any, text: str, variable: str) -> Any:
    """The value that the text of a variable stands for; lists are comma-separated."""
    if typing.get_origin(hint) is tuple:
        one = typing.get_args(hint)[0]
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return tuple(_from_text(one, part, variable) for part in parts)
    for candidate in (_number(text), {"true": True, "false": False}.get(text.lower()), text):
        if candidate is not None and _try_convert(hint, candidate) is not _NO:
            return candidate
    raise ConfigError(f"{variable} = {text!r}: expected {_describe(hint)}")


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
