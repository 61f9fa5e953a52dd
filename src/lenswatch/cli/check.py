"""`lenswatch check`: look at clean pictures before anything is learnt from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from lenswatch.cli.console import amount, say, show_progress
from lenswatch.cli.footage import find_told
from lenswatch.cli.options import FILE, FOLDER, with_config
from lenswatch.config import Config
from lenswatch.errors import InputError

if TYPE_CHECKING:
    from lenswatch.checking.report import Report

__all__ = ["check"]


@click.command()
@with_config
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--html", "html_file", type=FILE, help="Write a report with pictures to this file.")
@click.option("--strict", is_flag=True, help="End with exit code 1 if there is a warning.")
@click.argument("folder", required=False, type=FOLDER)
def check(
    config: Config, as_json: bool, html_file: Path | None, strict: bool, folder: Path | None
) -> None:
    """Check clean pictures before a reference is made of them.

    Without FOLDER the clean pictures of the settings are checked. Named are files that cannot be
    read, other formats, sizes and colours, copies, wrong times and names, gaps, sudden changes of
    view or exposure, and pictures unlike all others. Nothing is changed.
    """
    from lenswatch.checking.report import check as run
    from lenswatch.cli.footage import tell_order
    from lenswatch.reference.clean import find_clean

    if folder is None:
        folder, ordered = config.image_folder, tell_order(config.image_folder, find_clean(config))
    else:
        ordered = find_told(config, folder, ["*"], key="FOLDER")
    if as_json:
        report = run(folder, ordered, config)
        say(json.dumps(report.to_json()))
    else:
        with show_progress() as progress:
            report = run(folder, ordered, config, progress)
        _print(report)
    if html_file is not None:
        from lenswatch.evaluate.check_page import check_page

        html_file.write_text(check_page(report), encoding="utf-8")
        click.echo(f"lenswatch: report: {html_file}", err=True)
    if strict and report.warnings:
        raise InputError(f"{amount(len(report.warnings), 'warning')}; the report above says which")


def _print(report: Report) -> None:
    for name, counts in report.counts.items():
        say(f"{name}: {', '.join(f'{value} ({number})' for value, number in counts.items())}")
    if not report.findings:
        say(f"{amount(report.pictures, 'picture')}: nothing to look at")
        return
    table = Table("level", "kind", "finding", "files")
    for column in table.columns[:2]:
        column.no_wrap = True
    for finding in report.findings:
        files = "" if not finding.files else str(len(finding.files))
        table.add_row(finding.level, finding.kind, finding.line(), files)
    Console().print(table)
