"""The list of references."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.reference.artefact import load_reference, save_reference
from lenswatch.reference.catalogue import find_reference, list_references


def test_references_are_listed_by_age_with_the_one_in_use(trained: Config) -> None:
    old: Any = load_reference(trained.storage_path)
    wider = dataclasses.replace(old, sigma=2 * old.sigma, pictures=())
    manifest = {"created_at": "2999-01-01T00:00:00Z"}
    new = save_reference(trained.storage_path, wider, manifest, make_current=False)
    first, second = list_references(trained.storage_path)
    assert (first.digest, first.current, first.pictures) == (old.digest, True, 60)
    assert (second.digest, second.current, second.pictures) == (new.digest, False, None)
    (trained.storage_path / "reference" / new.digest / "manifest.json").write_text("[]")
    damaged, good = list_references(trained.storage_path)
    assert (damaged.readable, good.readable) == (False, True)


def test_without_training_there_are_none(config: Config) -> None:
    assert list_references(config.storage_path) == []
    with pytest.raises(InputError, match=r"'ab': there is no such reference; .*: none"):
        find_reference(config.storage_path, "ab")


def test_the_beginning_of_a_digest_is_enough(trained: Config) -> None:
    (only,) = list_references(trained.storage_path)
    for length in (1, 4, 16):
        assert find_reference(trained.storage_path, only.digest[:length]) == only.digest


def test_a_beginning_that_two_references_share_is_refused(trained: Config) -> None:
    for name in ("ab12", "ab34"):
        (trained.storage_path / "reference" / name).mkdir()
    with pytest.raises(InputError, match=r"more than one reference begins so.*: ab12, ab34"):
        find_reference(trained.storage_path, "ab")
    assert find_reference(trained.storage_path, "ab1") == "ab12"
