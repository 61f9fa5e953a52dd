"""The content of an installation that is not editable: a wheel, the Docker image."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SETTINGS: dict[str, Any] = tomli.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
SETUPTOOLS = SETTINGS["tool"]["setuptools"]
# What the node does not import itself: webargs 5 imports distutils, of setuptools.
NOT_IMPORTED = {"setuptools"}
HALVES = {"node", "server"}
# Small extras, whose packages are imported only where somebody asks for what they do.
SMALL = {
    "lenswatch.backfill": {"dask"},
    "lenswatch.cluster": {"dask"},
    "lenswatch.estimators": {"sklearn"},
    "lenswatch.registry": {"mlflow"},
    "lenswatch.node.store": {"replicas"},
    "lenswatch.server.jobs": {"parquet"},
    "lenswatch.server.alerts.channels": {"alerts"},
}


def folders() -> dict[str, Path]:
    """Return each package's folder by name."""
    roots = {"": ROOT / "src", "lenswatch.api": ROOT / "api"}
    return {
        ".".join([*above.split("."), *path.parent.relative_to(root).parts]).strip("."): path.parent
        for above, root in roots.items()
        for path in root.rglob("__init__.py")
    }


def imported(folder: Path) -> set[str]:
    """Return the other projects' packages that the modules of a folder import, anywhere in them."""
    trees = (ast.parse(file.read_text()) for file in folder.glob("*.py"))
    found = {name.partition(".")[0] for tree in trees for name in modules(tree)}
    return found - sys.stdlib_module_names - {"lenswatch"}


def modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module
            yield node.module


def half(package: str) -> str:
    """Return the extra that a package belongs to; "" for the command and the ground of both."""
    if package in ("lenswatch", "lenswatch.cli", "lenswatch.config"):
        return ""
    return "server" if package.startswith("lenswatch.server") else "node"


def declared(extra: str = "") -> set[str]:
    """Return the packages that are needed without an extra, or those that an extra adds."""
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    modules = {
        "google-re2": "re2",
        "mlflow-skinny": "mlflow",
        "pillow": "PIL",
        "scikit-learn": "sklearn",
    }  # where the names differ
    needed = [Requirement(line) for line in lines]
    inner = {name for each in needed if each.name == PROJECT["name"] for name in each.extras}
    names = [each.name for each in needed if each.name != PROJECT["name"]]
    own = {modules.get(name, name.replace("-", "_")) for name in names}
    return own.union(*map(declared, inner))


def test_every_package_is_installed() -> None:
    assert set(SETUPTOOLS["packages"]) == set(folders())


def test_every_file_beside_the_modules_is_installed() -> None:
    for package, folder in folders().items():
        patterns = SETUPTOOLS["package-data"].get(package, [])
        inner = {path for name, path in folders().items() if name.startswith(f"{package}.")}
        for path in folder.rglob("*"):
            mine = not any(part in inner for part in path.parents)
            data = path.is_file() and path.suffix not in (".py", ".pyc")
            if mine and data and "__pycache__" not in path.parts:
                name = path.relative_to(folder).as_posix()
                assert any(fnmatch(name, p) for p in patterns), f"{package} leaves out {name}"


def test_every_pattern_of_files_finds_some() -> None:
    for package, patterns in SETUPTOOLS["package-data"].items():
        for pattern in patterns:
            assert list(folders()[package].glob(pattern)), f"{package} has no {pattern}"


def test_deepaas_finds_one_model() -> None:
    """Two are a fatal error for deep-start, which names none."""
    [model] = (e for e in entry_points(group="deepaas.v2.model") if e.value.startswith("lenswatch"))
    assert (model.name, model.value) == ("lenswatch", "lenswatch.api")
    assert PROJECT["entry-points"] == {"deepaas.v2.model": {model.name: model.value}}


@pytest.mark.slow
def test_what_is_imported_is_declared() -> None:
    """A package that only comes along with another may stop coming along."""
    for package, folder in folders().items():
        extras = HALVES if package == "lenswatch.cli" else {half(package)}
        extras = extras | SMALL.get(package, set())
        known = declared().union(*(declared(extra) for extra in extras if extra))
        assert imported(folder) <= known, package


@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(HALVES))
def test_an_extra_holds_what_its_half_alone_imports(extra: str) -> None:
    used = {
        each: set().union(
            *(imported(path) for name, path in folders().items() if half(name) == each)
        )
        for each in ("", *HALVES)
    }
    [other] = HALVES - {extra}
    assert declared(extra) - NOT_IMPORTED <= used[extra]
    assert not declared(extra) & (declared() | declared(other))
    assert declared() <= used[""] | (used[extra] & used[other])


def constraints() -> dict[str, Version]:
    """Return the versions in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([a-z0-9-]+)==(\S+)", line) for line in lines if line[0] != "#"]
    return {pin[1]: Version(pin[2]) for pin in pins if pin is not None} if all(pins) else {}


def test_whatever_is_declared_is_pinned_within_its_range() -> None:
    pinned = constraints()
    extras = PROJECT["optional-dependencies"].values()
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]:
        needed = Requirement(line)
        if needed.name != PROJECT["name"]:
            assert pinned[canonicalize_name(needed.name)] in needed.specifier, line


def test_ai4os_settings_of_jupyterlab_find_what_they_import() -> None:
    """They import pkg_resources, which setuptools had until 81."""
    [line] = [
        line for line in PROJECT["optional-dependencies"]["edge"] if line.startswith("setuptools")
    ]
    assert "81.0.0" in Requirement(line).specifier
    assert "82.0.0" not in Requirement(line).specifier


def test_the_pins_are_the_same_on_every_machine() -> None:
    """PyTorch's builds for one kind of machine have a local version, such as +cpu."""
    assert constraints()
    assert [str(version) for version in constraints().values() if version.local] == []
