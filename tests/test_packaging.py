"""What an installation that is not editable holds: a wheel, the Docker image."""

import ast
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

import tomli

ROOT = Path(__file__).parents[1]
SETTINGS = tomli.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = SETTINGS["tool"]["setuptools"]


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


def test_what_the_server_alone_needs_is_some_of_what_all_needs():
    lines = (ROOT / "requirements-server.txt").read_text().splitlines()
    needed = {line for line in lines if line and not line.startswith("#")}
    assert needed
    assert needed <= set(SETTINGS["project"]["dependencies"])


def test_what_is_imported_is_declared():
    """What only comes along with something else may stop coming along."""
    declared = {re.match(r"[\w-]+", line)[0] for line in SETTINGS["project"]["dependencies"]}
    declared = {
        {"pillow": "PIL", "google-re2": "re2"}.get(name, name.replace("-", "_"))
        for name in declared
    }
    for folder in folders().values():
        for file in folder.glob("*.py"):
            for module in imported(ast.parse(file.read_text())):
                known = declared | sys.stdlib_module_names | {"lenswatch"}
                assert module in known, f"{file} imports {module}"


def imported(tree):
    """The names of the packages that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
