"""The decision service: decide, suggest, take feedback. An internal fault is a Defer, never a traceback."""

# BentoML reads the annotations of the endpoints: no `from __future__ import annotations` here.
import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import bentoml

from bentos.decision.answers import Refused
from bentos.decision.api_models import (
    DecideBatchAnswer,
    DecideBatchRequest,
    DecideRequest,
    DecisionAnswer,
    FeedbackAnswer,
    FeedbackRequest,
    OpenSession,
    SuggestAnswer,
    SuggestRequest,
    answer_of,
)
from bentos.decision.guarded import GuardedService
from bentos.decision.settings import TRAFFIC_SECONDS, read_settings
from selective_autonomy.decision import StepDecision
from selective_autonomy.errors import StoreError
from selective_autonomy.gate import Stage
from selective_autonomy.runtime.binding import step_key
from selective_autonomy.traces.screen import state_digest

logger = logging.getLogger("bentoml.decision")


def _answers(endpoint: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """A refused body or request becomes its 4xx, a store that failed 503; nothing else gets out of an endpoint."""

    @functools.wraps(endpoint)
    async def answered(self: Any, request: Any) -> Any:
        try:
            if isinstance(request, Refused):
                raise request
            return await endpoint(self, request)
        except Refused as no:
            return no.answer()
        except StoreError as err:
            logger.exception("feedback was not kept")
            return Refused(503, err.code, None, "the answer could not be made durable; send it again").answer()
        except Exception:
            logger.exception("%s failed", endpoint.__name__)
            return Refused(503, "internal_error", None, "the request was not carried out; the log says why").answer()

    return answered


@bentoml.service(
    name="decision",
    service_class=GuardedService,
    workers=1,  # a second worker is a second copy of the model; one decides faster than one desk can act
    traffic={"timeout": TRAFFIC_SECONDS},
    logging={"access": {"enabled": False}},  # halves the requests per second, and the metrics count them
    envs=[
        {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"},  # spinning threads make torch 5-20 times slower here
        {"name": "BENTOML_DO_NOT_TRACK", "value": "True"},
        {"name": "HF_HUB_OFFLINE", "value": "1"},
        {"name": "HF_HUB_DISABLE_TELEMETRY", "value": "1"},
    ],
)
class Decision:
    """Decides the next step of a case with the approved bundle of one process, or defers it with a reason."""

    def __init__(self) -> None:
        # Not at the top: the process that only watches the workers would load the models' libraries, too.
        from bentos.decision.deciding import Deciding
        from bentos.decision.loading import load_served
        from bentos.decision.metrics import Metrics
        from selective_autonomy.runtime.feedback_store import FeedbackStore

        settings = read_settings()
        self._served = load_served()
        self._metrics = Metrics(self._served.process_id, self._served.version)
        self._deciding = Deciding(self._served, auditor=settings.auditor)
        self._may_be_called = bool(settings.tokens) or settings.auth_off
        if not self._may_be_called:
            logger.error("no token is set, so every call is refused; set SELECTIVE_AUTONOMY_TOKENS")
        self._store: FeedbackStore | None = None
        try:
            self._store = FeedbackStore(settings.feedback / f"{self._served.process_id}.db")
        except StoreError:
            logger.exception("feedback cannot be kept; the service is not ready")

    def __is_ready__(self) -> bool:
        return self._served.refusal is None and self._store is not None and self._may_be_called

    @bentoml.on_shutdown
    def close(self) -> None:
        self._deciding.close()
        if self._store is not None:
            self._store.close()

    @bentoml.api
    @_answers
    async def decide(self, request: DecideRequest, /) -> DecisionAnswer:
        """Execute or Defer for the next step of one case."""
        decided = await self._decide([request.session], request.stage, "session")
        return answer_of(decided[0])

    @bentoml.api
    @_answers
    async def decide_batch(self, request: DecideBatchRequest, /) -> DecideBatchAnswer:
        """The same for many cases at once; one bad session refuses the whole batch and is named."""
        decided = await self._decide(request.sessions, request.stage, "sessions.{}")
        return DecideBatchAnswer(decisions=[answer_of(d) for d in decided])

    @bentoml.api
    @_answers
    async def suggest(self, request: SuggestRequest, /) -> SuggestAnswer:
        """A proposal for a person (copilot), with the heads that came into question; none while it may not be used."""
        session = request.session.as_session()
        reason, found = await self._deciding.suggest(session)
        proposal, p_accept = found or (None, None)
        digest = state_digest(session)
        return SuggestAnswer(
            reason=reason,
            proposal_id=None if proposal is None else step_key(digest, proposal.action),
            proposal=proposal,
            p_accept=p_accept,
            ranked=[] if proposal is None else list(proposal.alternatives[: request.top]),
            bundle_version=self._served.version,
            bundle_digest=None if self._served.bundle is None else self._served.bundle.digest,
            state_digest=digest,
        )

    @bentoml.api
    @_answers
    async def feedback(self, request: FeedbackRequest, /) -> FeedbackAnswer:
        """Keep one answer to a proposal. The same key with the same body answers the same, with another one 409."""
        mine = self._served.process_id
        if request.process_id != mine:
            raise Refused(
                422, "unknown_process", "process_id", f"this service serves {mine!r}, got {request.process_id!r}"
            )
        if self._store is None:
            raise StoreError("the feedback store could not be opened when the service started")
        (recorded,) = await asyncio.to_thread(self._store.record, [request])
        if recorded == "conflict":
            raise Refused(409, "conflict", "idempotency_key", "the key was used for another answer; use a new one")
        if recorded == "stored":
            self._metrics.answered(request)
        return FeedbackAnswer(
            idempotency_key=request.idempotency_key, proposal_id=request.proposal_id, verdict=request.verdict
        )

    async def _decide(self, opened: Sequence[OpenSession], stage: Stage, where: str) -> list[StepDecision]:
        started = time.perf_counter()
        decided = await self._deciding.decide([one.as_session() for one in opened], stage, where)
        self._metrics.took(time.perf_counter() - started)
        for one in decided:
            self._metrics.decided(one)
        return decided
