"""What the service takes from its environment, read once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from selective_autonomy.certify.audit import AuditRates
from selective_autonomy.runtime.audited import Auditor

# A session of 300 events with long texts is about 150 kB; a batch of them fits as well.
BODY_BYTES = 2 * 1024 * 1024
# A body that takes longer than this to arrive is given up.
BODY_SECONDS = 10.0
# A decision takes milliseconds; one that is not there by now is a Defer(timeout).
DECIDE_SECONDS = 10.0
# BentoML's own limit, above ours: it ends what hangs outside of a decision.
TRAFFIC_SECONDS = 30.0
# Requests that may be inside at once; decisions themselves are taken one after another.
AT_ONCE = 64
BATCH_SESSIONS = 256
SESSION_EVENTS = 2000


@dataclass(frozen=True)
class Settings:
    """Who may call, and where feedback is kept.

    Args:
        tokens: accepted bearer tokens. None at all: every call is refused, unless `auth_off`.
        auth_off: calls over loopback need no token (`SELECTIVE_AUTONOMY_AUTH=off`); all others still do.
        feedback: folder of the feedback stores, one file a process.
        auditor: draws which executed critical steps are reviewed afterwards; None: no key is set, and none is.
    """

    tokens: tuple[str, ...]
    auth_off: bool
    feedback: Path
    auditor: Auditor | None = None


def read_settings() -> Settings:
    """Read `SELECTIVE_AUTONOMY_TOKENS` (comma separated), `_TOKEN`, `_AUTH`, `_FEEDBACK` and `BENTOML_HOME`.

    `SELECTIVE_AUTONOMY_AUDIT_KEY` (hexadecimal) and `_AUDIT_RATE` go together: the share of executed critical steps
    that is drawn for review, in (0, 1].

    Raises:
        ValueError: `SELECTIVE_AUTONOMY_AUTH` is set to anything but "on" or "off"; only one of audit key and rate is
            set, or one of them cannot be used.
    """
    named = [
        os.environ.get("SELECTIVE_AUTONOMY_TOKEN", ""),
        *os.environ.get("SELECTIVE_AUTONOMY_TOKENS", "").split(","),
    ]
    auth = os.environ.get("SELECTIVE_AUTONOMY_AUTH", "on")
    if auth not in ("on", "off"):
        raise ValueError(f"SELECTIVE_AUTONOMY_AUTH is {auth!r}; expected 'on' or 'off'")
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    return Settings(
        tokens=tuple(token.strip() for token in named if token.strip()),
        auth_off=auth == "off",
        feedback=Path(os.environ.get("SELECTIVE_AUTONOMY_FEEDBACK") or home / "feedback"),
        auditor=_read_auditor(),
    )


def _read_auditor() -> Auditor | None:
    key, rate = (os.environ.get(f"SELECTIVE_AUTONOMY_AUDIT_{name}", "") for name in ("KEY", "RATE"))
    if not key and not rate:
        return None
    if not key or not rate:
        missing = "RATE" if key else "KEY"
        raise ValueError(f"SELECTIVE_AUTONOMY_AUDIT_{missing} is not set; an audit needs both, the key and the rate")
    return Auditor(bytes.fromhex(key), AuditRates(least=float(rate)))
