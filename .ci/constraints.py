"""Print constraints.txt: the installed version of each package that Lenswatch needs, directly or not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HEADER = """\
# The versions that the tests ran with. `make`, CI and the Dockerfile install these:
#   pip install -c constraints.txt '.[node]'
# `make constraints` renews this file.
"""


def pins(root: Requirement) -> dict[str, str]:
    """Return the version by name of each package that `root` brings into this environment."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [root]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found[name] = Version(version(name)).public  # without a build's suffix, such as +cpu
            for line in distribution(name).requires or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return found


def main() -> None:
    """Print the file, or say that Lenswatch is not installed."""
    try:
        found = pins(Requirement("lenswatch[dev]"))
    except PackageNotFoundError as error:
        raise SystemExit(f"{error.name} is not installed here: pip install -e '.[dev]'") from None
    del found["lenswatch"]
    print(HEADER + "\n".join(f"{name}=={found[name]}" for name in sorted(found)))


if __name__ == "__main__":
    main()
