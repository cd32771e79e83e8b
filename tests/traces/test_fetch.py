from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from small_abcd import DEV, TRAIN
from small_abcd import write_packed as write_packed_abcd
from small_abcd import write_published as write_published_abcd
from small_star import DIALOGUES, dialogue, write_packed, write_public

from selective_autonomy.errors import TraceError
from selective_autonomy.traces.fetch import fetch_abcd, fetch_star
from selective_autonomy.traces.importers.abcd.source import DEFINITIONS, PACKED_CONVERSATIONS
from selective_autonomy.traces.importers.manifest import file_digests
from selective_autonomy.traces.importers.star import import_star
from selective_autonomy.traces.importers.star.source import read_definitions, read_dialogues, star_digests


def manifest_of(source: Path) -> dict[str, str]:
    return star_digests(read_dialogues(source), read_definitions(source))


def repository_of(folder: Path) -> str:
    """Make a git repository of a folder; returns its commit."""
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "corpus"],
    ):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("write", [write_packed, write_public])
def test_a_folder_in_either_layout_is_verified_and_brought_in(tmp_path: Path, write: object) -> None:
    source = write(tmp_path / "source", [*DIALOGUES, dialogue(99)])  # type: ignore[operator]
    manifest = manifest_of(write_packed(tmp_path / "listed"))
    assert fetch_star(tmp_path / "raw" / "star", source, manifest=manifest) == 1
    assert import_star(tmp_path / "raw" / "star", manifest=manifest).report.sessions == 3
    assert sorted(p.name for p in (tmp_path / "raw").iterdir()) == ["star"]


def test_without_a_folder_the_commit_is_fetched_from_the_repository(tmp_path: Path) -> None:
    home = write_public(tmp_path / "home")
    commit = repository_of(home)
    (home / "dialogues" / "1.json").write_text("changed since")
    manifest = manifest_of(write_packed(tmp_path / "listed"))
    fetch_star(tmp_path / "star", None, manifest=manifest, repository=home.as_uri(), commit=commit)
    assert import_star(tmp_path / "star", manifest=manifest).report.sessions == 3


def test_a_repository_that_cannot_be_reached_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"could not fetch 0123456789ab .*--from FOLDER"):
        fetch_star(
            tmp_path / "star", None, manifest={}, repository=(tmp_path / "nowhere").as_uri(), commit="0123456789abcdef"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_differs_from_the_manifest_leaves_what_was_there(tmp_path: Path) -> None:
    manifest = manifest_of(write_packed(tmp_path / "listed"))
    out = tmp_path / "star"
    fetch_star(out, tmp_path / "listed", manifest=manifest)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(TraceError, match=r"missing \['dialogue/12'\]"):
        fetch_star(out, write_public(tmp_path / "short", DIALOGUES[:2]), manifest=manifest)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["listed", "short", "star"]


@pytest.mark.parametrize("write", [write_packed_abcd, write_published_abcd])
def test_abcd_is_brought_in_from_a_folder_in_either_layout(tmp_path: Path, write: object) -> None:
    listed = write_packed_abcd(tmp_path / "listed", [TRAIN, DEV])
    manifest = file_digests(listed, (PACKED_CONVERSATIONS, *DEFINITIONS))
    source = write(tmp_path / "source", [TRAIN, DEV])  # type: ignore[operator]
    fetch_abcd(tmp_path / "abcd", source, manifest=manifest)
    assert sorted(p.name for p in (tmp_path / "abcd").iterdir()) == sorted(p.name for p in source.iterdir())


def test_abcd_without_a_folder_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"asappresearch/abcd.*--from FOLDER"):
        fetch_abcd(tmp_path / "abcd", None, manifest={})
