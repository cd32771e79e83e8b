"""The decision bundle, the unit of release: policy, critic, threshold and proof, loaded if they belong together."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from selective_autonomy.bundle_files import (
    CERTIFICATE,
    CRITIC,
    GOLDEN,
    MANIFEST,
    POLICY,
    PROCESSES,
    BundleManifest,
    GoldenCase,
    file_digests,
    folder_digest,
    read_golden,
    read_manifest,
    write_golden,
)
from selective_autonomy.certify.certificate import Certificate
from selective_autonomy.contract import Contract
from selective_autonomy.critic.kinds import load_critic
from selective_autonomy.critic.protocol import Critic
from selective_autonomy.decision import StepDecision
from selective_autonomy.errors import BundleError, IllegalAction
from selective_autonomy.gate import Decision, Defer, DeferReason, Stage, decide
from selective_autonomy.policy.card import read_card
from selective_autonomy.policy.kinds import load_policy
from selective_autonomy.policy.protocol import Policy, Proposal
from selective_autonomy.process.actions import UIAction
from selective_autonomy.process.legality import check_action, legal_heads
from selective_autonomy.process.schema import ProcessSchema, Tier, load_process, save_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, state_digest

logger = logging.getLogger(__name__)

_GOLDEN_TOLERANCE = 1e-4  # float32 kernels of another processor differ in about the sixth digit


class DecisionBundle:
    """Implements `Decider`. Made by `load`, which proves that the parts are unaltered and belong together.

    `digest`: the manifest's; names exactly these files.
    """

    def __init__(
        self,
        manifest: BundleManifest,
        schema: ProcessSchema,
        policy: Policy,
        critic: Critic,
        certificate: Certificate,
        golden: Sequence[GoldenCase],
    ) -> None:
        self.manifest, self.schema, self.certificate = manifest, schema, certificate
        self.digest = manifest.digest
        self._certificate_id = certificate.id
        self._policy, self._critic, self._golden = policy, critic, tuple(golden)

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu") -> DecisionBundle:
        """Load a bundle after checking everything that can be checked without deciding.

        Checked: every file's sha256; the schema against the contract fingerprint, and against the policy's own;
        the certificate against the policy and critic folders that it was made for.

        Raises:
            BundleError: something is missing, altered, or belongs to another bundle; the message names it.
            ModelError: the policy or the critic cannot be loaded.
        """
        manifest = read_manifest(path)
        schema = load_process(path / PROCESSES / f"{manifest.process_id}.yaml")
        certificate = _read_certificate(path / CERTIFICATE)
        stated = {
            "process id": (manifest.process_id, schema.id),
            "process version": (manifest.process_version, schema.version),
            "contract fingerprint": (manifest.contract_fingerprint, Contract(schema).fingerprint),
            "certificate id": (manifest.certificate_id, certificate.id),
        }
        for what, (got, expected) in stated.items():
            if got != expected:
                raise BundleError(
                    f"bundle {path}: the manifest's {what} is {got!r}, expected {expected!r}; build it again"
                )
        _check_parts(path, schema, certificate)
        golden = read_golden(path / GOLDEN)
        if not golden:
            raise BundleError(f"bundle {path} has no golden case, so it can prove nothing; build it again")
        policy = load_policy(path / POLICY, device=device)
        critic = load_critic(path / CRITIC, policy=policy)
        return cls(manifest, schema, policy, critic, certificate, golden)

    def decide(self, session: Session, *, stage: Stage = "selective") -> StepDecision:
        """Decide the next step. Never raises for what a session holds."""
        return self.decide_batch([session], stage=stage)[0]

    def decide_batch(self, sessions: Sequence[Session], *, stage: Stage = "selective") -> list[StepDecision]:
        """One decision a session, in order; each equal to `decide` of it alone.

        A session of another process or version defers with contract_mismatch, one that allows no action with
        no_legal_action, anything that goes wrong inside with internal_error (and is logged).
        """
        refusals = [self._refusal(session) for session in sessions]
        scored = iter(self._score([s for s, refusal in zip(sessions, refusals, strict=True) if refusal is None]))
        return [
            self._gate(session, next(scored) if refusal is None else refusal, stage)
            for session, refusal in zip(sessions, refusals, strict=True)
        ]

    def suggest(self, session: Session) -> tuple[Proposal, float]:
        """The proposal for the next step and its p_accept, for a person to accept or correct. Gates nothing.

        Raises:
            IllegalAction: the session allows no action.
            BundleError: the session is of another process or version.
        """
        refusal = self._refusal(session)
        if refusal == "contract_mismatch":
            raise BundleError(
                f"session {session.session_id!r} is of {session.process_id!r} {session.process_version!r}; this bundle "
                f"is for {self.schema.id!r} {self.schema.version!r}"
            )
        if refusal is not None:
            raise IllegalAction(f"session {session.session_id!r} allows no action: it is closed, or nothing is open")
        proposals = self._policy.propose([session])
        return proposals[0], float(self._critic.p_accept([session], proposals)[0])

    def golden_mismatches(self) -> list[str]:
        """What this bundle, here and now, decides otherwise than when it was built. Empty: nothing.

        p_accept may differ by 1e-4; so near to the threshold the outcome may differ with it.
        """
        mismatches = []
        for number, case in enumerate(self._golden, start=1):
            now = _golden(case.session, self.decide(case.session))
            close = now.p_accept == case.p_accept or (
                now.p_accept is not None
                and case.p_accept is not None
                and abs(now.p_accept - case.p_accept) <= _GOLDEN_TOLERANCE
            )
            threshold = self._threshold(case.session, case.action) if case.action else None
            on_the_edge = (
                close
                and threshold is not None
                and case.p_accept is not None
                and abs(case.p_accept - threshold) <= _GOLDEN_TOLERANCE
            )
            same = now.action == case.action and (
                on_the_edge or (now.outcome, now.reason) == (case.outcome, case.reason)
            )
            if not (close and same):
                mismatches.append(
                    f"golden case {number} ({case.session.session_id}): recorded {_summary(case)}, got {_summary(now)}"
                )
        return mismatches

    def _refusal(self, session: Session) -> DeferReason | None:
        """Why a session cannot be decided on, before any model is asked; None when it can."""
        if (session.process_id, session.process_version) != (self.schema.id, self.schema.version):
            return "contract_mismatch"
        try:
            return None if legal_heads(self.schema, derive_screen(session)) else "no_legal_action"
        except IllegalAction:
            return "no_legal_action"
        except Exception:
            logger.exception("session %s: the screen cannot be derived", session.session_id)
            return "internal_error"

    def _score(self, sessions: Sequence[Session]) -> list[tuple[Proposal, float] | DeferReason]:
        """A scored proposal a session, or the reason why there is none."""
        if not sessions:
            return []
        try:
            proposals = self._policy.propose(sessions)
            p_accept_N = self._critic.p_accept(sessions, proposals)
            return [(proposal, float(p)) for _, proposal, p in zip(sessions, proposals, p_accept_N, strict=True)]
        except Exception as err:
            if len(sessions) > 1:
                # One session must not decide for its neighbours: ask again, one by one.
                return [self._score([session])[0] for session in sessions]
            if isinstance(err, IllegalAction):
                return ["no_legal_action"]
            logger.exception("session %s: no scored proposal", sessions[0].session_id)
            return ["internal_error"]

    def _gate(self, session: Session, scored: tuple[Proposal, float] | DeferReason, stage: Stage) -> StepDecision:
        if isinstance(scored, str):
            return self._answer(session, Defer(reason=scored))
        proposal, p_accept = scored
        try:
            tier = self.schema.tier(proposal.action.type).tier
            threshold = self._threshold(session, proposal.action)
            decision = decide(
                p_accept=p_accept,
                threshold=threshold,
                tier=tier,
                legal=self._is_legal(session, proposal),
                procedures_certified=self.certificate.covers(session.procedures),
                stage=stage,
            )
            return self._answer(session, decision, proposal=proposal, tier=tier, p_accept=p_accept, threshold=threshold)
        except Exception:
            logger.exception("session %s: the gate could not be asked", session.session_id)
            return self._answer(session, Defer(reason="internal_error"))

    def _threshold(self, session: Session, action: UIAction) -> float | None:
        """What the gate compares an action's score with. A routine step runs where anything at all is certified.

        None in a session with a procedure open that the certificate was not made on.
        """
        if not self.certificate.covers(session.procedures):
            return None
        if self.schema.tier(action.type).tier == "routine":
            return self.certificate.threshold
        return self.certificate.threshold_of(action.type)

    def _is_legal(self, session: Session, proposal: Proposal) -> bool:
        try:
            check_action(self.schema, derive_screen(session), proposal.action)
        except IllegalAction as err:
            logger.error("session %s: the policy proposed what the screen forbids: %s", session.session_id, err)
            return False
        return True

    def _answer(
        self,
        session: Session,
        decision: Decision,
        *,
        proposal: Proposal | None = None,
        tier: Tier | None = None,
        p_accept: float | None = None,
        threshold: float | None = None,
    ) -> StepDecision:
        return StepDecision(
            decision=decision,
            state_digest=state_digest(session),
            proposal=proposal,
            tier=tier,
            p_accept=p_accept,
            threshold=threshold,
            certificate_id=self._certificate_id,
            bundle_digest=self.digest,
        )


def build_bundle(
    out: Path,
    *,
    schema: ProcessSchema,
    policy_dir: Path,
    critic_dir: Path,
    certificate: Certificate,
    golden: Sequence[Session],
    created: datetime,
    git_commit: str | None = None,
    lineage: Mapping[str, str] | None = None,
    device: str = "cpu",
) -> BundleManifest:
    """Copy the parts into a new directory `out`, record the golden decisions, and seal it. All or nothing.

    Args:
        golden: open logs, as they stand before a step, at least one; their decisions are taken now and recorded.
        created: timezone-aware.

    Raises:
        BundleError: `out` exists, or the parts do not belong together.
        ModelError: the policy or the critic cannot be loaded.
    """
    if not golden:
        raise BundleError("got no golden session; a bundle without one cannot prove that it decides as it did here")
    if out.exists():
        raise BundleError(f"{out} exists; bundles are never overwritten: remove it or choose another directory")
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(policy_dir, unfinished / POLICY)
    shutil.copytree(critic_dir, unfinished / CRITIC)
    save_process(schema, unfinished / PROCESSES / f"{schema.id}.yaml")
    (unfinished / CERTIFICATE).write_text(certificate.model_dump_json(indent=1), encoding="utf-8")
    _check_parts(unfinished, schema, certificate)
    manifest = BundleManifest(
        process_id=schema.id,
        process_version=schema.version,
        policy_kind=str(read_card(unfinished / POLICY)["kind"]),
        created=created,
        files=file_digests(unfinished),
        contract_fingerprint=Contract(schema).fingerprint,
        certificate_id=certificate.id,
        git_commit=git_commit,
        lineage=dict(lineage or {}),
    )
    policy = load_policy(unfinished / POLICY, device=device)
    critic = load_critic(unfinished / CRITIC, policy=policy)
    bundle = DecisionBundle(manifest, schema, policy, critic, certificate, ())
    write_golden((_golden(s, d) for s, d in zip(golden, bundle.decide_batch(golden), strict=True)), unfinished / GOLDEN)
    manifest = manifest.model_copy(update={"files": file_digests(unfinished)})
    (unfinished / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    unfinished.rename(out)
    return read_manifest(out)


def _check_parts(path: Path, schema: ProcessSchema, certificate: Certificate) -> None:
    """Raise BundleError unless schema, policy, critic and certificate were made for one another."""
    policy_schema = load_process(path / POLICY / "process.yaml")
    pairs = {
        "the policy's process schema": (policy_schema.digest, schema.digest),
        "the certificate's process": (certificate.process_id, schema.id),
        "the certificate's policy": (certificate.policy_digest, folder_digest(path / POLICY)),
        "the certificate's critic": (certificate.critic_digest, folder_digest(path / CRITIC)),
    }
    wrong = [f"{what} is {got!r}, expected {expected!r}" for what, (got, expected) in pairs.items() if got != expected]
    if wrong:
        raise BundleError(f"bundle {path}: {'; '.join(wrong)}; certify and build again from parts of one run")


def _read_certificate(path: Path) -> Certificate:
    try:
        return Certificate.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise BundleError(f"{path} is no certificate: {err}; build the bundle again") from err


def _golden(session: Session, decided: StepDecision) -> GoldenCase:
    return GoldenCase(
        session=session,
        outcome=decided.decision.outcome,
        reason=decided.decision.reason if isinstance(decided.decision, Defer) else None,
        action=decided.proposal.action if decided.proposal else None,
        p_accept=decided.p_accept,
    )


def _summary(case: GoldenCase) -> str:
    action = case.action.model_dump_json() if case.action else "nothing"
    return f"{case.outcome} ({case.reason}) of {action} at p_accept {case.p_accept}"
