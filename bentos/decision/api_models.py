"""What the endpoints take and give. A body that does not fit becomes a refusal that names the field."""

import json
from typing import Annotated, Any, Literal

# BentoML has no public name for the base of typed inputs, and no other way to answer a bad body in our own words
# (its own answer differs by kind of error, and it writes the body's content into the log).
from _bentoml_sdk.io_models import IODescriptor
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from bentos.decision.answers import Refused, invalid_body
from bentos.decision.settings import BATCH_SESSIONS, SESSION_EVENTS
from selective_autonomy.certify.audit import AuditDraw
from selective_autonomy.decision import StepDecision
from selective_autonomy.gate import DeferReason, Stage
from selective_autonomy.policy.protocol import Alternative, Proposal
from selective_autonomy.process.schema import Tier
from selective_autonomy.runtime.binding import step_key
from selective_autonomy.runtime.feedback_store import FeedbackRecord
from selective_autonomy.traces.schema import Event, Session, Verdict

# Ids are printed in logs: one line, no control characters.
Id = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Body(IODescriptor):
    """The base of all inputs: JSON of exactly the declared fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """The parsed body, or the Refused to answer with: BentoML would make a 500 of what is raised here."""
        body = await request.body()
        try:
            # The parser takes NaN and Infinity for numbers; JSON has neither, and no threshold should meet them.
            if b"NaN" in body or b"Infinity" in body:
                json.loads(body, parse_constant=_refuse_constant)
            return cls.model_validate_json(body)
        except ValidationError as err:
            return invalid_body(err)
        except (ValueError, RecursionError) as err:
            return Refused(400, "malformed_json", None, str(err))


class OpenSession(BaseModel):
    """A case as it stands: the log so far, without the step that is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_id: Id
    process_id: Id
    process_version: Id
    procedures: tuple[Id, ...] = Field(min_length=1, max_length=50)
    events: tuple[Event, ...] = Field(max_length=SESSION_EVENTS)

    def as_session(self) -> Session:
        """The domain's session; who operates it and where it came from are not part of its state."""
        return Session(
            session_id=self.session_id,
            process_id=self.process_id,
            process_version=self.process_version,
            procedures=self.procedures,
            operator_id="unknown",
            source="service",
            events=self.events,
        )


class DecideRequest(Body):
    session: OpenSession
    stage: Stage


class DecideBatchRequest(Body):
    sessions: tuple[OpenSession, ...] = Field(min_length=1, max_length=BATCH_SESSIONS)
    stage: Stage


class SuggestRequest(Body):
    """`top`: how many heads to rank at most."""

    session: OpenSession
    top: int = Field(default=3, ge=1, le=8)


class FeedbackRequest(Body, FeedbackRecord):
    """One operator's answer to one proposal; see the fields of the record."""


class DecisionAnswer(BaseModel):
    """Execute `proposal.action` on the state with `state_digest`, or defer for `reason`.

    `proposal_id` names the proposal in feedback and is the idempotency key to do it under; it, `proposal`,
    `p_accept` and `threshold` are null when there was none. `audit`: whether an executed critical step has to be
    reviewed afterwards, and how likely that was; null for all others, and where no audit is set up.
    """

    outcome: Literal["execute", "defer"]
    reason: DeferReason | None
    proposal_id: str | None
    proposal: Proposal | None
    tier: Tier | None
    p_accept: float | None
    threshold: float | None
    certificate_id: str | None
    bundle_version: str | None
    bundle_digest: str | None
    state_digest: str
    audit: AuditDraw | None


def answer_of(decided: StepDecision) -> DecisionAnswer:
    fields = {name: getattr(decided, name) for name in StepDecision.model_fields if name != "decision"}
    proposal = decided.proposal
    return DecisionAnswer(
        outcome=decided.decision.outcome,
        reason=None if decided.decision.outcome == "execute" else decided.decision.reason,
        proposal_id=None if proposal is None else step_key(decided.state_digest, proposal.action),
        **fields,
    )


class DecideBatchAnswer(BaseModel):
    """One answer per session, in order."""

    decisions: list[DecisionAnswer]


class SuggestAnswer(BaseModel):
    """A proposal for a person to accept or correct, and what else came into question.

    `ranked`: the likeliest heads with their probabilities, best first, the proposed one included. All empty, with the
    reason, while there is nothing that may be suggested.
    """

    reason: DeferReason | None
    proposal_id: str | None
    proposal: Proposal | None
    p_accept: float | None
    ranked: list[Alternative]
    bundle_version: str
    bundle_digest: str | None
    state_digest: str


class FeedbackAnswer(BaseModel):
    """The answer is on disk. Sending it again changes nothing and is answered the same."""

    idempotency_key: str
    proposal_id: str
    verdict: Verdict


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON; send a finite number or null")
