"""A client of the decision service that decides like the bundle itself, and defers whenever it cannot."""

from __future__ import annotations

import logging
from types import TracebackType

import httpx

from selective_autonomy.decision import StepDecision
from selective_autonomy.errors import StoreError
from selective_autonomy.gate import Defer, DeferReason, Stage
from selective_autonomy.runtime.feedback_store import FeedbackRecord
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import state_digest

logger = logging.getLogger(__name__)

# Twice the service's own time limit for a decision (10 s): it answers `timeout` by itself well before that.
TIMEOUT_SECONDS = 20.0
# What the service asks for, the operator for a critic that knows habits; labels and outcome stay at home.
SENT_FIELDS = {"session_id", "process_id", "process_version", "procedures", "operator_id", "events"}


class DecisionClient:
    """Implements `decision.Decider` over HTTP. Keeps its connection open; close it, or use it in a `with`."""

    def __init__(self, url: str, token: str | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        """`url` is the service's root; `timeout` in seconds, for each wait on the network."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def decide(self, session: Session, *, stage: Stage = "selective") -> StepDecision:
        """The service's decision on the session's next step.

        Never raises: no answer in time defers with `timeout`; any other failure, a refusal, and an answer that
        does not belong to this very state defer with `internal_error`, and the log says why.
        """
        digest = state_digest(session)
        body = f'{{"session":{session.model_dump_json(include=SENT_FIELDS)},"stage":"{stage}"}}'
        try:
            response = self._http.post("/decide", content=body)
        except httpx.TimeoutException as err:
            return _deferred(digest, "timeout", f"did not answer in time: {err!r}")
        except (httpx.HTTPError, RuntimeError) as err:  # RuntimeError: the client was closed
            return _deferred(digest, "internal_error", f"gave no answer: {err!r}")
        if response.status_code != 200:
            return _deferred(digest, "internal_error", f"answered {response.status_code}: {response.text[:300]!r}")
        try:
            decided = _parse(response)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            return _deferred(digest, "internal_error", f"gave an answer that cannot be read: {err!r}")
        if decided.state_digest != digest:
            return _deferred(digest, "internal_error", f"decided on another state: {decided.state_digest!r}")
        if decided.decision.outcome == "execute" and decided.proposal is None:
            return _deferred(digest, "internal_error", "said execute without an action")
        return decided

    def feedback(self, record: FeedbackRecord) -> None:
        """Hand one answer of an operator to the service; it is durable there when this returns.

        Raises:
            StoreError: it was not acknowledged. Sending the same record again is safe.
        """
        try:
            response = self._http.post("/feedback", content=record.model_dump_json())
        except (httpx.HTTPError, RuntimeError) as err:
            raise StoreError(
                f"feedback {record.idempotency_key!r} was not acknowledged: {err!r}; send it again"
            ) from err
        if response.status_code != 200:
            raise StoreError(
                f"feedback {record.idempotency_key!r} was not acknowledged: got {response.status_code} "
                f"{response.text[:300]!r}, expected 200"
            )

    def ready(self) -> bool:
        """Whether the service says that it may be used; False when it cannot be reached."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> DecisionClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _parse(response: httpx.Response) -> StepDecision:
    answer = response.json()
    fields = {name: answer[name] for name in StepDecision.model_fields if name not in ("decision", "audit")}
    fields["audit"] = answer.get("audit")  # a service of before the audits has no such field
    decision = {key: answer[key] for key in ("outcome", "reason") if answer[key] is not None}
    return StepDecision.model_validate({"decision": decision, **fields})


def _deferred(digest: str, reason: DeferReason, why: str) -> StepDecision:
    logger.warning("the decision service %s; deferring with %r", why, reason)
    return StepDecision(decision=Defer(reason=reason), state_digest=digest)
