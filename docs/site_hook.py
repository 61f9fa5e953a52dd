"""Show the top-level Markdown files in the site, with links that suit their place there.

In the repository README.md links to `docs/alarms.md`, and a page in docs/ to `../CONTRIBUTING.md`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

TOP_LEVEL = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_LINK = re.compile(r"(?<=\]\()([^)\s]+)")


def on_files(files: Any, config: Any) -> Any:
    """Add the top-level files to the pages."""
    root = Path(config.config_file_path).parent
    for name, page in TOP_LEVEL.items():
        text = _LINK.sub(_from_the_top, (root / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn links to top-level files into links to their pages."""
    return _LINK.sub(_to_the_top, markdown)


def _from_the_top(link: re.Match[str]) -> str:
    target, mark, anchor = link[1].partition("#")
    return TOP_LEVEL.get(target, target.removeprefix("docs/")) + mark + anchor


def _to_the_top(link: re.Match[str]) -> str:
    target, mark, anchor = link[1].partition("#")
    folder, _, name = target.rpartition("../")
    if not target.startswith("../") or name not in TOP_LEVEL:
        return link[0]
    return folder + TOP_LEVEL[name] + mark + anchor
