from __future__ import annotations

import pytest
from desk_world import world

from selective_autonomy.errors import ContractError
from selective_autonomy.evaluation.copilot import LoggedFeedback
from selective_autonomy.policy.protocol import Alternative, Proposal
from selective_autonomy.process.actions import SendTextToChat, UIAction, head
from selective_autonomy.process.comparison import same_action
from selective_autonomy.traces.screen import steps


def proposing(action: UIAction) -> Proposal:
    only = (Alternative(head=head(action), p=1.0),)
    return Proposal(action=action, log_prob=0.0, entropy=0.0, legal_count=1, alternatives=only)


def test_proposing_what_the_operator_did_is_accepted_everywhere() -> None:
    for session in world().train[:20]:
        proposals = [proposing(step.action) for step in steps(session)]
        assert {j.verdict for j in LoggedFeedback("tool").judge(session, proposals)} == {"accept"}


def test_strictly_free_text_never_counts_as_the_same() -> None:
    for session in world().train[:20]:
        logged = list(steps(session))
        judged = LoggedFeedback("strict").judge(session, [proposing(step.action) for step in logged])
        for step, judgement in zip(logged, judged, strict=True):
            assert (judgement.verdict == "accept") == (not isinstance(step.action, SendTextToChat))


def test_another_head_is_corrected() -> None:
    session = world().train[0]
    wrong = [proposing(SendTextToChat(text="?")) for _ in steps(session)]
    expected = [
        "accept" if same_action(p.action, s.action, "tool") else "correct"
        for p, s in zip(wrong, steps(session), strict=True)
    ]
    assert [j.verdict for j in LoggedFeedback("tool").judge(session, wrong)] == expected
    assert "correct" in expected


def test_a_log_gives_seconds_and_knows_neither_reason_nor_truth() -> None:
    session = world().train[0]
    logged = list(steps(session))
    for step, judgement in zip(
        logged, LoggedFeedback("tool").judge(session, world().policy.replay(session)), strict=True
    ):
        assert judgement.seconds == step.seconds
        assert judgement.reason is None
        assert judgement.truly_wrong is None


def test_a_wrong_number_of_proposals_is_refused() -> None:
    with pytest.raises(ContractError, match="one a logged step"):
        LoggedFeedback("tool").judge(world().train[0], [])
