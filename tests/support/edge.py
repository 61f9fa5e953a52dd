"""An installation of `lenswatch[edge]`, of links into the tests' own environment."""

from __future__ import annotations

import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def edge_environment(folder: Path) -> Path:
    """Create an environment with what the extra needs and nothing else; return its folder of programs.

    Files are links, so that nothing is downloaded and it takes a second.
    """
    venv.create(folder)
    [site] = folder.glob("lib/python*/site-packages")
    for each in needed_by("lenswatch[edge]").values():
        for name in top_level(each):
            if not (site / name).exists():
                (site / name).symlink_to(Path(str(each.locate_file(name))))
    package = site / "lenswatch"
    package.mkdir()
    for source in (ROOT / "src" / "lenswatch").iterdir():
        (package / source.name).symlink_to(source)
    (package / "api").symlink_to(ROOT / "api")
    program = folder / "bin" / "deepaas-run"
    program.write_text(
        f"#!{folder}/bin/python\nfrom deepaas.cmd.run import main\n"
        'if __name__ == "__main__":\n    main()\n'
    )
    program.chmod(0o755)
    return folder / "bin"


def needed_by(wanted: str) -> dict[str, Distribution]:
    """Return the installed distributions that a requirement needs, directly or not, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(wanted)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            found[name] = distribution(name)
            for line in found[name].requires or ():
                inner = Requirement(line)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    waiting.append(inner)
    return found


def top_level(installed: Distribution) -> set[str]:
    """Return the files and folders of a distribution in site-packages."""
    names = {Path(file).parts[0] for file in installed.files or ()}
    left_out = {"..", "__pycache__"} | {name for name in names if "editable" in name}
    return names - left_out
