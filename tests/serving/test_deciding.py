"""Faults of ours become a Defer with its reason; what waits too long, too."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from small_bundle import Made

from bentos.decision.answers import Refused
from bentos.decision.deciding import Deciding
from bentos.decision.loading import Served
from selective_autonomy.bundle import DecisionBundle
from selective_autonomy.certify.audit import AuditRates
from selective_autonomy.decision import StepDecision
from selective_autonomy.gate import DeferReason
from selective_autonomy.runtime.audited import Auditor
from selective_autonomy.traces.screen import state_digest


@pytest.fixture(scope="module")
def bundle(made: Made) -> DecisionBundle:
    return DecisionBundle.load(made.path)


@pytest.fixture
def deciding(bundle: DecisionBundle) -> Iterator[Callable[..., Deciding]]:
    opened: list[Deciding] = []

    def make(
        *,
        refusal: DeferReason | None = None,
        seconds: float = 5.0,
        without: bool = False,
        auditor: Auditor | None = None,
    ) -> Deciding:
        served = Served(None if without else bundle, process_id="broadband", version="3", refusal=refusal)
        opened.append(Deciding(served, seconds=seconds, auditor=auditor))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def _decide(one: Deciding, made: Made, count: int = 1) -> list[StepDecision]:
    return asyncio.run(one.decide(made.unseen[:count], "selective", "sessions.{}"))


def _reasons(decided: list[StepDecision]) -> set[Any]:
    return {getattr(one.decision, "reason", None) for one in decided}


def test_a_sound_bundle_decides_and_says_its_version(deciding: Any, made: Made, bundle: DecisionBundle) -> None:
    decided = _decide(deciding(), made, 5)
    assert decided == [d.model_copy(update={"bundle_version": "3"}) for d in bundle.decide_batch(made.unseen[:5])]


def test_executed_critical_steps_are_drawn_for_audits_and_nothing_is_decided_otherwise(
    deciding: Any, made: Made
) -> None:
    plain = _decide(deciding(), made, 40)
    drawn = _decide(deciding(auditor=Auditor(b"k" * 32, AuditRates(least=0.5))), made, 40)
    assert [d.model_copy(update={"audit": None}) for d in drawn] == plain
    gated = [d.decision.outcome == "execute" and d.tier == "critical" for d in plain]
    assert [d.audit is not None for d in drawn] == gated
    assert any(gated)


@pytest.mark.parametrize("refusal", ["contract_mismatch", "not_approved"])
def test_a_refused_bundle_is_not_even_asked(
    deciding: Any, made: Made, bundle: DecisionBundle, refusal: DeferReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "decide_batch", None)
    monkeypatch.setattr(bundle, "suggest", None)
    decided = _decide(deciding(refusal=refusal), made, 3)
    assert _reasons(decided) == {refusal}
    assert [one.state_digest for one in decided] == [state_digest(session) for session in made.unseen[:3]]
    assert asyncio.run(deciding(refusal=refusal).suggest(made.unseen[0])) == (refusal, None)


def test_without_a_bundle_everything_is_deferred(deciding: Any, made: Made) -> None:
    assert _reasons(_decide(deciding(without=True), made, 2)) == {"contract_mismatch"}
    assert asyncio.run(deciding(without=True).suggest(made.unseen[0])) == ("contract_mismatch", None)


def test_a_fault_inside_is_an_internal_error(
    deciding: Any, made: Made, bundle: DecisionBundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("out of it")

    monkeypatch.setattr(bundle, "decide_batch", fail)
    monkeypatch.setattr(bundle, "suggest", fail)
    decided = _decide(deciding(), made, 2)
    assert _reasons(decided) == {"internal_error"}
    assert all(one.proposal is None for one in decided)
    assert asyncio.run(deciding().suggest(made.unseen[0])) == ("internal_error", None)
    assert "out of it" in caplog.text, "the log says why"


def test_what_takes_too_long_is_deferred_and_so_is_what_waits_behind_it(
    deciding: Any, made: Made, bundle: DecisionBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr(bundle, "decide_batch", lambda *_, **__: free.wait(10))
    one = deciding(seconds=0.2)

    async def both() -> list[list[StepDecision]]:
        asked = [one.decide([session], "selective", "session") for session in made.unseen[:2]]
        return list(await asyncio.gather(*asked))

    started = time.monotonic()
    first, second = asyncio.run(both())
    free.set()
    assert _reasons(first) == _reasons(second) == {"timeout"}
    assert time.monotonic() - started < 5


def test_one_bad_session_refuses_the_batch_and_is_named(deciding: Any, made: Made) -> None:
    bad = made.unseen[1].model_copy(update={"procedures": ("made_up",)})
    with pytest.raises(Refused) as refused:
        asyncio.run(deciding().decide([made.unseen[0], bad], "selective", "sessions.{}"))
    assert (refused.value.status, refused.value.field) == (422, "sessions.1.procedures.0")
