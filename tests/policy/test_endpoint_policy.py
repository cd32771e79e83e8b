"""Any OpenAI-compatible server as a policy: asked over real HTTP, and never believed further than its answer goes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Reply, chat_server
from parcel_process import PARCEL, do, say, session, show
from pydantic import SecretStr

from selective_autonomy.errors import IllegalAction, ModelError, NoProposal
from selective_autonomy.evaluation.accuracy import evaluate_policy
from selective_autonomy.evaluation.replay import replay_each
from selective_autonomy.params import PromptingParams
from selective_autonomy.policy.kinds import load_policy, train_policy
from selective_autonomy.policy.prompting.endpoint import ChatEndpoint, Endpoint
from selective_autonomy.policy.prompting.endpoint_policy import EndpointPolicy
from selective_autonomy.policy.prompting.prompt_file import PromptFile
from selective_autonomy.process.actions import CloseChat, SendReply, SubmitForm
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps

PROMPT = Path(__file__).parents[2] / "data" / "prompts" / "broadband.md"
LOOKUP = Reply('{"action": "submit_form:lookup", "arguments": {"number": "P123"}}')
CASE = session(say("Where is P123?"))


@contextmanager
def asking(
    *replies: Reply | Callable[[dict[str, Any]], Reply], **more: Any
) -> Iterator[tuple[EndpointPolicy, ChatServer, list[float]]]:
    """A policy, the server that it asks, and the pauses that it made."""
    pauses: list[float] = []
    with chat_server(*replies) as server:
        endpoint = Endpoint(url=server.url, model="tiny", key=SecretStr("s3cret"), **{"timeout_seconds": 5.0, **more})
        with ChatEndpoint(endpoint, sleep=pauses.append) as chat:
            yield EndpointPolicy(PARCEL, PromptFile.read(PROMPT), chat, history=8), server, pauses


def test_an_answer_becomes_a_legal_proposal_and_the_key_goes_along() -> None:
    with asking(LOOKUP) as (policy, server, _):
        (proposal,) = policy.propose([CASE])
    assert proposal.action == SubmitForm(form="lookup", values={"number": "P123"})
    assert proposal.arguments[0].copied
    assert server.keys == ["Bearer s3cret"]
    assert (policy.usage.tokens_read, policy.usage.tokens_written) == (11, 7)
    system, user = (message["content"] for message in server.asked[0]["messages"])
    assert "submit_form:lookup" in system
    assert "Where is P123?" in user


def test_the_server_is_told_the_schema_of_every_legal_answer_and_of_no_other() -> None:
    with asking(LOOKUP) as (policy, server, _):
        policy.propose([CASE])
    told = server.asked[0]["response_format"]["json_schema"]["schema"]
    offered = [branch["properties"]["action"]["const"] for branch in told["anyOf"]]
    assert offered == list(legal_heads(PARCEL, derive_screen(CASE)))
    lookup = next(b for b in told["anyOf"] if b["properties"]["action"]["const"] == "submit_form:lookup")
    assert lookup["properties"]["arguments"]["required"] == ["number"]


def test_without_token_probabilities_every_legal_head_counts_as_equally_likely() -> None:
    with asking(LOOKUP) as (policy, _, _):
        (proposal,) = policy.propose([CASE])
    assert proposal.p_head == pytest.approx(1 / proposal.legal_count)
    assert proposal.entropy == pytest.approx(math.log(proposal.legal_count))


def test_token_probabilities_up_to_the_name_are_the_heads() -> None:
    tokens = [('{"action": "submit', math.log(0.5)), ("_form:lookup", math.log(0.8)), ('", "arg', -2.0)]
    with asking(Reply(LOOKUP.content, tokens=tokens)) as (policy, _, _):
        (proposal,) = policy.propose([CASE])
    assert proposal.p_head == pytest.approx(0.4)
    assert proposal.log_prob == pytest.approx(math.log(0.4) - 2.0)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply("Sure! I would look the parcel up."), "unreadable"),
        (Reply('```json\n{"action": "wait", "arguments": {}}\n```'), "unreadable"),
        (Reply('{"action": "wait", "arguments": {}, "why": "no"}'), "unreadable"),
        (Reply('{"action": "submit_form:refund", "arguments": {"amount": NaN}}'), "unreadable"),
        (Reply('{"action": "wait"', finish_reason="length"), "unreadable"),
        (Reply(body="<html>busy</html>"), "unreadable"),
        (Reply(body='{"choices": []}'), "unreadable"),
        (Reply('{"action": "submit_form:moon", "arguments": {}}'), "illegal"),
        (Reply('{"action": "submit_form:lookup", "arguments": {}}'), "illegal"),
        (Reply('{"action": "submit_form:lookup", "arguments": {"number": "four"}}'), "illegal"),
        (Reply('{"action": "wait", "arguments": {"minutes": 3}}'), "illegal"),
        (Reply('{"action": "send_text_to_chat", "arguments": {}}'), "illegal"),
        (Reply('{"action": "send_text_to_chat", "arguments": {"text": " "}}'), "illegal"),
        (Reply(status=400, body="no response_format here"), "refused"),
    ],
)
def test_an_answer_that_is_not_a_legal_action_is_no_proposal_and_is_not_asked_for_again(
    reply: Reply, reason: str
) -> None:
    with asking(reply) as (policy, server, _), pytest.raises(NoProposal) as caught:
        policy.propose([CASE])
    assert caught.value.reason == reason
    assert len(server.asked) == 1


def test_a_busy_or_failing_server_is_asked_again_after_a_pause() -> None:
    busy, broken = Reply(status=429, headers={"Retry-After": "7"}, body="slow down"), Reply(status=500, body="oops")
    with asking(busy, broken, LOOKUP) as (policy, server, pauses):
        (proposal,) = policy.propose([CASE])
    assert isinstance(proposal.action, SubmitForm)
    assert len(server.asked) == 3
    assert pauses == [7.0, 2.0]


def test_a_server_that_stays_broken_is_given_up_after_the_attempts_there_are() -> None:
    down = Reply(status=503, body="down")
    with asking(down, attempts=2) as (policy, server, pauses), pytest.raises(NoProposal, match="503") as caught:
        policy.propose([CASE])
    assert caught.value.reason == "unreachable"
    assert (len(server.asked), pauses) == (2, [1.0])


def test_a_slow_answer_is_a_timeout() -> None:
    slow = Reply(LOOKUP.content, seconds=1.0)
    with asking(slow, timeout_seconds=0.1, attempts=2) as (policy, _, pauses), pytest.raises(NoProposal) as caught:
        policy.propose([CASE])
    assert caught.value.reason == "timeout"
    assert len(pauses) == 1


def test_a_server_that_is_not_there_is_no_proposal() -> None:
    with chat_server(LOOKUP) as server:
        pass
    with ChatEndpoint(Endpoint(url=server.url, model="tiny", attempts=1)) as chat:
        policy = EndpointPolicy(PARCEL, PromptFile.read(PROMPT), chat, history=8)
        with pytest.raises(NoProposal) as caught:
            policy.propose([CASE])
    assert caught.value.reason == "unreachable"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_address_or_model_stops_everything(status: int) -> None:
    stranger = Reply(status=status, body="who are you?")
    with asking(stranger) as (policy, server, _), pytest.raises(ModelError, match="check URL, key and") as caught:
        policy.propose([CASE])
    assert not isinstance(caught.value, NoProposal)
    assert len(server.asked) == 1


def test_a_closed_case_is_not_asked_about() -> None:
    with asking(LOOKUP) as (policy, server, _), pytest.raises(IllegalAction, match="closed"):
        policy.propose([CASE.with_events(do(CloseChat()))])
    assert server.asked == []


def test_the_key_is_in_no_text_of_the_endpoint() -> None:
    assert "s3cret" not in repr(Endpoint(url="http://x/v1", model="m", key=SecretStr("s3cret")))


def worked() -> Session:
    return session(
        say("Where is P123?"),
        do(SubmitForm(form="lookup", values={"number": "P123"})),
        show("lookup", place="Oslo"),
        do(SendReply(template="found", slots={"place": "Oslo"})),
    )


def test_in_an_evaluation_a_step_without_a_proposal_counts_as_wrong() -> None:
    def answer(question: dict[str, Any]) -> Reply:
        return Reply("no idea") if "Oslo" in question["messages"][1]["content"] else LOOKUP

    with asking(answer) as (policy, _, _):
        answered, unanswered = replay_each(policy, [worked()])
        figures = evaluate_policy(answered, seed=1, unanswered=unanswered)
        with pytest.raises(NoProposal):
            policy.replay(worked())
    assert [step.index for step in unanswered] == [1]
    assert (figures["tool"].value, figures["tool"].n) == (0.5, 2)
    assert figures["session_tool"].value == 0


def test_a_prompting_policy_is_a_folder_that_holds_no_key_and_asks_whom_it_is_told_to(tmp_path: Path) -> None:
    params = PromptingParams(base="endpoint", prompt=str(PROMPT))
    train_policy([worked()], PARCEL, params, tmp_path)
    with pytest.raises(ModelError, match="none is given"):
        load_policy(tmp_path)
    with chat_server(LOOKUP) as server:
        policy = load_policy(tmp_path, endpoint=Endpoint(url=server.url, model="tiny", key=SecretStr("s3cret")))
        (step, *_) = steps(worked())
        assert policy.propose([step.before])[0].action == step.action
    assert "s3cret" not in json.dumps([path.read_text() for path in tmp_path.iterdir()])
