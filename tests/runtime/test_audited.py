"""Draws are added to executed critical steps, and to nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from selective_autonomy.certify.audit import AuditRates, is_replayed
from selective_autonomy.decision import StepDecision
from selective_autonomy.errors import CertificateError
from selective_autonomy.gate import Defer, Execute
from selective_autonomy.policy.scripted import certain
from selective_autonomy.process.actions import ClickControl
from selective_autonomy.runtime.audited import Auditor
from selective_autonomy.runtime.binding import step_key

KEY = b"k" * 32
AUDITOR = Auditor(KEY, AuditRates(least=0.5))
EXECUTED = StepDecision(
    decision=Execute(),
    state_digest="d",
    proposal=certain(ClickControl(control="restart")),
    tier="critical",
    p_accept=0.9,
    threshold=0.8,
)


def test_an_executed_critical_step_carries_a_draw_that_the_key_repeats() -> None:
    audit = AUDITOR.drawn(EXECUTED, "s").audit
    assert audit is not None
    assert audit.probability == 0.5
    assert is_replayed(audit, KEY, "s", step_key("d", ClickControl(control="restart")))
    assert AUDITOR.drawn(EXECUTED, "s").audit == audit


def test_the_decision_itself_stays_as_it_was() -> None:
    assert AUDITOR.drawn(EXECUTED, "s").model_copy(update={"audit": None}) == EXECUTED


@pytest.mark.parametrize(
    "change", [{"decision": Defer(reason="below_threshold")}, {"tier": "routine"}, {"proposal": None}]
)
def test_deferred_and_routine_steps_are_not_drawn(change: dict[str, Any]) -> None:
    assert AUDITOR.drawn(EXECUTED.model_copy(update=change), "s").audit is None


def test_a_key_that_is_too_short_is_found_before_the_first_step() -> None:
    with pytest.raises(CertificateError, match="key"):
        Auditor(b"", AuditRates(least=0.5))


def test_the_key_is_not_printed() -> None:
    assert "kkkk" not in repr(AUDITOR)
