"""The documentation: complete, consistent with the code, and one sentence a line."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import tomli
import yaml
from lenswatch.api import schema
from starlette.testclient import TestClient

import lenswatch
from lenswatch import errors, evaluate
from lenswatch.cli.main import main
from lenswatch.config import Config, StorageConfig, load_config, setting_names
from lenswatch.server.app import create_app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TOP_LEVEL = sorted(ROOT.glob("*.md"))
PAGES = [*TOP_LEVEL, *sorted(DOCS.rglob("*.md")), *sorted((ROOT / "findings").glob("*.md"))]
USER_PAGES = [page for page in PAGES if not {"design", "decisions"} & set(page.parts)]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")
# A full stop and the beginning of another sentence; not "e.g. this", "et al. 2012" or "No. 5".
_TWO_SENTENCES = re.compile(
    r"(?<!e\.g)(?<!i\.e)(?<!etc)(?<!al)(?<!No)[.!?][)\"'*_]*\s+[A-Z\"'(*\[<¤]"
)
_NUMBER = re.compile(r"\d+\. ")  # of a list's item
_ENDS_A_SENTENCE = re.compile(r"[.!?:;][)\"'*_]*$")
# What begins something of its own in Markdown: a list's item, a table, a heading, a quotation, a directive.
_BLOCK = re.compile(r"([-*] |\d+\. |\||#|>|!\[|:::|<|\[)")


def text_of(*pages: Path) -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page by number, code and tables left empty and spans of code as one sign."""
    fenced = indented = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        indented = line.startswith("    options:") or (indented and line.startswith("      "))
        shown = not (fence or fenced or indented or line.lstrip().startswith(("|", "#")))
        yield number, _CODE.sub("¤", line).strip() if shown else ""


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_line_holds_one_sentence(page: Path) -> None:
    crowded = [
        f"{number}: {line}"
        for number, line in prose(page)
        if _TWO_SENTENCES.search(_NUMBER.sub("", line))
    ]
    assert crowded == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_sentence_stays_on_its_line(page: Path) -> None:
    lines = list(prose(page))
    broken = [
        f"{number}: {line}"
        for (number, line), (_, after) in itertools.pairwise(lines)
        if line and after and not line.startswith("![") and not _BLOCK.match(after)
        if not _ENDS_A_SENTENCE.search(line) and not re.fullmatch(r"\*\*[^*]+\*\*", line)
    ]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_list_begins_after_an_empty_line(page: Path) -> None:
    """Forges show the list anyway; the site would show one paragraph with dashes."""
    item = re.compile(r"([-*]|\d+\.) ")
    lines = list(prose(page))
    glued = [
        f"{number}: {line}"
        for (_, before), (number, line) in itertools.pairwise(lines)
        if item.match(line) and before and not item.match(before)
        if not continues_an_item(page, number - 1)
    ]
    assert glued == []


