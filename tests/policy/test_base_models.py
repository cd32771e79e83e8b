"""A base by its name: a folder, a hub's id, or an installed package that carries weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from selective_autonomy.errors import ModelError
from selective_autonomy.policy.base_models import resolve_base


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package with a GGUF file that holds no weights, and code that must not run."""
    site = tmp_path / "site"
    (site / "tiny_weights").mkdir(parents=True)
    (site / "tiny_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    (site / "tiny_weights" / "tiny.gguf").write_bytes(b"GGUF?")
    (site / "tiny_weights-1.2.dist-info").mkdir()
    (site / "tiny_weights-1.2.dist-info" / "METADATA").write_text("Name: tiny-weights\nVersion: 1.2\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return "tiny-weights"


@pytest.mark.parametrize("base", ["scratch", "some-org/some-model", "numpy", "no-such-package"])
def test_what_is_no_package_with_weights_is_left_as_it_is(base: str, tmp_path: Path) -> None:
    assert resolve_base(base, tmp_path) == base
    assert not any(tmp_path.iterdir())


def test_a_folder_comes_before_a_package_of_the_same_name(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / package).mkdir()
    assert resolve_base(package, tmp_path / "converted") == package


def test_weights_that_were_converted_once_are_not_converted_again(package: str, tmp_path: Path) -> None:
    (tmp_path / "converted" / "tiny-weights-1.2").mkdir(parents=True)
    assert resolve_base(package, tmp_path / "converted") == str(tmp_path / "converted" / "tiny-weights-1.2")


def test_weights_that_cannot_be_converted_are_an_error_and_leave_no_folder_behind(package: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot convert tiny\.gguf"):
        resolve_base(package, tmp_path / "converted")
    assert not (tmp_path / "converted" / "tiny-weights-1.2").exists()
