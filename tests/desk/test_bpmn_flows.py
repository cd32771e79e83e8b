"""The BPMN files are executed, not decorated: what is ready, and where results lead, comes from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from selective_autonomy.desk.bpmn import Duty, Flows, Run
from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.process import DATA_DIR, load_desk_process
from selective_autonomy.errors import DeskError, ProcessError

FLOWS = DATA_DIR / "bpmn"
ACCOUNT = {"account_number": "12345678", "postcode": "LS6 2QP"}


def _line_fault(outage: str, line: str) -> Run:
    services = {
        "look_up_account": lambda number, code: {"account": "found" if number == "12345678" else "no such number"},
        "read_outage_map": lambda code: {"outage": outage},
        "run_line_test": lambda kind: {"line": line},
        "book_visit": lambda day, window: {"visit": "booked"},
    }
    return Run(Flows.load(FLOWS), "line_fault", services, identified=False)


def _tested(outage: str, line: str) -> Run:
    run = _line_fault(outage, line)
    run.submit("find_account", ACCOUNT)
    run.submit("line_test", {"fault_kind": "slow"})
    run.submit("outage_map", {"postcode": "LS6 2QP"})
    return run


def test_a_wrong_account_number_loops_back_to_the_form() -> None:
    run = _line_fault("none", "ok")
    shown = run.submit("find_account", {**ACCOUNT, "account_number": "87654321"})
    assert [s.values for s in shown] == [{"account": "no such number"}]
    assert run.forms == ("find_account",)


def test_both_line_checks_are_ready_at_once_and_both_are_needed() -> None:
    run = _line_fault("yes", "ok")
    run.submit("find_account", ACCOUNT)
    assert set(run.forms) == {"outage_map", "line_test"}
    run.submit("outage_map", {"postcode": "LS6 2QP"})
    assert run.forms == ("line_test",)
    assert run.duties == ()


@pytest.mark.parametrize(
    ("outage", "line", "forms", "duties"),
    [
        ("yes", "fault", (), (Duty("outage", None),)),
        ("none", "ok", (), (Duty("restart", "works"),)),
        ("none", "fault", ("book_engineer",), ()),
    ],
)
def test_the_gateway_follows_the_form_results(
    outage: str, line: str, forms: tuple[str, ...], duties: tuple[Duty, ...]
) -> None:
    run = _tested(outage, line)
    assert (run.forms, run.duties) == (forms, duties)


def test_the_customers_answer_decides_where_a_restart_leads() -> None:
    helped, not_helped = _tested("none", "ok"), _tested("none", "ok")
    helped.told(helped.duties[0], True)
    not_helped.told(not_helped.duties[0], False)
    assert helped.ended == "resolved"
    assert not_helped.ended == ""
    assert not_helped.forms == ("book_engineer",)


def test_an_identified_customer_is_not_identified_again() -> None:
    run = Run(Flows.load(FLOWS), "refund", {}, identified=True)
    assert run.forms == ("refund_check",)


def test_a_refused_refund_ends_refused_and_a_risk_ends_transferred() -> None:
    refund = Run(
        Flows.load(FLOWS), "refund", {"check_charge": lambda charge, amount: {"decision": "refused"}}, identified=True
    )
    refund.submit("refund_check", {"charge": "roaming", "amount": "9.99"})
    refund.told(refund.duties[0], None)
    fraud = Run(
        Flows.load(FLOWS),
        "fraud_report",
        {"check_suspicion": lambda kind: {"risk": "high"}, "block": lambda: {"account": "blocked"}},
        identified=True,
    )
    fraud.submit("fraud_check", {"suspicion": "sim swap"})
    assert fraud.controls == ("block_account",)
    fraud.click("block_account")
    assert fraud.queue == "fraud_team"
    fraud.transferred()
    assert (refund.ended, fraud.ended) == ("refused", "transferred")


def test_a_form_that_is_not_ready_is_refused() -> None:
    with pytest.raises(DeskError, match="form 'book_engineer' is not ready"):
        _line_fault("none", "ok").submit("book_engineer", {"visit_date": "1 May", "visit_window": "morning"})


def test_every_procedure_has_a_flow_and_every_flow_draws_its_diagram() -> None:
    flows = Flows.load(FLOWS)
    for procedure in load_desk_process().procedures:
        text = (FLOWS / f"{procedure.id}.bpmn").read_text(encoding="utf-8")
        assert procedure.id in flows.specs
        assert "bpmndi:BPMNShape" in text


def test_a_form_that_differs_between_bpmn_and_schema_stops_the_desk(tmp_path: Path) -> None:
    shutil.copytree(DATA_DIR / "bpmn", tmp_path / "bpmn")
    shutil.copytree(DATA_DIR / "desk_wording", tmp_path / "desk_wording")
    shutil.copytree(DATA_DIR / "processes", tmp_path / "processes")
    flow = tmp_path / "bpmn" / "line_fault.bpmn"
    flow.write_text(flow.read_text(encoding="utf-8").replace('id="drops out"', 'id="drops"'), encoding="utf-8")
    with pytest.raises(ProcessError, match="line_test"):
        EmbeddedDesk(1, data_dir=tmp_path)


def test_a_damaged_bpmn_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.bpmn").write_text(
        (FLOWS / "refund.bpmn").read_text(encoding="utf-8").replace("bpmn:endEvent", "bpmn:end")
    )
    with pytest.raises(ProcessError, match="BPMN file"):
        Flows(tmp_path)
    (tmp_path / "broken.bpmn").write_text("<half", encoding="utf-8")
    with pytest.raises(ProcessError, match="BPMN file"):
        Flows(tmp_path)
    with pytest.raises(ProcessError, match="expected one for each procedure"):
        Flows(tmp_path / "empty")
