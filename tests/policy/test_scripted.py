from __future__ import annotations

import pytest
from parcel_process import do, say, session

from selective_autonomy.errors import ModelError
from selective_autonomy.policy.scripted import ScriptedPolicy, certain
from selective_autonomy.process.actions import SendTextToChat, Wait

SCRIPT = [certain(Wait()), certain(SendTextToChat(text="hi"), p=0.5)]
LOG = session(say("hello"), do(Wait()), say("and now?"))


def test_a_script_answers_the_step_that_the_log_has_reached() -> None:
    policy = ScriptedPolicy({"s1": SCRIPT})
    assert policy.propose([LOG.before(1), LOG]) == SCRIPT
    assert policy.replay(LOG) == SCRIPT[:1]


def test_a_scripted_proposal_carries_its_probability() -> None:
    assert SCRIPT[1].p_head == 0.5


def test_a_script_that_is_too_short_says_so() -> None:
    with pytest.raises(ModelError, match="extend the script"):
        ScriptedPolicy({}).propose([LOG])
