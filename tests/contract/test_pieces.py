from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parcel_process import HOSTILE, texts

from selective_autonomy.contract.pieces import Marker, Text, escape, split_pieces, unescape, write_pieces
from selective_autonomy.errors import ContractError

_markers = st.one_of(st.text(max_size=8), st.sampled_from(["end", "submit_form:a b", "a|>b", "%7C", "<|end|>"]))
_pairs = st.lists(st.tuples(_markers.map(Marker), texts.map(Text)), max_size=4)


@given(_pairs)
def test_written_pieces_split_back_into_the_same_pieces(pairs: list[tuple[Marker, Text]]) -> None:
    pieces = tuple(piece for pair in pairs for piece in pair)
    assert split_pieces(write_pieces(pieces)) == pieces


@given(texts)
def test_escaping_is_undone_and_leaves_no_marker(text: str) -> None:
    assert unescape(escape(text)) == text
    assert "<|" not in escape(text)


@given(st.text(alphabet="<|\\ a", max_size=12))
def test_reading_text_that_nobody_escaped_never_fails_and_never_blanks_it(text: str) -> None:
    assert bool(unescape(text).strip()) == bool(text.strip())


def test_typed_text_cannot_forge_a_marker() -> None:
    pieces = split_pieces(str(Text(HOSTILE)))
    assert pieces == (Text(HOSTILE),)


def test_text_that_no_space_opens_is_refused() -> None:
    with pytest.raises(ContractError, match="expected a space"):
        split_pieces("<|end|>oops")
