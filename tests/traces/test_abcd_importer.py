from __future__ import annotations

from pathlib import Path

import pytest
from small_abcd import DEV, TRAIN, UNALIGNED, step, write_packed, write_published

from selective_autonomy.errors import CorruptTraceFile, TraceError
from selective_autonomy.process.actions import SubmitForm
from selective_autonomy.traces.importers.abcd import import_abcd
from selective_autonomy.traces.importers.abcd.source import DEFINITIONS, PACKED_CONVERSATIONS
from selective_autonomy.traces.importers.manifest import file_digests
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, Session


def actions(session: Session) -> list[tuple[str, dict[str, object]]]:
    done = [e.action for e in session.events if isinstance(e, OperatorAction)]
    return [(a.form, dict(a.values)) for a in done if isinstance(a, SubmitForm)]


def test_a_button_is_a_form_whose_values_stand_under_the_slots_they_belong_to(tmp_path: Path) -> None:
    (session,) = import_abcd(write_packed(tmp_path, [TRAIN])).sessions
    (find, name), (check, order), ask, (send, where) = actions(session)
    assert (find, name) == ("find-account", {"customer_name": "mia moe"})
    assert (check, list(order)) == ("check-order", ["username", "email", "order_id"])
    assert ask == ("ask-boss", {})
    assert (send, list(where)) == ("send-bike", ["street_address"])


def test_what_was_said_since_the_press_before_is_one_message_and_silence_is_none(tmp_path: Path) -> None:
    (session,) = import_abcd(write_packed(tmp_path, [TRAIN])).sessions
    hello, order, where = [e.text for e in session.events if isinstance(e, CustomerMessage)]
    typed = dict(actions(session))
    assert hello.startswith("hello? my bike is gone, mia moe ")
    assert order == " ".join(map(str, typed["check-order"].values()))
    assert where == f"where to? {typed['send-bike']['street_address']}"


def test_what_the_ontology_lists_for_a_slot_are_examples_and_any_other_text_is_legal(tmp_path: Path) -> None:
    schema = import_abcd(write_packed(tmp_path, [TRAIN])).schema
    kind, street = schema.forms_by_id["send-bike"].fields
    assert kind.schema_ == {"type": "string", "examples": ["red bike", "blue bike"]}
    assert kind.admits("green bike")
    assert "examples" not in street.schema_


def test_dev_rows_hold_words_and_values_as_typed_in_lower_case(tmp_path: Path) -> None:
    (session,) = import_abcd(write_packed(tmp_path, [DEV])).sessions
    assert actions(session) == [
        ("find-account", {"account_id": "a77x"}),
        ("send-bike", {"bike_slotval": "red bike"}),
    ]
    assert [e.text for e in session.events if isinstance(e, CustomerMessage)] == [
        "hello? my bike is gone. what is your id? a77x",
        "the red one. sent to 5 oak st?",
    ]
    assert session.labels["text"] == "verbatim"


def test_a_lone_value_as_typed_is_filed_by_its_placeholder(tmp_path: Path) -> None:
    typed = {**DEV, "raw_actions": [["find the account", ["a77x"]], ["send a bike", ["5 oak st"]]]}
    typed["steps"] = [DEV["steps"][0], step("send-bike", ["<street_address>"], DEV["steps"][1]["new_text"])]
    (session,) = import_abcd(write_packed(tmp_path, [typed])).sessions
    assert actions(session) == [
        ("find-account", {"account_id": "a77x"}),
        ("send-bike", {"street_address": "5 oak st"}),
    ]


def test_a_typed_value_at_the_end_of_the_last_message_is_whole(tmp_path: Path) -> None:
    steps = [
        step("find-account", ["<account_id>"], "id?"),
        step("send-bike", ["<phone>"], "cost $<amount> call <phone>"),
    ]
    raw = {
        "raw_text": "ID? cost $64 call (555) 010-4477 bye",
        "raw_actions": [["x", ["a77x"]], ["y", ["(555) 010-4477"]]],
    }
    (session,) = import_abcd(write_packed(tmp_path, [{**DEV, "steps": steps, **raw}])).sessions
    assert [e.text for e in session.events if isinstance(e, CustomerMessage)][-1] == "cost $64 call (555) 010-4477"


def test_a_value_without_a_placeholder_stays_as_the_corpus_names_it(tmp_path: Path) -> None:
    shown = {**DEV, "raw_actions": [["find the account", ["a77x"]], ["send a bike", ["The bike that is red"]]]}
    (session,) = import_abcd(write_packed(tmp_path, [shown])).sessions
    assert actions(session)[-1] == ("send-bike", {"bike_slotval": "red bike"})


def test_dev_rows_whose_two_versions_do_not_match_are_drawn_like_train_rows(tmp_path: Path) -> None:
    found = import_abcd(write_packed(tmp_path, [DEV, UNALIGNED]))
    ((button, values), *_) = actions(found.sessions[1])
    assert (button, list(values)) == ("find-account", ["account_id"])
    assert "<" not in str(values)
    assert [s.labels["text"] for s in found.sessions] == ["verbatim", "surrogates"]
    drawn = "what was typed in conversations with placeholders (made up in the same shape)"
    assert found.report.not_represented[drawn] == 1


