"""Prometheus metrics. Labels never name a session or an operator, and never repeat what a caller sent."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from selective_autonomy.decision import StepDecision
from selective_autonomy.runtime.feedback_store import FeedbackRecord

# From the n-gram policy's 1 ms to the time limit of a decision.
DECISION_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """Made once in a worker, after BentoML has named the folder that its workers share their counts in."""

    def __init__(self, process: str, model_version: str) -> None:
        self._process, self._version = process, model_version
        self._decisions = Counter(
            "decisions_total", "Steps decided.", ["process", "action_type", "decision", "model_version"]
        )
        self._defers = Counter("defers_total", "Steps deferred, by reason.", ["process", "reason", "model_version"])
        self._feedback = Counter("feedback_total", "Operators' answers kept.", ["process", "verdict", "reason"])
        self._seconds = Histogram(
            "decision_seconds", "Time to decide one request.", ["process"], buckets=DECISION_SECONDS
        )

    def decided(self, decided: StepDecision) -> None:
        action_type = "none" if decided.proposal is None else decided.proposal.action.type
        self._decisions.labels(self._process, action_type, decided.decision.outcome, self._version).inc()
        if decided.decision.outcome == "defer":
            self._defers.labels(self._process, decided.decision.reason, self._version).inc()

    def took(self, seconds: float) -> None:
        self._seconds.labels(self._process).observe(seconds)

    def answered(self, record: FeedbackRecord) -> None:
        self._feedback.labels(self._process, record.verdict, record.reason or "none").inc()
