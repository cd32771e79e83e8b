from __future__ import annotations

import copy
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from small_star import (
    DIALOGUES,
    EVENTS,
    SECRETS,
    dialogue,
    pick,
    query,
    result,
    user,
    wizard,
    write_packed,
    write_public,
)

from selective_autonomy.errors import CorruptTraceFile, TraceError
from selective_autonomy.process.actions import SendReply, SendTextToChat, SubmitForm
from selective_autonomy.traces.importers.manifest import read_manifest, write_manifest
from selective_autonomy.traces.importers.result import ImportResult
from selective_autonomy.traces.importers.star import import_star
from selective_autonomy.traces.importers.star.source import read_definitions, read_dialogues, star_digests
from selective_autonomy.traces.importers.star.values import constraint_value
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, ScreenUpdate


def imported(tmp_path: Path, *dialogues: dict[str, Any]) -> ImportResult:
    return import_star(write_packed(tmp_path / "star", list(dialogues)))


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_the_packed_and_the_public_layout_give_the_same_result(tmp_path: Path) -> None:
    packed = import_star(write_packed(tmp_path / "a" / "star"))
    public = import_star(write_public(tmp_path / "b" / "star"))
    deeper = write_public(tmp_path / "c" / "star" / "checkout")
    assert packed == public == import_star(deeper.parent)
    assert [s.session_id for s in packed.sessions] == ["star-00001", "star-00002", "star-00012"]


def test_a_source_may_mix_the_two_layouts(tmp_path: Path) -> None:
    source = write_public(tmp_path / "star")
    (write_packed(tmp_path / "other") / "dialogues-open.jsonl.xz").rename(source / "dialogues-open.jsonl.xz")
    assert len(import_star(source).sessions) == 3


def test_events_stand_in_log_order_and_a_form_result_at_the_time_of_its_query(tmp_path: Path) -> None:
    (session,) = imported(tmp_path, dialogue(1)).sessions
    values = {
        "Days": 3,
        "Size": "is_one_of(Small, Large)",
        "CustomerName": "Mia ",
        "Electric": True,
        "RequestType": "Book",
    }
    assert session.events == (
        ScreenUpdate(at=at(1000), values={"briefing": "Rent out bikes."}),
        CustomerMessage(at=at(1010), text="a bike please"),
        OperatorAction(at=at(1020), action=SendReply(template="bike_ask_days")),
        CustomerMessage(at=at(1030), text="three, I am Mia"),
        OperatorAction(at=at(1040), action=SubmitForm(form="bike_rent", values=values)),
        ScreenUpdate(
            at=at(1040),
            form="bike_rent",
            values={"Colour": "red", "Locks": '["front", "back"]', "Price": 12, "Insured": True},
        ),
        OperatorAction(at=at(1050), action=SendReply(template="custom", slots={"text": "It is a red one!"})),
        CustomerMessage(at=at(1060), text="lovely"),
        OperatorAction(at=at(1070), action=SendTextToChat(text="Enjoy the ride.")),
    )


def test_a_session_says_who_when_what_and_how_it_ended(tmp_path: Path) -> None:
    complete, early, _ = imported(tmp_path, *DIALOGUES).sessions
    digest = hashlib.sha256(b"worker-7").hexdigest()
    assert complete.operator_id == f"star-{digest[:12]}"
    assert complete.labels == {
        "stratum": "single_happy",
        "completion": "Complete",
        "operator_hash_mod8": str(int(digest, 16) % 8),
    }
    assert (complete.source, complete.procedures, complete.process_id) == ("star:1", ("bike_rent",), "star")
    assert complete.outcome.status == "complete"
    assert complete.outcome.answers == {"user:Did you get a bike?": True, "wizard:Was it hard?": False}
    assert (early.outcome.status, early.events) == ("abandoned", ())


def test_the_stratum_is_that_of_the_scenario(tmp_path: Path) -> None:
    scenario = dialogue(1)["Scenario"]
    unhappy = dialogue(2, Scenario={**scenario, "Happy": False})
    both = [{"Task": "bike_rent"}, {"Task": "shop_repair"}]
    multi = dialogue(3, Scenario={**scenario, "MultiTask": True, "WizardCapabilities": both})
    sessions = imported(tmp_path, unhappy, multi).sessions
    assert [s.labels["stratum"] for s in sessions] == ["single_unhappy", "multi"]
    assert sessions[1].procedures == ("bike_rent", "shop_repair")


