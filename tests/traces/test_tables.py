from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest
from bike_shop import NOON, session

from selective_autonomy.process.actions import SendReply, SendTextToChat
from selective_autonomy.traces.schema import CopilotFeedback, OperatorAction, ProposalShown, Session
from selective_autonomy.traces.tables import feedback_table, session_table, step_table


def supervised() -> Session:
    """One proposal accepted and done, one corrected, one answered without having been shown, one never acted on."""

    def at(seconds: float) -> object:
        return NOON + timedelta(seconds=seconds)

    empty = session(3).before(0)
    ask, bye, text = SendReply(template="ask_days"), SendReply(template="bye"), SendTextToChat(text="One moment.")
    return empty.with_events(
        ProposalShown(at=at(1), proposal_id="p1", action=ask, p_accept=0.9),
        CopilotFeedback(at=at(3), proposal_id="p1", verdict="accept", seconds=2.0),
        OperatorAction(at=at(3), action=ask),
        ProposalShown(at=at(4), proposal_id="p2", action=bye),
        CopilotFeedback(at=at(9), proposal_id="p2", verdict="correct", reason="wrong", seconds=5.0),
        OperatorAction(at=at(9), action=text),
        CopilotFeedback(at=at(11), proposal_id="lost", verdict="accept"),
        ProposalShown(at=at(12), proposal_id="p4", action=bye),
        OperatorAction(at=at(14), action=bye),
    )  # type: ignore[arg-type]


def test_a_step_has_its_head_its_seconds_and_what_it_follows() -> None:
    table = step_table([session(1), session(2).before(0), session(4)])
    assert table["session_id"].tolist() == ["bikes-0001"] * 3 + ["bikes-0004"] * 3
    assert table["head"].tolist()[:3] == ["send_reply:ask_days", "submit_form:rent_bike", "send_text_to_chat"]
    assert table["seconds"].tolist()[:3] == [4.0, 7.5, 2.5]
    assert table["follows"].tolist()[:3] == ["customer_message", "customer_message", "screen_update"]
    assert table["index"].tolist()[:3] == [0, 1, 2]
    assert table["at"].iloc[0] == pd.Timestamp(NOON + timedelta(minutes=1, seconds=4))


def test_a_step_that_nothing_comes_before_has_no_seconds() -> None:
    first = session(1).before(0).with_events(OperatorAction(at=NOON, action=SendReply(template="bye")))
    table = step_table([first])
    assert table["seconds"].isna().tolist() == [True]
    assert table["follows"].tolist() == [""]


def test_a_session_row_counts_events_and_steps() -> None:
    table = session_table([session(1, stratum="rare"), session(2, status="open").before(0)])
    assert table["n_steps"].tolist() == [3, 0]
    assert table["n_events"].tolist() == [6, 0]
    assert table["stratum"].tolist() == ["rare", "all"]
    assert table["ended_at"].isna().tolist() == [False, True]
    assert table["status"].tolist() == ["complete", "open"]


def test_a_feedback_row_joins_the_proposal_before_it_and_the_action_after_it() -> None:
    table = feedback_table([supervised()])
    assert table["proposal_id"].tolist() == ["p1", "p2", "lost"]
    assert table["verdict"].tolist() == ["accept", "correct", "accept"]
    assert table["proposed_head"].tolist()[:2] == ["send_reply:ask_days", "send_reply:bye"]
    assert table["done_head"].tolist()[:2] == ["send_reply:ask_days", "send_text_to_chat"]
    assert table["p_accept"].iloc[0] == pytest.approx(0.9)
    assert table["seconds"].tolist()[:2] == [2.0, 5.0]
    lost = table.iloc[2]
    assert lost[["shown_at", "seconds", "proposed_head", "done_head", "reason", "p_accept"]].isna().all()


@pytest.mark.parametrize("table", [session_table, step_table, feedback_table])
def test_an_empty_table_has_the_columns_and_types_of_a_full_one(table: object) -> None:
    full, empty = table([supervised()]), table([])  # type: ignore[operator]
    assert len(full) > 0
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
