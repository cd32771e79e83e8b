"""Learned values: what goes into a field is ranked among what the log, the schema and usual values offer."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parcel_process import PARCEL, do, say, session, sessions, show

from selective_autonomy.contract.actions import argument_fields
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.baselines.counted_heads import CountedHeads
from selective_autonomy.policy.baselines.ngram import HeadNgram
from selective_autonomy.policy.composed import ComposedPolicy
from selective_autonomy.policy.values.candidates import CandidateSource
from selective_autonomy.policy.values.ranker import RankedValues
from selective_autonomy.policy.values.reading import read_log
from selective_autonomy.process.actions import Scalar, SendTextToChat, SubmitForm, head
from selective_autonomy.process.legality import check_action
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps
from selective_autonomy.traces.store import write_sessions

LOOKUP, REFUND, FOUND = "submit_form:lookup", "submit_form:refund", "send_reply:found"


def _lookup(number: int, name: str = "Ann") -> Session:
    """Every parcel has a number of its own, and the customer says it among other words."""
    parcel, place = f"P{100 + number * 7}", ("Oslo", "Bergen")[number % 2]
    return session(
        say(
            f"Hi, {name} here. My parcel {parcel} is {'lost' if number % 3 else 'late'}, sent on the {number % 28 + 1}."
        ),
        do(SubmitForm(form="lookup", values={"number": parcel})),
        show("lookup", place=place),
        do(SubmitForm(form="refund", values={"reason": "lost" if number % 3 else "late", "who|=<x>": name})),
        do(SendTextToChat(text="Done, sorry!")),
        session_id=f"lookup-{number}",
    )


@pytest.fixture(scope="module")
def train() -> list[Session]:
    return [_lookup(number) for number in range(60)]


@pytest.fixture(scope="module")
def ranked(train: list[Session]) -> RankedValues:
    return RankedValues.fit(train, PARCEL, trees=30, seed=1)


def _given(values: RankedValues, before: Session, name: str) -> dict[str, Scalar] | None:
    filled = values.fill(before, name)
    return None if filled is None else {argument.field: argument.value for argument in filled.arguments}


@given(sessions, st.sampled_from([LOOKUP, REFUND, FOUND]))
@settings(deadline=None, max_examples=60)
def test_every_value_is_valid_and_required_fields_are_filled_or_nothing_is(
    ranked: RankedValues, log: Session, name: str
) -> None:
    filled = ranked.fill(log, name)
    specs = {spec.id: spec for spec in argument_fields(PARCEL, name)}
    if filled is None:
        assert any(spec.required for spec in specs.values())
        return
    for argument in filled.arguments:
        assert specs[argument.field].validator.is_valid(argument.value)
        assert 0 <= argument.p <= 1
    assert {spec.id for spec in specs.values() if spec.required} <= {a.field for a in filled.arguments}
    assert filled.log_prob <= 0
    assert ranked.fill(log, name) == filled


def test_a_required_field_without_any_value_cannot_be_filled() -> None:
    empty = RankedValues.fit([], PARCEL, trees=5, seed=1)
    assert empty.fill(session(), LOOKUP) is None
    assert empty.fill(session(say("my parcel is lost")), LOOKUP) is None
    assert _given(empty, session(say("my parcel is P123")), LOOKUP) is not None


def test_an_id_that_was_never_heard_before_is_copied_as_it_was_said(ranked: RankedValues) -> None:
    before = session(say("Hi, Ann here. My parcel P999 is lost, sent on the 12."))
    filled = ranked.fill(before, LOOKUP)
    assert filled is not None
    (argument,) = filled.arguments
    assert (argument.field, argument.value, argument.copied) == ("number", "P999", True)


def test_a_choice_follows_what_the_customer_said(ranked: RankedValues) -> None:
    for number, reason in ((300, "late"), (301, "lost")):
        log = _lookup(number)
        given = _given(ranked, list(steps(log))[1].before, REFUND)
        assert given is not None
        assert given["reason"] == reason


def test_a_field_that_operators_leave_empty_stays_so(ranked: RankedValues) -> None:
    before = list(steps(_lookup(301)))[1].before
    given = _given(ranked, before, REFUND)
    assert given is not None
    assert set(given) == {"reason", "who|=<x>"}


def test_a_head_without_fields_is_filled_by_nothing(ranked: RankedValues) -> None:
    filled = ranked.fill(session(), "wait")
    assert filled is not None
    assert (filled.arguments, filled.log_prob) == ((), 0.0)


def test_the_values_do_not_depend_on_how_a_process_orders_its_sets(train: list[Session], tmp_path: Path) -> None:
    """Strings hash differently in each process, so whatever follows a set's order differs from run to run."""
    write_sessions(train[:30], tmp_path / "train.parquet")
    program = (
        "import sys; from pathlib import Path; from parcel_process import PARCEL;"
        "from selective_autonomy.policy.values.ranker import RankedValues;"
        "from selective_autonomy.traces.store import read_sessions; here = Path(sys.argv[1]);"
        "RankedValues.fit(read_sessions(here / 'train.parquet'), PARCEL, trees=5, seed=1).save(here / sys.argv[2])"
    )
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", program, tmp_path, seed], check=True, env=environment, timeout=300)
    for name in ("values.json", "values.txt"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_what_the_case_before_held_weighs_nothing_in_the_next() -> None:
    found = next(spec for spec in argument_fields(PARCEL, FOUND) if spec.id == "place")
    here = read_log(session(say("it is in Upper Bergen Hall"), show("lookup", place="Upper Bergen Hall")))
    before = read_log(session(say("hi"), show("lookup", place="Upper Oslo Hall Gate")))
    usual = {f"{FOUND} place": {"Oslo": 5}}
    fresh, used = CandidateSource(usual), CandidateSource(usual)
    used.candidates(FOUND, found, before)
    assert used.candidates(FOUND, found, here) == fresh.candidates(FOUND, found, here)
    assert used.weights(f"{FOUND} place") == fresh.weights(f"{FOUND} place") == {"oslo": 1.0}


def test_the_same_sessions_give_the_same_values(ranked: RankedValues, train: list[Session], tmp_path: Path) -> None:
    for name, values in (("one", ranked), ("two", RankedValues.fit(train, PARCEL, trees=30, seed=1))):
        (tmp_path / name).mkdir()
        values.save(tmp_path / name)
    for file in ("values.json", "values.txt"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("cases_known", [60, 0], ids=["learned", "nothing to learn from"])
def test_values_survive_saving(cases_known: int, train: list[Session], tmp_path: Path) -> None:
    values = RankedValues.fit(train[:cases_known], PARCEL, trees=30, seed=1)
    values.save(tmp_path)
    loaded = RankedValues.load(tmp_path, PARCEL)
    for number in (3, 70, 71):
        for step in steps(_lookup(number)):
            for name in (LOOKUP, REFUND, FOUND, "send_text_to_chat"):
                assert loaded.fill(step.before, name) == values.fill(step.before, name)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("values.json", "{"),
        ("values.json", "[]"),
        ("values.json", '{"names": ["form"]}'),
        ("values.txt", "no trees"),
        ("values.txt", None),
        ("values.json", None),
    ],
)
def test_a_damaged_file_is_refused(file: str, content: str | None, ranked: RankedValues, tmp_path: Path) -> None:
    ranked.save(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match="train the policy again"):
        RankedValues.load(tmp_path, PARCEL)


