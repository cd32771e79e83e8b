"""Whatever the service does, the client gives a decision; only a sound answer about this very state is executed."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from selective_autonomy.decision import StepDecision
from selective_autonomy.errors import StoreError
from selective_autonomy.gate import Defer
from selective_autonomy.runtime.client import DecisionClient
from selective_autonomy.runtime.feedback_store import FeedbackRecord
from selective_autonomy.traces.schema import CustomerMessage, Session
from selective_autonomy.traces.screen import state_digest

SESSION = Session(
    session_id="s",
    process_id="p",
    process_version="1",
    procedures=("a",),
    operator_id="o",
    source="test",
    labels={"secret": "stays at home"},
    events=(CustomerMessage(at=datetime(2026, 1, 1, tzinfo=UTC), text="hello"),),
)
PROPOSAL = {
    "action": {"type": "wait"},
    "log_prob": -0.1,
    "entropy": 0.2,
    "legal_count": 2,
    "alternatives": [{"head": "wait", "p": 0.9}],
    "arguments": [],
}
ANSWER = {
    "outcome": "execute",
    "reason": None,
    "proposal_id": "x",
    "proposal": PROPOSAL,
    "tier": "critical",
    "p_accept": 0.9,
    "threshold": 0.8,
    "certificate_id": "c",
    "bundle_version": "3",
    "bundle_digest": "d",
    "state_digest": state_digest(SESSION),
}
Reply = tuple[int, bytes, float]


class _Http:
    """A server that says what it is told to, and remembers what it was sent."""

    def __init__(self) -> None:
        self.reply: Reply = (200, b"", 0.0)
        self.received: list[tuple[str, dict[str, Any], str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.append((self.path, json.loads(body), self.headers.get("Authorization", "")))
                status, content, seconds = outer.reply
                time.sleep(seconds)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # the client did not wait
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def http() -> Iterator[_Http]:
    server = _Http()
    yield server
    server.stop()


@pytest.fixture
def decide(http: _Http) -> Iterator[Callable[[Any], StepDecision]]:
    with DecisionClient(http.url, "t", timeout=0.5) as client:

        def ask(answer: Any, status: int = 200, seconds: float = 0.0) -> StepDecision:
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            http.reply = (status, content, seconds)
            return client.decide(SESSION)

        yield ask


def test_an_execute_comes_through_with_all_it_was_based_on(http: _Http, decide: Callable[..., StepDecision]) -> None:
    decided = decide(ANSWER)
    assert decided.decision.outcome == "execute"
    assert decided.proposal is not None
    assert decided.proposal.action.type == "wait"
    assert (decided.p_accept, decided.threshold, decided.certificate_id) == (0.9, 0.8, "c")
    assert (decided.bundle_version, decided.bundle_digest, decided.tier) == ("3", "d", "critical")
    path, body, authorisation = http.received[0]
    assert (path, authorisation, body["stage"]) == ("/decide", "Bearer t", "selective")
    assert set(body["session"]) == {
        "session_id", "process_id", "process_version", "operator_id", "procedures", "events"
    }  # fmt: skip


def test_a_defer_comes_through_with_its_reason(decide: Callable[..., StepDecision]) -> None:
    decided = decide({**ANSWER, "outcome": "defer", "reason": "below_threshold"})
    assert decided.decision == Defer(reason="below_threshold")
    assert decided.proposal is not None


@pytest.mark.parametrize(
    "answer",
    [
        {**ANSWER, "state_digest": "of another state"},
        {**ANSWER, "proposal": None},
        {**ANSWER, "outcome": "maybe"},
        {**ANSWER, "outcome": "defer"},
        {**ANSWER, "outcome": "defer", "reason": "no such reason"},
        {**ANSWER, "proposal": {**PROPOSAL, "action": {"type": "delete_everything"}}},
        {name: value for name, value in ANSWER.items() if name != "threshold"},
        [],
        None,
        b"<html>",
        b"",
        b"\xff\xfe",
    ],
)
def test_an_unsound_answer_defers(decide: Callable[..., StepDecision], answer: Any) -> None:
    assert decide(answer) == StepDecision(decision=Defer(reason="internal_error"), state_digest=state_digest(SESSION))


@pytest.mark.parametrize("status", [201, 204, 302, 401, 404, 413, 422, 429, 500, 503])
def test_any_other_status_defers_whatever_the_body_says(decide: Callable[..., StepDecision], status: int) -> None:
    assert decide(ANSWER if status != 204 else b"", status=status).decision == Defer(reason="internal_error")


def test_a_late_answer_defers_with_timeout(decide: Callable[..., StepDecision]) -> None:
    assert decide(ANSWER, seconds=1.0).decision == Defer(reason="timeout")


def test_a_service_that_is_not_there_defers() -> None:
    server = _Http()
    server.stop()
    with DecisionClient(server.url, "t", timeout=0.5) as client:
        assert client.decide(SESSION).decision == Defer(reason="internal_error")
        assert client.ready() is False
    assert client.decide(SESSION).decision == Defer(reason="internal_error"), "a closed client defers, too"


def test_a_number_that_json_lacks_is_not_sent_as_one(http: _Http, decide: Callable[..., StepDecision]) -> None:
    """The log holds NaN: what goes over the wire is still JSON, so the service can say what is wrong."""
    from selective_autonomy.traces.schema import ScreenUpdate

    event = ScreenUpdate(at=datetime(2026, 1, 1, tzinfo=UTC), form="f", values={"x": float("nan")})
    with DecisionClient(http.url, "t") as client:
        http.reply = (422, b"{}", 0.0)
        assert client.decide(SESSION.with_events(event)).decision == Defer(reason="internal_error")
    assert http.received[-1][1]["session"]["events"][-1]["values"] == {"x": None}


def test_feedback_that_is_not_acknowledged_is_a_store_error(http: _Http) -> None:
    record = FeedbackRecord(
        idempotency_key="k", process_id="p", session_id="s", proposal_id="x", verdict="correct", reason="wrong"
    )
    with DecisionClient(http.url, "t", timeout=0.5) as client:
        http.reply = (200, b"{}", 0.0)
        client.feedback(record)
        assert http.received[-1][1] == record.model_dump(mode="json")
        for reply in [(409, b"{}", 0.0), (503, b"{}", 0.0), (200, b"{}", 1.0)]:
            http.reply = reply
            with pytest.raises(StoreError, match="not acknowledged"):
                client.feedback(record)
