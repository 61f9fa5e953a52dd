"""What an installation that is not editable holds: a wheel, the Docker image."""

from fnmatch import fnmatch
from pathlib import Path

import tomli

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomli.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def folders():
    """Each package's folder, by name."""
    source = ROOT / "src"
    found = {
        ".".join(path.parent.relative_to(source).parts): path.parent
        for path in source.rglob("__init__.py")
    }
    return found | {"lenswatch.api": ROOT / "api"}


def test_every_package_is_installed():
    assert set(SETUPTOOLS["packages"]) == set(folders())


def test_every_file_beside_the_modules_is_installed():
    for package, folder in folders().items():
        patterns = SETUPTOOLS["package-data"].get(package, [])
        inner = {path for name, path in folders().items() if name.startswith(f"{package}.")}
        for path in folder.rglob("*"):
            mine = not any(part in inner for part in path.parents)
            data = path.is_file() and path.suffix not in (".py", ".pyc")
            if mine and data and "__pycache__" not in path.parts:
                name = path.relative_to(folder).as_posix()
                assert any(fnmatch(name, p) for p in patterns), f"{package} leaves out {name}"
