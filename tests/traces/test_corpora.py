"""The importers on the public corpora: the numbers of the reference, to the last step."""

from __future__ import annotations

import json
import lzma
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from selective_autonomy.params import load_params
from selective_autonomy.traces.importers.abcd import import_abcd
from selective_autonomy.traces.importers.manifest import read_manifest
from selective_autonomy.traces.importers.result import ImportResult
from selective_autonomy.traces.importers.star import import_star
from selective_autonomy.traces.importers.star.source import read_definitions, read_dialogues, star_digests
from selective_autonomy.traces.splits import assign_splits, check_splits
from selective_autonomy.traces.tables import step_table

pytestmark = pytest.mark.corpus
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def star(star_corpus: Path) -> ImportResult:
    return import_star(star_corpus, manifest=read_manifest(ROOT / "data" / "manifests" / "star.sha256"))


@pytest.fixture(scope="module")
def abcd(abcd_corpus: Path) -> ImportResult:
    return import_abcd(abcd_corpus, manifest=read_manifest(ROOT / "data" / "manifests" / "abcd.sha256"))


def test_star_has_the_sessions_and_steps_of_the_reference(star: ImportResult) -> None:
    complete = [s for s in star.sessions if s.outcome.status == "complete"]
    assert star.report.complete_with_step == 4725
    assert star.report.complete_steps == 59672
    assert len({s.operator_id for s in complete}) == 90
    assert sum(s.labels["stratum"] == "multi" for s in complete) == 1318
    heads = Counter(step_table(complete)["action_type"])
    assert heads == {"send_reply": 36810, "submit_form": 17092, "send_text_to_chat": 5770}


def test_every_step_of_star_is_legal(star: ImportResult) -> None:
    assert star.report.steps == 60591
    assert star.report.illegal == {}


def test_star_splits_are_those_of_the_reference(star: ImportResult) -> None:
    shares = load_params(ROOT / "params.yaml").process("star").split
    splits = assign_splits(star.sessions, shares)
    check_splits(splits, star.sessions)
    assert Counter(splits.values()) == {"train": 2834, "fit": 827, "calibrate": 354, "test": 710}
    side_of_step = step_table(star.sessions)["session_id"].map(splits)
    assert side_of_step.value_counts().to_dict() == {"train": 36453, "fit": 10688, "test": 8239, "calibrate": 4292}


def test_a_star_step_follows_one_message_or_one_form_result(star: ImportResult) -> None:
    assert set(step_table(star.sessions)["follows"]) == {"customer_message", "screen_update"}


def test_operators_can_be_held_out_by_their_original_id(star: ImportResult) -> None:
    held_out = {s.operator_id for s in star.sessions if s.labels["operator_hash_mod8"] == "2"}
    assert len(held_out) == 12
    assert len({s.operator_id for s in star.sessions}) == 98


def test_times_of_star_never_run_backwards(star: ImportResult) -> None:
    assert not [what for what in star.report.not_represented if "backwards" in what]
    assert all(a.at <= b.at for s in star.sessions for a, b in zip(s.events, s.events[1:], strict=False))


def test_no_draft_that_was_not_sent_reaches_a_star_log(star: ImportResult, star_corpus: Path) -> None:
    leaks = 0
    for session, raw in zip(star.sessions, read_dialogues(star_corpus), strict=True):
        drafts = {e["Text"] for e in raw.data["Events"] if e["Action"] in ("request_suggestions", "instruct")}
        said = {e["Text"] for e in raw.data["Events"] if e["Action"] in ("utter", "pick_suggestion")}
        kept = {getattr(e, "text", None) or getattr(getattr(e, "action", None), "text", None) for e in session.events}
        leaks += len(kept & (drafts - said))
    assert leaks == 0


def test_the_public_layout_of_star_gives_the_same_sessions(
    star_corpus: Path, star: ImportResult, tmp_path: Path
) -> None:
    packed = star_corpus / "dialogues-open.jsonl.xz"
    if not packed.is_file():
        pytest.skip("STAR is given in its public layout; this test lays out the packed one")
    (tmp_path / "dialogues").mkdir()
    with lzma.open(packed, "rt", encoding="utf-8") as lines:
        for line in list(lines)[:400]:
            number = json.loads(line)["DialogueID"]
            (tmp_path / "dialogues" / f"{number}.json").write_text(line)
    with tarfile.open(star_corpus / "apis-and-tasks.tar.xz") as archive:
        # The filter came with Python 3.11.4 and is asked for by 3.14.
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    manifest = star_digests(read_dialogues(tmp_path), read_definitions(tmp_path))
    assert manifest.items() <= read_manifest(ROOT / "data" / "manifests" / "star.sha256").items()
    assert import_star(tmp_path, manifest=manifest).sessions == star.sessions[:400]


def test_abcd_has_its_conversations_and_every_button_press_is_legal(abcd: ImportResult) -> None:
    assert Counter(s.labels["corpus_split"] for s in abcd.sessions) == {"train": 2326, "dev": 1004}
    assert abcd.report.steps_by_type == {"submit_form": 12098}
    assert abcd.report.illegal == {}


def test_most_abcd_dev_rows_hold_what_was_typed(abcd: ImportResult) -> None:
    dev = [s for s in abcd.sessions if s.labels["corpus_split"] == "dev"]
    assert sum(s.labels["text"] == "verbatim" for s in dev) == 949
    typed = [s for s in dev if s.labels["text"] == "verbatim"]
    assert not [s for s in typed for e in s.events if "<account_id>" in e.model_dump_json()]


def test_abcd_splits_fit_its_sessions(abcd: ImportResult) -> None:
    splits = assign_splits(abcd.sessions, load_params(ROOT / "params.yaml").process("abcd").split)
    check_splits(splits, abcd.sessions)
    assert len(splits) == 3330
