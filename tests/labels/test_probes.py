from __future__ import annotations

import math

import numpy as np

from selective_autonomy.desk.embedded import EmbeddedDesk
from selective_autonomy.desk.simulate import simulate_sessions
from selective_autonomy.desk.truth import judge
from selective_autonomy.labels.probes import ProbeAnswers, perturbed, planted, probe_answers
from selective_autonomy.process.actions import SendTextToChat, SubmitForm, TransferChat, Wait
from selective_autonomy.process.legality import check_action
from selective_autonomy.traces.screen import derive_screen, steps

KEY = b"a key of 16 bytes"


def test_probes_are_planted_by_step_alone_and_keep_their_probability() -> None:
    asked = [(f"s{i}", j) for i in range(200) for j in range(10)]
    probes = planted(asked, key=KEY, rate=0.1)
    assert probes == planted(reversed(asked), key=KEY, rate=0.1)[::-1]
    assert 140 < len(probes) < 260
    assert {probe.probability for probe in probes} == {0.1}
    assert planted(asked, key=b"b key of 16 bytes", rate=0.1) != probes


def test_a_right_action_made_wrong_is_legal_and_truly_wrong() -> None:
    desk, changed = EmbeddedDesk(20), []
    for session in simulate_sessions(20, 20):
        case = desk.new_case(session.labels["case"])
        for step in steps(session):
            right = judge(case, step.action).standing != "wrong"
            probe = perturbed(step.action, desk.schema, key=KEY, parts=(session.session_id, str(step.index)))
            if right and probe is not None:
                check_action(desk.schema, derive_screen(step.before), probe)
                changed.append((probe, judge(case, probe).standing == "wrong"))
            case.apply(step.action, step.seconds or 0.0, "operator", right=right)
    assert {type(probe) for probe, _ in changed} >= {SubmitForm, TransferChat}
    assert len(changed) > 50
    assert all(wrong for _, wrong in changed)


def test_an_action_without_a_value_to_change_is_no_probe() -> None:
    schema = EmbeddedDesk(20).schema
    assert perturbed(SendTextToChat(text="hello"), schema, key=KEY, parts=()) is None
    assert perturbed(Wait(), schema, key=KEY, parts=()) is None


def test_answers_are_counted_by_truth_and_operator() -> None:
    answers = [("a", True, True), ("a", True, False), ("a", False, False), ("b", False, True)]
    crew, each = probe_answers(answers)
    assert crew == ProbeAnswers(caught=1, wrong=2, alarmed=1, right=2)
    assert each == {
        "a": ProbeAnswers(caught=1, wrong=2, alarmed=0, right=1),
        "b": ProbeAnswers(alarmed=1, right=1),
    }
    assert each["a"].sensitivity.value == 0.5


def test_without_probes_the_limits_say_nothing() -> None:
    nothing, each = probe_answers([])
    assert (nothing.least_sensitivity(0.05), nothing.most_false_alarm(0.05), each) == (0.0, 1.0, {})
    assert math.isnan(nothing.sensitivity.value)


def test_the_limits_break_their_promise_in_at_most_delta_of_draws() -> None:
    rng = np.random.default_rng(0)
    below = above = 0
    for _ in range(2000):
        got = ProbeAnswers(caught=int(rng.binomial(60, 0.85)), wrong=60, alarmed=int(rng.binomial(80, 0.07)), right=80)
        below += got.least_sensitivity(0.1) > 0.85
        above += got.most_false_alarm(0.1) < 0.07
    slack = 2 * math.sqrt(0.1 * 0.9 / 2000)
    assert 0.01 < below / 2000 <= 0.1 + slack
    assert 0.01 < above / 2000 <= 0.1 + slack
