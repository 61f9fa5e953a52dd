"""Show docstrings in the site as Markdown: examples at the margin, and what follows a lone `::`, as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^(>>> .*(?:\n.+)*)", flags=re.M)


class DocstringsAsMarkdown(griffe.Extension):
    """Puts fences around examples that are not in a section of their own."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite an object's docstring."""
        if obj.docstring is not None:
            text = _EXAMPLE.sub(r"```pycon\n\1\n```", obj.docstring.value)
            obj.docstring.value = text.replace("\n\n::\n\n", "\n\n")