def test_nothing_that_the_operator_did_not_see_or_that_gives_the_action_away_is_kept(tmp_path: Path) -> None:
    found = imported(tmp_path, *DIALOGUES)
    kept = "".join(s.model_dump_json() for s in found.sessions) + found.schema.model_dump_json()
    assert [secret for secret in SECRETS if secret in kept] == []
    raw = json.dumps(DIALOGUES)
    assert [secret for secret in SECRETS if secret not in raw] == []


def test_what_is_not_represented_is_counted(tmp_path: Path) -> None:
    report = imported(tmp_path, dialogue(1), dialogue(2, [*EVENTS, wizard("wave", 1099)])).report
    counts = {what.partition(":")[0]: n for what, n in report.not_represented.items()}
    assert counts == {
        "UserGuide instruct": 2,
        "request_suggestions": 2,
        "select_task": 2,
        "Wizard wave": 1,
        "an earlier value of a field that one query holds twice": 2,
    }


def test_the_report_counts_sessions_and_steps(tmp_path: Path) -> None:
    report = imported(tmp_path, *DIALOGUES).report
    assert report.sessions == 3
    assert report.sessions_by_status == {"abandoned": 1, "complete": 2}
    assert report.steps_by_type == {"send_reply": 2, "send_text_to_chat": 1, "submit_form": 2}
    assert (report.steps, report.complete_steps, report.complete_with_step, report.operators) == (5, 5, 2, 1)


def test_every_step_of_the_corpus_is_legal_under_the_derived_schema(tmp_path: Path) -> None:
    found = imported(tmp_path, *DIALOGUES)
    assert found.report.illegal == {}


def test_a_step_outside_the_published_definitions_is_reported_with_an_example(tmp_path: Path) -> None:
    odd = dialogue(7, [user("hi", 1), query(2, {"Days": "99"}, {"RequestType": '"Book"'}), query(3, api="moped_rent")])
    illegal = imported(tmp_path, dialogue(1), odd).report.illegal
    assert {reason: found.count for reason, found in illegal.items()} == {
        "submit_form:bike_rent: Days": 1,
        "submit_form:moped_rent: form": 1,
    }
    assert (
        illegal["submit_form:bike_rent: Days"]
        .examples[0]
        .startswith("star-00007, step 0: form 'bike_rent', field 'Days'")
    )


def test_a_form_found_nothing_is_shown_as_zero_matches(tmp_path: Path) -> None:
    *_, last = imported(tmp_path, *DIALOGUES).sessions[2].events
    assert last == ScreenUpdate(at=at(60), form="bike_rent", values={"TotalItems": 0})


def test_a_clock_that_runs_backwards_is_held_and_counted(tmp_path: Path) -> None:
    found = imported(tmp_path, dialogue(1, [user("one", 20), pick("hello", "Hello!", 10), user("two", 30)]))
    assert [e.at for e in found.sessions[0].events] == [at(20), at(20), at(20), at(30)]
    assert found.report.not_represented["times that went backwards, set to the time before"] == 1


def test_forms_are_typed_after_the_api(tmp_path: Path) -> None:
    form = imported(tmp_path, dialogue(1)).schema.forms_by_id["bike_rent"]
    fields = {f.id: f for f in form.fields}
    assert {f.id for f in form.fields if f.required} == {"Days", "RequestType"}
    assert {f.id for f in form.fields if f.pii} == {"CustomerName"}
    assert fields["RequestType"].choices == ("Check", "Book")
    assert fields["Electric"].choices == (True, False)
    ok = {"Days": [3, "is_at_least(3)", ""], "Size": ["Small", "is_one_of(Small, Large)"], "CustomerName": ["Mia"]}
    bad = {
        "Days": [0, 31, "three", True],
        "Size": ["Huge", "small", "is_one_of"],
        "CustomerName": [4],
        "Electric": ["True"],
    }
    for name, values in ok.items():
        assert all(fields[name].validator.is_valid(value) for value in values), name
    for name, values in bad.items():
        assert not any(fields[name].validator.is_valid(value) for value in values), name


