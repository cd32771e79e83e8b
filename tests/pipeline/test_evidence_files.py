"""Evidence files: one command's figures beside another's, each with where it is from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagster_project.evidence import EvidenceDamaged, add_evidence, write_evidence

FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
ENVELOPE = ["command", "commit", "date", "machine", "seed", "seconds", "results"]


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def add(root: Path, **results: object) -> Path:
    named = {name.replace("__", "."): value for name, value in results.items()}
    return add_evidence(root, "star", command="evaluate", seed=0, seconds=2.0, results=named)


def whole(root: Path, **results: object) -> Path:
    return write_evidence(root, "star", command="make star", seed=7, seconds=1.0, results=dict(results))


def test_added_figures_stand_at_their_key_and_the_envelope_stays_that_of_the_file(tmp_path: Path) -> None:
    before = read(whole(tmp_path, policy={"tool": FIGURE}))
    after = read(add(tmp_path, policy__unseen_operators={"tool": FIGURE}))
    assert list(after) == ENVELOPE
    assert {name: after[name] for name in ENVELOPE[:-1]} == {name: before[name] for name in ENVELOPE[:-1]}
    assert after["results"]["policy"] == {"tool": FIGURE, "unseen_operators": {"tool": FIGURE}}
    provenance = after["results"]["added"]["policy.unseen_operators"]
    assert (provenance["command"], provenance["seed"], provenance["seconds"]) == ("evaluate", 0, 2.0)


def test_without_a_file_adding_makes_one_with_the_whole_envelope(tmp_path: Path) -> None:
    made = read(add(tmp_path, baselines__ngram={"tool": FIGURE}))
    assert list(made) == ENVELOPE
    assert made["results"]["baselines"]["ngram"]["tool"] == FIGURE


def test_what_was_added_outlives_the_files_own_command(tmp_path: Path) -> None:
    whole(tmp_path, policy={"tool": FIGURE})
    add(tmp_path, policy__unseen_operators={"tool": FIGURE}, baselines__ngram={"tool": FIGURE})
    again = read(whole(tmp_path, policy={"tool": {**FIGURE, "value": 0.55}}))["results"]
    assert again["policy"]["tool"]["value"] == 0.55
    assert again["policy"]["unseen_operators"]["tool"] == FIGURE
    assert set(again["added"]) == {"policy.unseen_operators", "baselines.ngram"}


def test_what_the_files_own_command_measures_is_never_an_older_added_figure(tmp_path: Path) -> None:
    add(tmp_path, policy={"tool": {**FIGURE, "value": 0.1}})
    again = read(whole(tmp_path, policy={"tool": FIGURE}))["results"]
    assert again["policy"]["tool"] == FIGURE
    assert "added" not in again


def test_a_figure_that_is_no_number_becomes_null(tmp_path: Path) -> None:
    made = read(add(tmp_path, policy={"form_exact": {**FIGURE, "value": float("nan")}}))
    assert made["results"]["policy"]["form_exact"]["value"] is None


def test_a_damaged_evidence_file_is_never_overwritten(tmp_path: Path) -> None:
    path = whole(tmp_path, policy={"tool": FIGURE})
    path.write_text("{", encoding="utf-8")
    for put in (lambda: whole(tmp_path), lambda: add(tmp_path, policy={"tool": FIGURE})):
        with pytest.raises(EvidenceDamaged, match="not an evidence file"):
            put()
    assert path.read_text(encoding="utf-8") == "{"
