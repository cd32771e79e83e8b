"""Train and measure any policy that params.yaml describes, on any hold-out; what was trained before is used again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.measurement import SEED
from dagster_project.resources.workspace import ProcessPaths
from selective_autonomy.errors import SplitError, TraceError
from selective_autonomy.evaluation.accuracy import by_group, evaluate_policy
from selective_autonomy.evaluation.curves import CurvePoint, LearningCurve, measured_sessions, stretches
from selective_autonomy.evaluation.holdouts import HeldOut, HoldoutName, hold_out
from selective_autonomy.evaluation.outcomes import procedure_of
from selective_autonomy.evaluation.policy_report import PolicyReport, report_policy
from selective_autonomy.evaluation.replay import ReplayedStep, replay
from selective_autonomy.params import DEFAULT_POLICY, PolicyParams, ProcessParams, load_params
from selective_autonomy.policy.card import CARD
from selective_autonomy.policy.training import TrainingReport
from selective_autonomy.process.schema import ProcessSchema, load_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.splits import Split, read_splits
from selective_autonomy.traces.store import read_sessions, sha256_of

if TYPE_CHECKING:
    from selective_autonomy.policy.protocol import Policy

OnUnit = Callable[[str, int, int, str], None]  # what is done, units done, units in all, a note


@dataclass(frozen=True)
class Trained:
    """A trained policy's folder. `report` None: trained by the pipeline, which keeps its report as metadata."""

    folder: Path
    report: TrainingReport | None