def continues_an_item(page: Path, number: int) -> bool:
    """Return True if the line belongs to a list item that begins above, without a gap."""
    for line in reversed(page.read_text(encoding="utf-8").splitlines()[:number]):
        if not line.startswith(" "):
            return bool(re.match(r"([-*]|\d+\.) ?", line))
    return False


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {re.sub(r"[\s-]+", "-", heading.strip()) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_link_leads_to_a_file_of_the_repository(page: Path) -> None:
    for target in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{target} is missing"
        assert not anchor or anchor in anchors(file), f"{target}: no such heading"


def site() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return settings


def navigated(entries: Any) -> Iterator[str]:
    """The pages of a navigation, in their order."""
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        yield from (page for inner in entries.values() for page in navigated(inner))
    else:
        yield from (page for inner in entries for page in navigated(inner))


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    top = {"index.md" if page.stem == "README" else f"{page.stem.lower()}.md" for page in TOP_LEVEL}
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert sorted(navigated(site()["nav"])) == sorted(pages | top)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, which fails on a broken link."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_other_hosts(built: Path) -> None:
    pages = text_of(*built.rglob("*.html"), *built.rglob("*.css"))
    loads = (
        r"<(?:script|img|iframe)[^>]*\ssrc=\W?https?:|<link[^>]*\shref=\W?https?:|url\(\W?https?:"
    )
    assert "Lenswatch" in pages
    assert re.findall(loads, pages) == []


@pytest.mark.slow
def test_the_site_has_the_public_names(built: Path) -> None:
    text = text_of(built / "reference.html")
    public = [f"lenswatch.{name}" for name in lenswatch.__all__ if name != "__version__"]
    public += [f"lenswatch.evaluate.{name}" for name in evaluate.__all__]
    assert [name for name in public if f'id="{name}"' not in text] == []


def commands(group: click.Group, name: str = "lenswatch") -> Iterator[str]:
    for command in group.commands.values():
        yield f"{name} {command.name}"
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {command.name}")


def test_every_command_is_documented() -> None:
    text = text_of(*USER_PAGES)
    assert [name for name in commands(main) if name not in text] == []


def test_the_documented_defaults_are_those_of_the_code(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(environ={})
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+?) \|", text_of(DOCS / "configuration.md"), re.M)
    assert rows
    for name, shown in rows:
        default: Any = config
        for part in name.split("."):
            default = getattr(default, part)
        documented = None if shown == "none" else tomli.loads(f"x = {shown.strip('`')}")["x"]
        assert documented == (list(default) if isinstance(default, tuple) else default), name


def test_every_variable_that_is_read_is_documented() -> None:
    source = text_of(*(ROOT / "src").rglob("*.py"), *(ROOT / "api").rglob("*.py"))
    read = set(re.findall(r"\"((?:LENSWATCH|DRIFT_MONITOR|MYTOKEN)_[A-Z_]*[A-Z])\"", source))
    settings = {f"LENSWATCH_{name.upper().replace('.', '_')}" for name in setting_names()}
    text = text_of(*PAGES)
    assert {name for name in read - settings if name not in text} == set()


def test_every_field_of_an_answer_is_documented() -> None:
    text = text_of(*USER_PAGES)
    fields = [*schema().fields]
    assert [name for name in fields if f"`{name}`" not in text and f'"{name}"' not in text] == []


def test_what_goes_beyond_the_contract_is_documented(tmp_path: Path) -> None:
    app = create_app(Config(storage=StorageConfig(path=str(tmp_path))))
    with TestClient(app, base_url="http://127.0.0.1:5001") as client:
        latest, contract = (
            client.get(f"/api/{version}/specification.json").json()["paths"]
            for version in ("latest", "v1")
        )
    text = text_of(DOCS / "driftwatch-compatibility.md")
    beyond = set(latest) - set(contract)
    assert beyond
    for path in beyond:
        short = path.replace("{experiment_id}", "E").replace("{drift_id}", "D")
        assert re.search(rf"{re.escape(short)}`", text), f"{short} is not documented"


def test_every_error_is_documented() -> None:
    source = (ROOT / "src" / "lenswatch" / "errors.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    drawn = ast.get_docstring(tree) or ""
    assert [node.name for node in classes if not ast.get_docstring(node)] == []
    assert [node.name for node in classes if node.name not in drawn] == []
    assert {node.name for node in classes} == set(errors.__all__)
    assert "::: lenswatch.errors" in text_of(DOCS / "reference.md")


FOREIGN = {"LISTEN", "NOTIFY", "OFFSET"}  # words of SQL
FOREIGN |= {"LENSWATCH_TEST_POSTGRES"}  # a variable of the tests
WORK_PAGES = [ROOT / "CONTRIBUTING.md", *DOCS.glob("architecture.md"), *DOCS.glob("decisions/*.md")]


def test_the_files_that_pages_name_exist() -> None:
    roots = [ROOT, ROOT / "src" / "lenswatch", ROOT / "src" / "lenswatch" / "server"]
    named = set(re.findall(r"`([\w./-]+\.(?:py|js|toml|yml|yaml|md|html))`", text_of(*WORK_PAGES)))
    files = {path.name for folder in ("src", "api") for path in (ROOT / folder).rglob("*.*")}
    missing = [
        name
        for name in sorted(named)
        if not any((root / name).exists() for root in roots)
        if "/" in name or name not in files
    ]
    assert missing == []


def test_the_names_that_pages_mention_are_in_the_code() -> None:
    code = text_of(*(ROOT / "src").rglob("*.py"), *(ROOT / "api").rglob("*.py"))
    words = set(re.findall(r"\w+", code))
    for page in WORK_PAGES:
        named = re.findall(r"`(?:\w+\.)*(\w+)(?:\(\))?`", text_of(page))
        ours = {name for name in named if re.match(r"_[a-zA-Z]|[A-Z]\w*[a-z_]|[A-Z_]{5,}", name)}
        assert ours - words - FOREIGN == set(), page.name


def test_the_make_targets_that_pages_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    text = text_of(*PAGES)
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(
        re.findall(r"^make ([a-z-]+)", text, re.M)
    )
    assert named - targets == set()


def test_the_changelog_is_kept() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    versions = [line for line in lines if line.startswith("## ")]
    sections = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    assert versions[0] == "## Unreleased"
    assert all(
        re.fullmatch(r"## (Unreleased|\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d)", v) for v in versions
    )
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    entries = [line for line in lines if line.startswith("- ")]
    assert entries
    assert [entry for entry in entries if not entry.endswith(".")] == []
    assert len(set(entries)) == len(entries)


FINDINGS = sorted((ROOT / "findings").glob("*.sh"))


@pytest.mark.parametrize("script", FINDINGS, ids=[script.stem for script in FINDINGS])
def test_a_finding_says_what_its_readme_asks_for(script: Path) -> None:
    shebang, surprise, *lines = script.read_text(encoding="utf-8").splitlines()
    assert shebang == "#!/usr/bin/env bash"
    assert re.fullmatch(r"# [A-Z].*\.", surprise, flags=re.I)
    for part in ("# Expected: ", "# Seen: ", "# Why it matters: ", "trap 'rm -rf "):
        assert any(line.startswith(part) for line in lines), f"{part!r} is missing"