def _personal() -> ProcessSchema:
    data = PARCEL.model_dump(mode="json", by_alias=True)
    for form in data["forms"]:
        for spec in form["fields"]:
            spec["pii"] = spec["id"] in ("number", "who|=<x>")
    return ProcessSchema.model_validate(data)


def _saved(train: Sequence[Session], out: Path) -> str:
    RankedValues.fit(train, _personal(), trees=30, seed=1).save(out)
    return "\n".join(file.read_text(encoding="utf-8") for file in out.iterdir()).lower()


def test_personal_values_that_operators_fill_in_are_in_no_file(tmp_path: Path) -> None:
    train = [
        session(
            say("hello"),
            do(SubmitForm(form="lookup", values={"number": "P417"})),
            do(SubmitForm(form="refund", values={"reason": "lost", "who|=<x>": "Zebediah"})),
            session_id=f"s{number}",
        )
        for number in range(60)
    ]
    saved = _saved(train, tmp_path)
    assert "lost" in saved
    assert "zebediah" not in saved
    assert "p417" not in saved


def test_a_personal_value_that_customers_say_is_in_no_file(tmp_path: Path) -> None:
    saved = _saved([_lookup(number, name="Zebediah") for number in range(60)], tmp_path)
    assert "zebediah" not in saved


def test_a_composed_policy_takes_the_likeliest_head_that_can_be_filled(train: list[Session]) -> None:
    heads, values = CountedHeads(PARCEL, HeadNgram.fit(train), "ngram"), RankedValues.fit([], PARCEL, trees=5, seed=1)
    without, with_number = session(say("hello")), session(say("it is P123"))
    assert {ranked.names[0] for ranked in heads.rank_next([without, with_number])} == {LOOKUP}
    first, second = ComposedPolicy(heads, values).propose([without, with_number])
    assert head(second.action) == LOOKUP
    assert head(first.action) == first.alternatives[0].head != LOOKUP
    assert values.fill(without, head(first.action)) is not None
    assert LOOKUP not in {a.head for a in first.alternatives}
    assert first.legal_count < second.legal_count
    assert sum(a.p for a in first.alternatives) <= 1 + 1e-9


@given(log=sessions)
@settings(deadline=None, max_examples=25)
def test_a_composed_policy_replays_what_it_proposes_and_stays_legal(
    ranked: RankedValues, train: list[Session], log: Session
) -> None:
    policy = ComposedPolicy(CountedHeads(PARCEL, HeadNgram.fit(train), "ngram"), ranked)
    befores = [step.before for step in steps(log)]
    replayed = policy.replay(log)
    assert replayed == policy.propose(befores)
    for proposal, before in zip(replayed, befores, strict=True):
        check_action(PARCEL, derive_screen(before), proposal.action)


def test_usual_values_are_saved_as_they_were_given(ranked: RankedValues, tmp_path: Path) -> None:
    ranked.save(tmp_path)
    usual = json.loads((tmp_path / "values.json").read_text(encoding="utf-8"))["usual"]
    assert dict(usual[f"{REFUND} reason"]) == {"lost": 40, "late": 20}


def test_a_form_is_filled_the_likeliest_way_as_a_whole(ranked: RankedValues, train: list[Session]) -> None:
    log = _lookup(304)
    before = list(steps(log))[1].before
    filled = ranked.fill(before, REFUND)
    assert filled is not None
    given = {argument.field: argument.value for argument in filled.arguments}
    assert given == {"reason": "lost", "who|=<x>": "Ann"}
    assert filled.log_prob <= sum(math.log(argument.p) for argument in filled.arguments) + 1e-9
