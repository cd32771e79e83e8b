"""What is offered as a value out of long messages, what it looks like, and which words speak for it."""

from __future__ import annotations

import pytest
from parcel_process import say, session

from selective_autonomy.policy.values.association import LEFT_OUT, WordAssociation
from selective_autonomy.policy.values.reading import read_log, tokens_of
from selective_autonomy.policy.values.shapes import shape, trimmed

FILLER = "thanks for waiting could i have the details of your order please and then i will take a look at it for you"
COMMON = frozenset(f"{FILLER} username email address is order id and my phone number refund of".split())


def _spans(text: str) -> set[str]:
    return set(read_log(session(say(f"{FILLER} {text}"))).spans(frozenset(), COMMON))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("username is qwertz and", "qwertz"),
        ("my email address is someone@example.com, thanks", "someone@example.com"),
        ("order id:0123456789.", "0123456789"),
        ("my phone number is (555) 010-4477 please", "(555) 010-4477"),
        ("refund of $49.", "49"),
        ("address is 12 long oak street, big town, wa 98765 please", "12 long oak street, big town, wa 98765"),
    ],
)
def test_ids_numbers_and_rare_words_are_offered_from_long_messages(text: str, value: str) -> None:
    assert value in _spans(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("At 4pm, on the 15th: two of them!", ("at", "4", "pm", "on", "the", "15", "2", "of", "them")),
        ("Zoë's café, Łódź_2", ("zoë's", "café", "łódź", "2")),
        ("квартира 7, 東京", ("квартира", "7", "東京")),
        ("…!? ", ()),
    ],
)
def test_words_are_compared_in_any_script(text: str, tokens: tuple[str, ...]) -> None:
    assert tokens_of(text) == tokens


def test_common_words_of_a_long_message_are_not_offered() -> None:
    assert not _spans("order id is") & {"order", "order id", "details"}


def test_without_common_words_no_word_counts_as_rare() -> None:
    assert "details" not in set(read_log(session(say(f"{FILLER} qwertz"))).spans(frozenset()))


@pytest.mark.parametrize(
    ("text", "code"),
    [("", 0), ("a@b.c", 1), ("0123", 2), ("(555) 010-4477", 3), ("$4.99", 3), ("a77x", 4), ("5 oak st", 5), ("red", 6)],
)
def test_a_shape_says_what_a_text_looks_like(text: str, code: int) -> None:
    assert shape(text) == code


@pytest.mark.parametrize(
    ("text", "inner"),
    [("id?", "id"), ('"(a77x)."', "a77x"), ("(555) 010-4477.", "(555) 010-4477"), ("(call me", "call me"), ("...", "")],
)
def test_marks_around_a_text_go_and_brackets_within_it_stay(text: str, inner: str) -> None:
    assert trimmed(text) == inner


def test_words_speak_for_the_value_they_stand_beside() -> None:
    seen = [("topic", "fit", frozenset({"tight", "jeans"}))] * 20 + [
        ("topic", "wash", frozenset({"clean", "jeans"}))
    ] * 20
    seen += [("topic", LEFT_OUT, frozenset({"hello"}))] * 5
    words = WordAssociation.count(seen, frozenset({"tight", "clean", "jeans", "hello"}))
    fit, wash, left_out, unknown = words.scores("topic", ["fit", "wash", LEFT_OUT, "never given"], frozenset({"tight"}))
    assert fit > 0 > wash
    assert left_out < 0
    assert unknown == 0
    assert words.scores("no such field", ["fit"], frozenset({"tight"})) == [0.0]


def test_associations_read_back_score_the_same() -> None:
    words = WordAssociation.count([("t", "a", frozenset({"x"})), ("t", "b", frozenset({"y"}))], frozenset({"x", "y"}))
    again = WordAssociation(**words.to_json())
    assert again.scores("t", ["a", "b"], frozenset({"x", "z"})) == words.scores("t", ["a", "b"], frozenset({"x", "z"}))