def test_a_required_field_that_operators_leave_out_is_not_required_and_reported(tmp_path: Path) -> None:
    found = imported(tmp_path, dialogue(1, [user("hi", 1), query(2, {"RequestType": '"Check"'})]))
    assert {f.id for f in found.schema.forms_by_id["bike_rent"].fields if f.required} == {"RequestType"}
    assert any("bike_rent.Days (1)" in note for note in found.report.notes)
    assert found.report.illegal == {}


def test_procedures_have_the_replies_forms_and_graph_of_their_task(tmp_path: Path) -> None:
    schema = imported(tmp_path, dialogue(1)).schema
    rent = schema.procedures_by_id["bike_rent"]
    assert rent.forms == ("bike_rent",)
    assert rent.replies == ("bike_ask_days", "bike_inform_nothing_found", "bike_inform_ready")
    assert schema.common_replies == ("custom", "hello", "out_of_scope")
    assert rent.text == "Rent out bikes."
    assert rent.graph == {
        "hello": ("bike_ask_days",),
        "bike_ask_days": ("submit_form:bike_rent",),
        "available": ("submit_form:bike_rent",),
        "query_success": ("bike_inform_ready",),
    }
    assert schema.procedures_by_id["shop_repair"].forms == ()


def test_replies_have_slots_for_their_marks_and_what_tasks_word_differently_is_what_they_share(tmp_path: Path) -> None:
    replies = imported(tmp_path, dialogue(1)).schema.replies_by_id
    ready = replies["bike_inform_ready"]
    assert ready.text == "The {colour} bike is ready for {days} days."
    assert [(s.id, s.schema_["type"]) for s in ready.slots] == [("colour", "string"), ("days", "integer")]
    assert not any(s.required for s in ready.slots)
    assert replies["out_of_scope"].text == "Sorry, I do not follow."


def test_a_reply_without_a_published_text_has_the_one_most_often_sent(tmp_path: Path) -> None:
    events = [
        user("bye", 1),
        pick("goodbye_9", "Bye!", 2),
        pick("goodbye_9", "So long.", 3),
        pick("goodbye_9", "Bye!", 4),
    ]
    found = imported(tmp_path, dialogue(1, events))
    assert found.schema.replies_by_id["goodbye_9"].text == "Bye!"
    assert "goodbye_9" in found.schema.common_replies
    assert any("'goodbye_9' has no published text" in note for note in found.report.notes)


@pytest.mark.parametrize(
    ("text", "field_type", "value"),
    [
        ('"Mia"', "ShortString", "Mia"),
        ("0314", "ShortString", "0314"),
        ("425931", "ShortString", "425931"),
        ("4", "Integer", 4),
        ("-3", "Integer", -3),
        ("007", "Integer", "007"),
        ("True", "Boolean", True),
        ("null", "LongString", ""),
        ("api.is_equal_to()", "Integer", ""),
        ("api.is_equal_to(null)", "Categorical", ""),
        ("api.is_equal_to(2)", "Integer", 2),
        ('api.is_equal_to("Chase")', "Categorical", "Chase"),
        ('api.is_equal_to(["Chase"])', "Categorical", "Chase"),
        ('api.is_one_of(["Lyft"])', "Categorical", "Lyft"),
        ('api.is_one_of(["Lyft","Taxi"])', "Categorical", "is_one_of(Lyft, Taxi)"),
        ("api.is_at_least(3)", "Integer", "is_at_least(3)"),
        ('api.contains("User\'s gym")', "CategoricalMultiple", "contains(User's gym)"),
        ('"say \\"hi\\""', "LongString", 'say "hi"'),
    ],
)
def test_a_constraint_becomes_the_value_that_was_meant(text: str, field_type: str, value: object) -> None:
    got = constraint_value(text, field_type)
    assert got == value
    assert type(got) is type(value)


def test_only_what_the_manifest_lists_is_imported(tmp_path: Path) -> None:
    small = write_packed(tmp_path / "small", DIALOGUES[:2])
    write_manifest(star_digests(read_dialogues(small), read_definitions(small)), tmp_path / "star.sha256")
    manifest = read_manifest(tmp_path / "star.sha256")
    larger = write_public(tmp_path / "larger", [*DIALOGUES, dialogue(44)])
    found = import_star(larger, manifest=manifest)
    assert [s.session_id for s in found.sessions] == ["star-00001", "star-00002"]
    assert found.report.not_represented["dialogues that the manifest does not list"] == 2
    assert found.sessions == import_star(small, manifest=manifest).sessions


