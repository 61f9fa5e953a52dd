"""Strict mode of the test run: support/strict.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.strict import VARIABLE

pytest_plugins = ["pytester"]

Run = Callable[[str], pytest.RunResult]

SKIPS = {
    "in_the_test": 'def test_it():\n    pytest.skip("no browser")',
    "by_a_mark": '@pytest.mark.skipif(True, reason="no browser")\ndef test_it():\n    pass',
    "without_a_reason": "@pytest.mark.skip\ndef test_it():\n    pass",
    "in_a_fixture": (
        '@pytest.fixture\ndef browser():\n    pytest.skip("no browser")\n'
        "def test_it(browser):\n    pass"
    ),
    "of_the_whole_file": 'pytest.skip("no browser", allow_module_level=True)',
    "of_a_missing_module": 'pytest.importorskip("no_browser_of_that_name")',
    "without_parameters": '@pytest.mark.parametrize("n", [])\ndef test_it(n):\n    pass',
    "in_a_test_class": (
        "import unittest\nclass TestIt(unittest.TestCase):\n"
        '    def test_it(self):\n        self.skipTest("no browser")'
    ),
}
ALLOWED = {
    "by_design": 'def test_it():\n    pytest.skip("by design: one database only")',
    "expected_to_fail": "@pytest.mark.xfail\ndef test_it():\n    assert False",
}


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run those files in a pytest of its own, without the plugins of ours that take time to load."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]")  # settings in a folder above do not count
    for name, source in (SKIPS | ALLOWED).items():
        pytester.makepyfile(**{f"test_{name}": f"import pytest\n{source}\n"})

    def run(strict: str) -> pytest.RunResult:
        monkeypatch.setenv(VARIABLE, strict)
        options = ("-p", "support.strict", "-rfE", "--continue-on-collection-errors")
        return pytester.runpytest_subprocess(*options)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("off", ["", "0"])
def test_tests_are_skipped_without_strict_mode(run: Run, off: str) -> None:
    assert run(off).parseoutcomes() == {"skipped": len(SKIPS) + 1, "xfailed": 1}


@pytest.mark.slow
def test_only_skips_by_design_are_left_in_strict_mode(run: Run) -> None:
    done = run("1")
    failures = [line for line in done.outlines if line.startswith(("FAILED", "ERROR"))]
    assert {line.split()[1].partition("::")[0] for line in failures} == {
        f"test_{name}.py" for name in SKIPS
    }
    outcomes = done.parseoutcomes()
    assert outcomes.pop("failed") + outcomes.pop("errors") == len(SKIPS)
    assert outcomes == {"skipped": 1, "xfailed": 1}
    told = f"skipped, which {VARIABLE} does not allow: no browser"
    assert told in done.stdout.str()
