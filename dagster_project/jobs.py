"""The jobs: the whole loop up to a candidate, the release of what a person approved, and monitoring."""

import dagster as dg

LOOP = (
    "raw_traces",
    "validated_traces",
    "splits",
    "policy",
    "copilot_feedback",
    "label_quality",
    "critic",
    "certificate",
    "decision_bundle",
    "policy_evaluation",
    "replay_evaluation",
    "drift_report",
)
RELEASE = ("approval", "serving_bento")
MONITORING = ("drift_report",)

JOBS = [
    dg.define_asset_job(
        "whole_loop", selection=dg.AssetSelection.assets(*LOOP), description="traces to a registered candidate"
    ),
    dg.define_asset_job(
        "release", selection=dg.AssetSelection.assets(*RELEASE), description="the approved bundle to a bento"
    ),
    dg.define_asset_job(
        "monitoring", selection=dg.AssetSelection.assets(*MONITORING), description="drift of the current window"
    ),
]
