"""What a step is bound to: one action on one state. The same pair gives the same id everywhere."""

from __future__ import annotations

import hashlib

from selective_autonomy.process.actions import UIAction
from selective_autonomy.process.schema import canonical_json


def step_key(state_digest: str, action: UIAction) -> str:
    """32 hex digits that name doing `action` on the state with `state_digest`.

    It is the proposal's id (a proposal is an action meant for one state) and the idempotency key under which
    the desk does it: a retry is the same step, and the same action on a later state is another one. The session
    is part of the state digest.
    """
    return hashlib.sha256(canonical_json([state_digest, action.model_dump(mode="json")]).encode()).hexdigest()[:32]
