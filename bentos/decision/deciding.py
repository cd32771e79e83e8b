"""Deciding in the one thread that may use the models, in time, with every fault of ours a Defer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bentos.decision.answers import Refused
from bentos.decision.checks import check_session
from bentos.decision.loading import Served
from bentos.decision.settings import DECIDE_SECONDS
from selective_autonomy.decision import StepDecision
from selective_autonomy.errors import BundleError, IllegalAction
from selective_autonomy.gate import Defer, DeferReason, Stage
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.runtime.audited import Auditor
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import state_digest

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Deciding:
    """Asks the served bundle. Raises nothing but `Refused`, for a session that cannot be."""

    def __init__(self, served: Served, *, seconds: float = DECIDE_SECONDS, auditor: Auditor | None = None) -> None:
        """`seconds`: what is not decided by then is deferred with `timeout`; waiting for one's turn counts.

        `auditor`: draws which executed critical steps are reviewed; None: none is.
        """
        self._served, self._seconds, self._auditor = served, seconds, auditor
        self._thread = ThreadPoolExecutor(1, "decide")  # models are not made for two threads at once

    async def decide(self, sessions: Sequence[Session], stage: Stage, where: str) -> list[StepDecision]:
        """One decision a session, in order. `where`: path of a session in the body, `{}` stands for its index.

        Raises:
            Refused: a session that cannot be; then none is decided.
        """
        bundle = self._served.bundle
        if self._served.refusal is not None or bundle is None:
            return self._defer_all(sessions, self._served.refusal or "contract_mismatch")

        def work() -> list[StepDecision]:
            for index, session in enumerate(sessions):
                check_session(bundle.schema, session, where.format(index))
            version = {"bundle_version": self._served.version}
            decided = [d.model_copy(update=version) for d in bundle.decide_batch(sessions, stage=stage)]
            if self._auditor is None:
                return decided
            return [self._auditor.drawn(d, s.session_id) for d, s in zip(decided, sessions, strict=True)]

        reason, decided = await self._guarded(work)
        return decided or self._defer_all(sessions, reason or "internal_error")

    async def suggest(self, session: Session) -> tuple[DeferReason | None, tuple[Proposal, float] | None]:
        """A proposal with its p_accept, or the reason why there is none.

        Raises:
            Refused: a session that cannot be.
        """
        bundle = self._served.bundle
        if self._served.refusal is not None or bundle is None:
            return self._served.refusal or "contract_mismatch", None

        def work() -> tuple[Proposal, float]:
            check_session(bundle.schema, session, "session")
            return bundle.suggest(session)

        return await self._guarded(work)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _guarded(self, work: Callable[[], T]) -> tuple[DeferReason | None, T | None]:
        try:
            async with asyncio.timeout(self._seconds):
                return None, await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except Refused:
            raise
        except TimeoutError:
            logger.error("a decision took longer than %.1f s", self._seconds)
            return "timeout", None
        except BundleError as err:
            logger.warning("%s", err)
            return "contract_mismatch", None
        except IllegalAction:
            return "no_legal_action", None
        except Exception:
            logger.exception("deciding failed")
            return "internal_error", None

    def _defer_all(self, sessions: Sequence[Session], reason: DeferReason) -> list[StepDecision]:
        """Nothing is executed, and the answer still says whose answer it is."""
        bundle = self._served.bundle
        return [
            StepDecision(
                decision=Defer(reason=reason),
                state_digest=state_digest(session),
                certificate_id=bundle.certificate.id if bundle is not None else None,
                bundle_version=self._served.version,
                bundle_digest=bundle.digest if bundle is not None else None,
            )
            for session in sessions
        ]
