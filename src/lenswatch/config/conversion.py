"""Conversion of TOML values and texts into the tables of settings."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal

import msgspec

from lenswatch.config.values import Secret
from lenswatch.errors import ConfigError


def check_settings(table: Any, path: str) -> None:
    """Check a table that was not read from a file as the table `path` of config.toml is checked.

    Raises:
        ConfigError: A value has the wrong type or range.
    """
    convert(type(table), dataclasses.asdict(table), path)


def _types(table: type) -> dict[str, Any]:
    """Return the type of each key of a table."""
    hints = typing.get_type_hints(table, include_extras=True)
    keys = (f.name for f in dataclasses.fields(table) if f.metadata.get("key", True))
    return {name: hints[name] for name in keys}


def keys_of(table: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the type of each key of a table and of the tables in it."""
    for name, kind in _types(table).items():
        if dataclasses.is_dataclass(kind):
            yield from keys_of(typing.cast(type, kind), (*path, name))
        else:
            yield (*path, name), kind


def convert(kind: Any, value: Any, path: str, *, strict: bool = True) -> Any:
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
            near = nearest(name, known)
            hint = f"did you mean {prefix}{near}?" if near else f"known here: {sorted(known)}"
            raise ConfigError(f"{prefix}{name}: unknown key; {hint}")
    return table(**{k: convert(known[k], v, f"{prefix}{k}") for k, v in values.items()})


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name most like `name`, or "" if none is near."""
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
