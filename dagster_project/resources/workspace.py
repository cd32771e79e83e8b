"""The files of the project: one place that knows where each stage of a process puts its output."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from selective_autonomy.params import Params, ProcessParams, load_params


@dataclass(frozen=True)
class ProcessPaths:
    """Where one process keeps what. `canonical` and `split_table` are DVC's; all below `stages` is Dagster's."""

    root: Path
    state: Path
    process_id: str

    @property
    def canonical(self) -> Path:
        return self.root / "data" / "canonical" / self.process_id

    @property
    def sessions(self) -> Path:
        return self.canonical / "sessions.parquet"

    @property
    def schema(self) -> Path:
        return self.canonical / "process.yaml"

    @property
    def split_table(self) -> Path:
        return self.root / "data" / "splits" / f"{self.process_id}.parquet"

    @property
    def stages(self) -> Path:
        return self.state / "pipeline" / self.process_id

    def stage(self, name: str) -> Path:
        """The folder of one stage's output; made on first use."""
        folder = self.stages / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def validated_sessions(self) -> Path:
        return self.stage("validated") / "sessions.parquet"

    @property
    def quarantine(self) -> Path:
        return self.stage("validated") / "quarantine.parquet"

    @property
    def set_aside_sessions(self) -> Path:
        return self.stage("validated") / "set_aside.parquet"

    @property
    def splits(self) -> Path:
        return self.stage("splits") / "splits.parquet"

    @property
    def policy(self) -> Path:
        return self.stage("policy")

    @property
    def feedback(self) -> Path:
        return self.stage("copilot") / "feedback.parquet"

    @property
    def replay_cost(self) -> Path:
        """Seconds and tokens a step of the replay behind `feedback`."""
        return self.stage("copilot") / "cost.json"

    @property
    def label_quality(self) -> Path:
        return self.stage("labels") / "quality.json"

    @property
    def label_reviews(self) -> Path:
        """Second reviews and probes, with the first verdicts beside them: a row a verdict."""
        return self.stage("labels") / "reviews.parquet"

    @property
    def policy_evaluation(self) -> Path:
        return self.stage("policy_evaluation") / "report.json"

    @property
    def critic(self) -> Path:
        return self.stage("critic")

    @property
    def certificate(self) -> Path:
        return self.stage("certificate") / "certificate.json"

    @property
    def certificate_evidence(self) -> Path:
        """Scores and labels of the calibrate split: what the certificate was computed from."""
        return self.stage("certificate") / "evidence.parquet"

    @property
    def bundle(self) -> Path:
        return self.stages / "bundle"

    @property
    def registered(self) -> Path:
        """Which version of the registered model this bundle became."""
        return self.stage("release") / "registered.json"

    @property
    def approval(self) -> Path:
        return self.stage("release") / "approval.json"

    @property
    def bento(self) -> Path:
        return self.stage("release") / "bento.json"

    @property
    def bentoml_home(self) -> Path:
        """BentoML's model and bento stores, shared by all processes; never inside a build context."""
        return self.state / "bentoml"

    @property
    def evaluation(self) -> Path:
        return self.stage("evaluation") / "report.json"

    @property
    def drift(self) -> Path:
        return self.stage("drift") / "drift.json"

    def output(self, asset: str) -> Path:
        """What an asset leaves behind; without it the asset must run again.

        Raises:
            KeyError: the asset is not of this project.
        """
        return {
            "raw_traces": self.sessions,
            "validated_traces": self.validated_sessions,
            "splits": self.splits,
            "policy": self.policy,
            "copilot_feedback": self.feedback,
            "label_quality": self.label_quality,
            "critic": self.critic,
            "certificate": self.certificate,
            "decision_bundle": self.registered,
            "approval": self.approval,
            "serving_bento": self.bento,
            "policy_evaluation": self.policy_evaluation,
            "replay_evaluation": self.evaluation,
            "drift_report": self.drift,
        }[asset]


class Workspace(dg.ConfigurableResource):
    """The project's root (params.yaml, dvc.yaml, data/) and its state folder, as absolute paths."""

    root: str
    state: str

    def of(self, process_id: str) -> ProcessPaths:
        return ProcessPaths(Path(self.root), Path(self.state), process_id)

    def params(self) -> Params:
        """params.yaml as it stands now; read again by every asset, so that a long-lived UI sees edits."""
        return load_params(Path(self.root) / "params.yaml")

    def process_params(self, process_id: str) -> ProcessParams:
        return self.params().process(process_id)
