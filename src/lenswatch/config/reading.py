"""Reading of config.toml and of LENSWATCH_* variables."""

from __future__ import annotations

import dataclasses
import os
import typing
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import tomli

from lenswatch.config.conversion import convert, keys_of, nearest
from lenswatch.config.tables import AlarmConfig, Config
from lenswatch.errors import ConfigError

# Beginnings of variables with the LENSWATCH_ prefix that are not keys of config.toml.
OTHER_VARIABLES = ("LENSWATCH_CONFIG", "LENSWATCH_TEST_")


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
        convert(Config, document, ""),
        root=file.resolve().parent,
        file=file.resolve() if file.is_file() else None,
    )
    _check_distances(config.alarm)
    _check_timezone(config.camera.timezone)
    return config


def setting_names() -> list[str]:
    """Return the path of every key, such as `detector.window_size`."""
    return [".".join(path) for path, _ in keys_of(Config)]


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
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else "use a name such as Europe/Lisbon or UTC"
        if not known:
            hint = "this machine has no time zones; install its package tzdata"
        raise ConfigError(f"camera.timezone = {name!r}: no such time zone; {hint}") from None


def _override(document: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put the values of LENSWATCH_* variables into the document; lists are comma-separated."""
    keys = {"LENSWATCH_" + "_".join(path).upper(): (path, kind) for path, kind in keys_of(Config)}
    for variable, text in environ.items():
        if not variable.startswith("LENSWATCH_") or variable.startswith(OTHER_VARIABLES):
            continue
        if variable not in keys:
            near = nearest(variable, keys)
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
            target[name] = convert(kind, given, variable, strict=False)
