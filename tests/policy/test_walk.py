"""Legality by construction: whatever the model says, the action is complete and legal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parcel_process import PARCEL, do, say, session, show, texts

from selective_autonomy.contract import Contract
from selective_autonomy.contract.actions import all_heads
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.spaces import Spaces, Trie, longest_arguments
from selective_autonomy.policy.causal_lm.tokenizer import Encoder, add_markers, train_tokenizer
from selective_autonomy.policy.causal_lm.walk import Walk
from selective_autonomy.policy.values.field_values import (
    free_branch,
    is_closed,
    listed_values,
    stated_values,
    usual_values,
)
from selective_autonomy.process.actions import SendTextToChat, SubmitForm, head
from selective_autonomy.process.legality import check_action
from selective_autonomy.process.schema import FieldSpec
from selective_autonomy.traces.screen import derive_screen

CONTRACT = Contract(PARCEL)
TOKENIZER = train_tokenizer(["hello my parcel P123 is lost, please help"] * 5, 300)
add_markers(TOKENIZER, CONTRACT)
ENCODER = Encoder(CONTRACT, TOKENIZER)
SPACES = Spaces(ENCODER, {}, {})
VOCABULARY = len(TOKENIZER)


def _walk(head_name: str, log: str, seed: int, sharpness: float, favoured: list[int]) -> tuple[Walk, int]:
    rng = np.random.default_rng(seed)
    walk = Walk(ENCODER, SPACES, head_name, session(say(log)).events)
    length = 1
    while not walk.done:
        logits = rng.normal(size=VOCABULARY) * sharpness
        logits[favoured] += 3 * sharpness
        walk.step(logits)
        length += 1
    return walk, length


@given(
    st.sampled_from(all_heads(PARCEL)),
    texts,
    st.integers(0, 10**6),
    st.sampled_from([0.0, 1.0, 20.0, 1000.0]),
    st.lists(st.integers(0, VOCABULARY - 1), max_size=30),
)
@settings(deadline=None, max_examples=300)
def test_random_logits_still_make_a_legal_action(
    head_name: str, log: str, seed: int, sharpness: float, favoured: list[int]
) -> None:
    before = session(say(log))
    if not SPACES.can_fill(head_name, before.events):
        assert head_name == "submit_form:lookup"
        return
    walk, length = _walk(head_name, log, seed, sharpness, favoured)
    action = walk.action()
    check_action(PARCEL, derive_screen(before), action)
    assert head(action) == head_name
    assert CONTRACT.parse_action(CONTRACT.action_text(action)) == action
    assert length <= longest_arguments(ENCODER, head_name)
    assert walk.log_prob <= 1e-9
    for argument in walk.evidence(log):
        assert 0 <= argument.p <= 1


@pytest.mark.parametrize("token", [" ", "Ġ", "\\", "<", "Ċ", "\u0142", "Â", "\u0142\u0142"])
def test_a_model_that_only_wants_blanks_or_broken_characters_still_writes_something(token: str) -> None:
    wanted = TOKENIZER.convert_tokens_to_ids(token)
    for head_name in ("send_text_to_chat", "search_procedure", "submit_form:refund"):
        walk, _ = _walk(head_name, "hello", 1, 1.0, [wanted] * 3 if wanted is not None else [])
        check_action(PARCEL, derive_screen(session(say("hello"))), walk.action())


def test_a_model_that_knows_the_action_writes_it_with_certainty() -> None:
    action = SubmitForm(form="refund", values={"reason": "late and wet", "items": 3, "note": "a b", "who|=<x>": "Ann"})
    (segment,) = [s for s in CONTRACT.render(session(do(action))) if s.kind == "action"]
    ids = ENCODER.encode(segment)
    walk = Walk(ENCODER, SPACES, head(action), ())
    for token in ids[2:]:
        logits = np.full(VOCABULARY, -30.0)
        logits[token] = 30.0
        assert walk.step(logits) == token
    assert walk.done
    assert walk.action() == action
    assert all(argument.p > 0.999 for argument in walk.evidence(""))


def test_probabilities_are_over_what_may_come_next() -> None:
    walk = Walk(ENCODER, SPACES, "submit_form:lookup", session(say("P123")).events)
    for _ in range(40):
        if walk.done:
            break
        walk.step(np.zeros(VOCABULARY))
    (number, *_) = walk.evidence("my parcel is P123.")
    assert (number.value, number.copied) == ("P123", True)
    assert number.p > 0.2


def test_a_value_inside_a_longer_word_is_not_copied() -> None:
    walk = Walk(ENCODER, SPACES, "submit_form:lookup", session(say("P123")).events)
    while not walk.done:
        walk.step(np.zeros(VOCABULARY))
    assert not walk.evidence("XP123 P1234")[0].copied


def test_a_required_field_without_any_valid_value_makes_the_form_unfillable() -> None:
    assert not SPACES.can_fill("submit_form:lookup", session(say("no number here")).events)
    assert SPACES.can_fill("submit_form:lookup", session(say("it is P123.")).events)
    assert SPACES.can_fill("submit_form:lookup", session(show("lookup", parcel="P123")).events)


def test_a_proposed_text_is_never_blank() -> None:
    walk, _ = _walk("send_text_to_chat", "", 5, 1.0, list(np.flatnonzero(ENCODER.opens_word)))
    action = walk.action()
    assert isinstance(action, SendTextToChat)
    assert action.text.strip()


@pytest.mark.parametrize(
    ("schema", "free", "closed"),
    [
        ({"type": "string"}, True, False),
        ({}, True, False),
        ({"type": "string", "maxLength": 9, "title": "x"}, True, False),
        ({"type": ["string", "integer"]}, True, False),
        ({"anyOf": [{"enum": ["a"]}, {"type": "string"}]}, True, False),
        ({"anyOf": [{"enum": ["a"]}, {"type": "string", "pattern": "^b"}]}, False, False),
        ({"anyOf": [{"type": "string"}], "maxLength": 3}, False, False),
        ({"type": "string", "minLength": 2}, False, False),
        ({"type": "string", "enum": ["a", "b"]}, False, True),
        ({"type": "boolean"}, False, True),
        ({"type": "integer", "minimum": 1, "maximum": 5}, False, True),
        ({"type": "integer", "minimum": 1}, False, False),
        ({"anyOf": [{"const": 1}, {"type": "boolean"}]}, False, True),
    ],
)
def test_a_schema_is_free_or_closed_or_neither(schema: dict[str, object], free: bool, closed: bool) -> None:
    assert (free_branch(schema) is not None, is_closed(schema)) == (free, closed)


def test_listed_values_keep_one_and_true_apart_and_are_valid() -> None:
    spec = FieldSpec(id="f", schema={"anyOf": [{"const": 1}, {"type": "boolean"}], "default": "not valid"})
    assert {(type(value), value) for value in listed_values(spec)} == {(int, 1), (bool, True), (bool, False)}


def test_stated_values_are_numbers_words_and_spans_that_the_field_admits() -> None:
    count = FieldSpec(id="f", schema={"type": "integer", "minimum": 1})
    assert set(stated_values(count, "two of 12, not -4 or 0.5")) == {2, 12}
    name = FieldSpec(id="f", schema={"type": "string", "pattern": "^[A-Z][a-z]+ [A-Z][a-z]+$"})
    assert stated_values(name, "I am Ann Lee, hello") == ("Ann Lee",)


def test_the_room_for_an_action_is_what_the_prompter_reserves() -> None:
    longest = 1 + max(longest_arguments(ENCODER, name) for name in CONTRACT.heads)
    assert Prompter(CONTRACT, ENCODER, context=1024).budget == 1024 - longest


def test_usual_values_of_constrained_fields_can_be_proposed_unless_personal() -> None:
    given = {"reason": "lost", "who|=<x>": "Ann", "size": "is_not(L)"}
    log = session(*(do(SubmitForm(form="refund", values=given)) for _ in range(2)))
    usual = usual_values([log], PARCEL)
    assert usual == {"submit_form:refund size": ("is_not(L)",)}
    assert usual_values([log.before(1)], PARCEL) == {}
    refund = PARCEL.forms_by_id["refund"]
    size = refund.field("size")
    assert size is not None
    space = Spaces(ENCODER, usual, {}).space("submit_form:refund", size, ())
    assert isinstance(space, Trie)
    assert _values(space) == {"S", "L", "is_not(L)"}
    personal = refund.model_copy(
        update={"fields": tuple(f.model_copy(update={"pii": f.id == "size"}) for f in refund.fields)}
    )
    assert usual_values([log], PARCEL.model_copy(update={"forms": (personal,)})) == {}


def _values(trie: Trie) -> set[object]:
    below = {value for child in trie.children.values() for value in _values(child)}
    return below if trie.value is None else below | {trie.value}


def test_a_trie_with_a_value_more_leaves_the_shorter_one_alone() -> None:
    known = Trie()
    known.insert((1, 2), "a")
    known.insert((1,), "b")
    more = known.plus((1, 2, 3), "c").plus((4,), "d")
    assert _values(known) == {"a", "b"}
    assert _values(more) == {"a", "b", "c", "d"}
    assert more.children[1].children[2].children[3].value == "c"