@dataclass(frozen=True)
class PolicyBench:
    """One process's sessions, splits, schema and parameters; `source`: the file that the sessions are from."""

    paths: ProcessPaths
    params: ProcessParams
    schema: ProcessSchema
    sessions: list[Session]
    splits: dict[str, Split]
    source: Path
    device: str = "cpu"
    on_unit: OnUnit = lambda *_: None

    @classmethod
    def open(
        cls, process_id: str, *, root: Path, state: Path, device: str = "cpu", on_unit: OnUnit = lambda *_: None
    ) -> PolicyBench:
        """The validated sessions and their splits; before the pipeline has made them, those that DVC made.

        Raises:
            ProcessError: params.yaml is missing or wrong, or has no such process.
            TraceError: there are no traces yet.
        """
        paths = ProcessPaths(root.resolve(), state.resolve(), process_id)
        params = load_params(root / "params.yaml").process(process_id)
        places = ((paths.validated_sessions, paths.splits), (paths.sessions, paths.split_table))
        for sessions, splits in places:
            if sessions.exists() and splits.exists():
                schema = load_process(paths.schema)
                logs = read_sessions(sessions)
                return cls(paths, params, schema, logs, read_splits(splits), sessions, device, on_unit)
        raise TraceError(
            f"{process_id} has no sessions in {paths.canonical}; run `dvc repro split@{process_id}`, or "
            f"`selective-autonomy pipeline run {process_id}`"
        )

    @property
    def folder(self) -> Path:
        return self.paths.state / "evaluation" / self.paths.process_id

    def held_out(self, holdout: HoldoutName, *, at_most: int | None = None) -> HeldOut:
        """A hold-out; `at_most`: measured on that many sessions, evenly spaced in their order.

        Raises:
            SplitError: as `hold_out`.
        """
        held = hold_out(holdout, self.sessions, self.splits, self.params.holdouts)
        if at_most is None or at_most >= len(held.test):
            return held
        if at_most < 1:
            raise SplitError(f"got {at_most} sessions to measure on, expected at least 1")
        picked = [held.test[i * len(held.test) // at_most] for i in range(at_most)]
        return replace(held, test=picked)

    def measure(self, name: str, held: HeldOut) -> PolicyReport:
        """Train the policy called `name` on the hold-out's train sessions, unless that was done; measure it.

        Raises:
            ProcessError: there is no such policy. SplitError, ModelError: as its training says.
        """
        return self.report(name, held, *self.replayed(name, held))

    def replayed(self, name: str, held: HeldOut) -> tuple[list[ReplayedStep], Trained]:
        """The measured sessions replayed through the policy called `name`, and the policy."""
        trained = self._from_pipeline(name, held) or self.trained(name, held.train)
        return self.replay(name, trained, held.test), trained

    def report(self, name: str, held: HeldOut, replayed: Sequence[ReplayedStep], trained: Trained) -> PolicyReport:
        return report_policy(
            replayed,
            self.schema,
            policy=name,
            kind=self.params.policy_named(name).kind,
            holdout=held.name,
            unseen=held.procedures,
            seed=SEED,
            train_sessions=len(held.train),
            train_seconds=trained.report.seconds if trained.report else None,
        )

    def curve(
        self, names: Sequence[str], procedure: str, sizes: Sequence[int], *, beside: Sequence[bool]
    ) -> LearningCurve:
        """Learning curves of several policies for one procedure.

        Args:
            beside: variants: trained on the procedure's sessions alone (False), beside all other procedures' (True).

        Raises:
            SplitError: the procedure has no train or no test session. ProcessError: there is no such policy.
        """
        test = measured_sessions(self.sessions, self.splits, procedure)
        trainings = [s for b in beside for s in stretches(self.sessions, self.splits, procedure, sizes, beside=b)]
        points, steps = [], 0
        for name in names:
            for stretch in trainings:
                trained = self.trained(name, stretch.train)
                replayed = self.replay(f"{name} after {stretch.own} of its own", trained, test)
                steps = len(replayed)
                groups = by_group(replayed, lambda r: procedure_of(r, self.schema), seed=SEED)
                points.append(
                    CurvePoint(
                        policy=name,
                        own=stretch.own,
                        others=stretch.others,
                        figures=evaluate_policy(replayed, seed=SEED),
                        own_steps=groups.get(procedure),
                        train_seconds=trained.report.seconds if trained.report else None,
                    )
                )
        return LearningCurve(
            process_id=self.paths.process_id, procedure=procedure, sessions=len(test), steps=steps, points=tuple(points)
        )

    def trained(self, name: str, train: Sequence[Session]) -> Trained:
        """The policy called `name` trained on these sessions; one that was trained before is used again.

        It is the same one only if parameters, sessions, process schema and code are.
        """
        from selective_autonomy.policy.kinds import train_policy

        params = self.params.policy_named(name)
        folder = self.folder / "policies" / f"{name}-{self._key(params, train)}"
        kept = folder.parent / f"{folder.name}.json"
        if not ((folder / CARD).exists() and kept.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            report = train_policy(
                train,
                self.schema,
                params,
                folder,
                on_step=lambda at: self.on_unit(f"training {name}", at.step, at.total, f"loss {at.loss:.3f}"),
                device=self.device,
            )
            kept.write_text(report.model_dump_json(indent=1), encoding="utf-8")
        return Trained(folder, TrainingReport.model_validate_json(kept.read_text(encoding="utf-8")))

    def replay(self, what: str, trained: Trained, test: Sequence[Session]) -> list[ReplayedStep]:
        """Replay sessions through a trained policy; `what` is said of it while it is under way."""
        from selective_autonomy.policy.kinds import load_policy

        policy: Policy = load_policy(trained.folder, device=self.device, cache_sessions=0)
        done = iter(range(1, len(test) + 1))
        started = time.monotonic()

        def count() -> None:
            so_far = next(done)
            self.on_unit(f"replaying {what}", so_far, len(test), f"{time.monotonic() - started:.0f} s")

        return replay(policy, test, on_session=count)

    def _from_pipeline(self, name: str, held: HeldOut) -> Trained | None:
        """The pipeline's own policy, where it is the one asked for and Dagster holds it to be up to date."""
        if name != DEFAULT_POLICY or held.name != "none" or not (self.paths.policy / CARD).exists():
            return None
        from dagster_project.pipeline import pipeline_status

        status = pipeline_status(self.paths.process_id, root=self.paths.root, state=self.paths.state)
        upstream = ("raw_traces", "validated_traces", "splits", "policy")
        return Trained(self.paths.policy, None) if all(status[asset] is None for asset in upstream) else None

    def _key(self, params: PolicyParams, train: Sequence[Session]) -> str:
        from dagster_project.conventions import code_version
        from dagster_project.provenance import digest_of

        code = code_version(("selective_autonomy/policy", "selective_autonomy/contract", "selective_autonomy/process"))
        ids = [session.session_id for session in train]
        return digest_of([params.model_dump(mode="json"), self.schema.digest, sha256_of(self.source), ids, code])
