"""Guessed and forced tokens save passes through the model and change no choice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parcel_process import do, session, sessions
from test_causal_lm import _assert_same, _random_policy

from selective_autonomy.policy.causal_lm import decoding
from selective_autonomy.policy.causal_lm.branches import CachedPrefix, PrefixCache, RoomyLayer
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.walk import Walk
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.actions import SubmitForm, head
from selective_autonomy.traces.schema import Session

_POLICIES = [_random_policy(seed, cache_sessions=0) for seed in range(4)]
_REFUND = SubmitForm(form="refund", values={"reason": "late and wet", "items": 3, "who|=<x>": "Ann Lee", "size": "S"})


def _without_guesses(policy: CausalLMPolicy, logs: list[Session]) -> list[Proposal]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_GUESS", 0)
        return policy.propose(logs)


@given(st.lists(sessions, min_size=1, max_size=3), st.sampled_from(_POLICIES))
@settings(deadline=None, max_examples=30)
def test_guesses_change_no_proposal(logs: list[Session], policy: CausalLMPolicy) -> None:
    for guessed, plain in zip(policy.propose(logs), _without_guesses(policy, logs), strict=True):
        _assert_same(guessed, plain)


def _written(policy: CausalLMPolicy) -> list[int]:
    """The tokens of the refund after its head, the end marker included."""
    (segment,) = (s for s in policy.contract.render(session(do(_REFUND))) if s.kind == "action")
    return policy._encoder.encode(segment)[2:]


def _wanting(tokens: list[int], policy: CausalLMPolicy) -> np.ndarray:
    logits = np.full((len(tokens), len(policy._encoder.tokenizer)), -30.0, dtype=np.float32)
    logits[np.arange(len(tokens)), tokens] = 30.0
    return logits


def test_a_right_guess_is_confirmed_in_one_pass() -> None:
    policy = _POLICIES[0]
    written = _written(policy)
    walk = Walk(policy._encoder, policy._spaces, head(_REFUND), ())
    read = len(walk.forced())
    guess = written[read:-1]
    assert decoding._confirm(walk, guess, _wanting(written[read:], policy)) == (len(guess), [written[-1]])
    assert walk.action() == _REFUND


def test_a_guess_is_taken_back_from_its_first_wrong_token_on() -> None:
    policy = _POLICIES[0]
    written = _written(policy)
    walk = Walk(policy._encoder, policy._spaces, head(_REFUND), ())
    read = len(walk.forced())
    guess = [*written[read : read + 2], 0, *written[read + 3 : read + 5]]
    confirmed, after = decoding._confirm(walk, guess, _wanting(written[read : read + 6], policy))
    assert confirmed == 2
    assert after == written[read + 2 : read + 2 + len(after)]
    assert not walk.done


def test_a_guess_is_what_followed_the_same_two_tokens_last_and_fits_the_context() -> None:
    opening = decoding.Opening(
        [], np.array([5, 6, 1, 5, 6, 2, 3, 4, 7, 8, 9, 10, 6, 0], dtype=np.int32), 5, _walk_of("wait")
    )
    assert decoding._guess(opening, [5, 6], 1000) == [2, 3, 4, 7, 8, 9]
    assert decoding._guess(opening, [99, 7], 1000) == [8, 9, 10, 6, 0, 99]
    assert decoding._guess(opening, [99], 1000) == []
    assert decoding._guess(opening, [5, 6], 18) == [2, 3]
    assert decoding._guess(opening, [5, 6], 16) == []


def _walk_of(name: str) -> Walk:
    return Walk(_POLICIES[0]._encoder, _POLICIES[0]._spaces, name, ())


def _prefix(ids: list[int], log: int) -> CachedPrefix:
    layer = RoomyLayer()
    states = torch.arange(len(ids), dtype=torch.float32).reshape(1, 1, -1, 1)
    layer.update(states, states)
    return CachedPrefix(np.array(ids, dtype=np.int32), log, [layer])


def test_a_cached_proposal_is_kept_as_far_as_the_log_went_on_with_it() -> None:
    cache = PrefixCache(4)
    cache.put(_prefix([1, 2, 3, 9, 8, 7], log=3))
    found = cache.take(np.array([1, 2, 3, 9, 8, 5, 5], dtype=np.int32))
    assert found is not None
    assert (found.ids.tolist(), found.layers[0].get_seq_length()) == ([1, 2, 3, 9, 8], 5)
    assert len(cache) == 0


def test_a_log_that_was_changed_never_meets_keys_of_other_tokens() -> None:
    cache = PrefixCache(4)
    cache.put(_prefix([1, 2, 3, 9], log=3))
    assert cache.take(np.array([1, 2, 4, 9], dtype=np.int32)) is None
    assert cache.take(np.array([1, 2], dtype=np.int32)) is None


def test_a_layer_grows_in_place_and_is_rewound() -> None:
    layer = RoomyLayer()
    first = torch.randn(1, 2, 300, 4)
    layer.update(first, first)
    more = torch.randn(1, 2, 400, 4)
    keys, _ = layer.update(more, more)
    torch.testing.assert_close(keys, torch.cat([first, more], dim=2))
    layer.rewind(299)
    keys, _ = layer.update(more[:, :, :1], more[:, :, :1])
    torch.testing.assert_close(keys, torch.cat([first[:, :, :299], more[:, :, :1]], dim=2))