def test_times_are_synthetic_and_strictly_increasing(tmp_path: Path) -> None:
    sessions = import_abcd(write_packed(tmp_path, [DEV, TRAIN, UNALIGNED])).sessions
    times = [event.at for session in sessions for event in session.events]
    assert times == sorted(set(times))
    assert {s.labels["times"] for s in sessions} == {"synthetic"}


def test_labels_name_flow_and_split_and_the_flow_is_no_part_of_the_state(tmp_path: Path) -> None:
    dev, train = import_abcd(write_packed(tmp_path, [DEV, TRAIN])).sessions
    assert (dev.labels["stratum"], dev.labels["corpus_split"]) == ("rental_issue", "dev")
    assert (train.labels["stratum"], train.labels["corpus_split"]) == ("unlabelled", "train")
    assert dev.procedures == train.procedures == ("rental_issue", "money_issue")
    assert dev.operator_id == "abcd-unknown"


def test_the_schema_has_the_ontologys_buttons_and_the_written_procedures(tmp_path: Path) -> None:
    found = import_abcd(write_packed(tmp_path, [DEV, TRAIN]))
    rental = found.schema.procedures_by_id["rental_issue"]
    assert [f.id for f in found.schema.forms] == ["find-account", "check-order", "send-bike", "ask-boss"]
    assert rental.forms == ("find-account", "send-bike")
    assert rental.graph == {"submit_form:find-account": ("submit_form:send-bike",)}
    assert "Be kind." in rental.text
    assert found.schema.common_forms == ("check-order",)
    assert found.report.illegal == {}


def test_a_button_that_the_ontology_lacks_is_reported_as_illegal(tmp_path: Path) -> None:
    odd = {**TRAIN, "steps": [step("dance", ["none"], "hi"), step("ask-boss", ["please"], "")]}
    report = import_abcd(write_packed(tmp_path, [odd])).report
    assert {reason: i.count for reason, i in report.illegal.items()} == {
        "submit_form:dance: form": 1,
        "submit_form:ask-boss: value_0": 1,
    }


def test_the_published_layout_gives_the_same_steps_and_never_the_test_conversations(tmp_path: Path) -> None:
    packed = import_abcd(write_packed(tmp_path / "a", [TRAIN, UNALIGNED])).sessions
    public = import_abcd(write_published(tmp_path / "b", [TRAIN, UNALIGNED])).sessions
    assert [s.session_id for s in public] == ["abcd-00007", "abcd-00009"]
    assert [s.events for s in public] == [s.events for s in packed]


def test_a_packed_corpus_is_compared_with_the_manifest(tmp_path: Path) -> None:
    source = write_packed(tmp_path, [TRAIN])
    manifest = file_digests(source, (PACKED_CONVERSATIONS, *DEFINITIONS))
    assert len(import_abcd(source, manifest=manifest).sessions) == 1
    write_packed(source, [TRAIN, DEV])
    with pytest.raises(TraceError, match=r"1 altered \['conversations-train-dev\.jsonl\.xz'\]"):
        import_abcd(source, manifest=manifest)


def test_of_the_published_layout_the_definitions_are_compared_with_the_manifest(tmp_path: Path) -> None:
    manifest = file_digests(write_packed(tmp_path / "a", [TRAIN]), (PACKED_CONVERSATIONS, *DEFINITIONS))
    source = write_published(tmp_path / "b", [TRAIN])
    assert len(import_abcd(source, manifest=manifest).sessions) == 1
    (source / "kb.json").write_text("{}")
    with pytest.raises(TraceError, match=r"1 altered \['kb\.json'\]"):
        import_abcd(source, manifest=manifest)


def test_a_conversation_in_another_shape_names_its_line(tmp_path: Path) -> None:
    broken = {key: value for key, value in TRAIN.items() if key != "steps"}
    with pytest.raises(CorruptTraceFile, match=r"line 2: a conversation is not as ABCD 1\.1 has it .*steps"):
        import_abcd(write_packed(tmp_path, [TRAIN, broken]))


def test_a_cut_off_file_is_named_in_either_layout(tmp_path: Path) -> None:
    for source, name in (
        (write_packed(tmp_path / "a", [TRAIN, DEV]), "conversations-train-dev.jsonl.xz"),
        (write_published(tmp_path / "b", [TRAIN, DEV]), "abcd_v1.1.json.gz"),
    ):
        whole = (source / name).read_bytes()
        (source / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CorruptTraceFile, match=rf"{name}.*cut off"):
            import_abcd(source)


def test_a_folder_without_the_corpus_says_how_to_get_it(tmp_path: Path) -> None:
    source = write_packed(tmp_path, [TRAIN])
    (source / PACKED_CONVERSATIONS).unlink()
    with pytest.raises(TraceError, match="asappresearch/abcd"):
        import_abcd(source)