@pytest.mark.parametrize("change", ["altered", "missing"])
def test_a_corpus_that_is_not_the_one_of_the_manifest_is_refused(tmp_path: Path, change: str) -> None:
    source = write_packed(tmp_path / "star")
    manifest = star_digests(read_dialogues(source), read_definitions(source))
    other = copy.deepcopy(DIALOGUES)
    other[0]["Events"][1]["Text"] = "two bikes please"
    write_packed(source, other if change == "altered" else DIALOGUES[1:])
    with pytest.raises(TraceError, match=rf"1 (parts )?{change} \['dialogue/1'\]"):
        import_star(source, manifest=manifest)


def test_a_damaged_line_names_file_and_line(tmp_path: Path) -> None:
    import lzma

    source = write_packed(tmp_path / "star")
    lines = [json.dumps(DIALOGUES[0]), '{"DialogueID": 2,', json.dumps(DIALOGUES[2])]
    (source / "dialogues-open.jsonl.xz").write_bytes(lzma.compress("\n".join(lines).encode()))
    with pytest.raises(CorruptTraceFile, match=r"dialogues-open\.jsonl\.xz, line 2: not JSON") as caught:
        import_star(source)
    assert caught.value.line == 2


@pytest.mark.parametrize("name", ["dialogues-open.jsonl.xz", "apis-and-tasks.tar.xz"])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_cut_off_file_is_an_error_that_names_it(tmp_path: Path, name: str, share: float) -> None:
    source = write_packed(tmp_path / "star")
    whole = (source / name).read_bytes()
    (source / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CorruptTraceFile, match=rf"{name}.*cut off"):
        import_star(source)


def test_a_dialogue_that_lacks_something_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    broken = dialogue(5)
    del broken["Scenario"]["WizardCapabilities"]
    with pytest.raises(CorruptTraceFile, match=r"line 2: dialogue 5 .*WizardCapabilities"):
        imported(tmp_path, dialogue(1), broken)
    with pytest.raises(CorruptTraceFile, match="got DialogueID None, expected an integer"):
        imported(tmp_path, {"Events": []})


def test_a_broken_file_of_a_checkout_is_named(tmp_path: Path) -> None:
    source = write_public(tmp_path / "star")
    (source / "dialogues" / "12.json").write_text('{\n "DialogueID": 12,\n oops')
    with pytest.raises(CorruptTraceFile, match=r"12\.json, line 3: not JSON"):
        import_star(source)


def test_a_task_with_one_file_of_two_is_refused(tmp_path: Path) -> None:
    source = write_public(tmp_path / "star")
    (source / "tasks" / "bike_rent" / "responses.json").unlink()
    with pytest.raises(TraceError, match=r"one file of two: \['bike_rent'\]"):
        import_star(source)


def test_two_different_copies_of_one_definition_are_refused(tmp_path: Path) -> None:
    source = write_public(tmp_path / "star")
    write_public(source / "older")
    (source / "older" / "apis" / "apis" / "bike_rent.json").write_text('{"input": [], "required": []}')
    with pytest.raises(TraceError, match=r"two different files apis/apis/bike_rent\.json"):
        import_star(source)


def test_a_folder_without_the_corpus_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="traces fetch star"):
        import_star(write_public(tmp_path / "star", []))


def test_progress_is_told_once_a_dialogue(tmp_path: Path) -> None:
    told = []
    import_star(write_packed(tmp_path / "star"), on_session=lambda: told.append(1))
    assert len(told) == 3


def test_the_result_wizards_see_keeps_the_number_of_matches(tmp_path: Path) -> None:
    events = [user("hi", 1), query(2, {"Days": "2"}, {"RequestType": '"Check"'}), result({"Colour": "blue"}, total=4)]
    (session,) = imported(tmp_path, dialogue(1, events)).sessions
    assert session.events[-1] == ScreenUpdate(at=at(2), form="bike_rent", values={"TotalItems": 4, "Colour": "blue"})
