from __future__ import annotations

import hashlib
import json
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from desk_world import world

from selective_autonomy.bundle import DecisionBundle, build_bundle
from selective_autonomy.bundle_files import BundleManifest, folder_digest, read_manifest
from selective_autonomy.certify.certify import certify
from selective_autonomy.errors import BundleError, IllegalAction, ModelError
from selective_autonomy.gate import Defer, Execute
from selective_autonomy.params import CertificateParams
from selective_autonomy.process.actions import CloseChat
from selective_autonomy.process.legality import check_action
from selective_autonomy.traces.schema import OperatorAction, Session
from selective_autonomy.traces.screen import derive_screen, state_digest

CREATED = datetime(2025, 3, 1, tzinfo=UTC)
PROMISE = CertificateParams(alpha=0.4, alpha_session=None, delta=0.1, cuts=20)  # counts are no good policy


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `build_bundle` takes, for the desk's process and a policy of counts."""
    w, folder = world(), tmp_path_factory.mktemp("parts")
    w.policy.save(folder / "policy")
    w.critic.save(folder / "critic")
    certificate = certify(
        w.critic.p_accept(w.calibrate.befores, w.calibrate.proposals),
        ~w.calibrate.accepted,
        w.calibrate.session_ids,
        PROMISE,
        process_id=w.schema.id,
        loss="tool",
        splits={"calibrate": "0"},
        policy_digest=folder_digest(folder / "policy"),
        critic_digest=folder_digest(folder / "critic"),
    )
    assert certificate.threshold is not None
    return {
        "schema": w.schema,
        "policy_dir": folder / "policy",
        "critic_dir": folder / "critic",
        "certificate": certificate,
        "golden": w.calibrate.befores[:12],
        "created": CREATED,
        "lineage": {"training_run": "r1"},
    }


@pytest.fixture(scope="session")
def path(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "bundle"
    build_bundle(out, **parts)
    return out


@pytest.fixture(scope="session")
def bundle(path: Path) -> DecisionBundle:
    return DecisionBundle.load(path)


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    return shutil.copytree(path, tmp_path / "copy")


def resealed(bundle: Path, **changed: object) -> Path:
    """The bundle with a changed manifest whose file digests are right again: only its claims are wrong."""
    manifest = json.loads((bundle / "manifest.json").read_text()) | changed
    files = [p for p in bundle.rglob("*") if p.is_file() and p.name != "manifest.json"]
    manifest["files"] = {p.relative_to(bundle).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


def test_a_bundle_says_what_it_is_made_of(path: Path, bundle: DecisionBundle, parts: dict[str, Any]) -> None:
    manifest = bundle.manifest
    assert (manifest.process_id, manifest.created, manifest.lineage) == (
        bundle.schema.id,
        CREATED,
        {"training_run": "r1"},
    )
    assert manifest.certificate_id == parts["certificate"].id
    assert {name.partition("/")[0] for name in manifest.files} == {
        "certificate.json",
        "critic",
        "golden.jsonl",
        "policy",
        "processes",
    }
    assert bundle.digest == read_manifest(path).digest


def test_the_same_parts_make_the_same_digest_and_other_lineage_another(
    tmp_path: Path, parts: dict[str, Any], path: Path
) -> None:
    first = read_manifest(path)
    assert build_bundle(tmp_path / "again", **parts).digest == first.digest
    assert build_bundle(tmp_path / "other", **{**parts, "lineage": {"training_run": "r2"}}).digest != first.digest


def test_every_decision_carries_its_grounds(bundle: DecisionBundle) -> None:
    for before in world().calibrate.befores[:30]:
        decided = bundle.decide(before)
        assert decided.state_digest == state_digest(before)
        assert decided.certificate_id == bundle.certificate.id
        assert decided.bundle_digest == bundle.digest
        assert decided.threshold == bundle.certificate.threshold
        assert decided.proposal is not None
        check_action(bundle.schema, derive_screen(before), decided.proposal.action)


def test_critical_steps_execute_exactly_from_the_certified_threshold_on(bundle: DecisionBundle) -> None:
    decided = bundle.decide_batch(world().calibrate.befores)
    critical = [d for d in decided if d.tier == "critical"]
    threshold = bundle.certificate.threshold
    assert threshold is not None
    for one in critical:
        assert one.p_accept is not None
        assert isinstance(one.decision, Execute) == (one.p_accept >= threshold)
    share = sum(isinstance(d.decision, Execute) for d in critical) / len(critical)
    assert 0 < share < 1


def test_a_batch_decides_as_each_session_alone(bundle: DecisionBundle) -> None:
    befores = world().calibrate.befores[:25]
    assert bundle.decide_batch(befores) == [bundle.decide(before) for before in befores]
    assert bundle.decide_batch([]) == []


def test_before_the_selective_stage_no_critical_step_executes(bundle: DecisionBundle) -> None:
    for decided in bundle.decide_batch(world().calibrate.befores[:60], stage="copilot"):
        assert decided.tier == "routine" or decided.decision == Defer(reason="stage_not_selective")


@pytest.mark.parametrize("changed", [{"process_id": "another"}, {"process_version": "0.0"}])
def test_a_session_of_another_process_or_version_defers(bundle: DecisionBundle, changed: dict[str, str]) -> None:
    session = world().calibrate.befores[3].model_copy(update=changed)
    assert bundle.decide(session).decision == Defer(reason="contract_mismatch")
    with pytest.raises(BundleError, match="is for"):
        bundle.suggest(session)


def closed() -> Session:
    before = world().calibrate.befores[3]
    return before.with_events(OperatorAction(at=before.events[-1].at, action=CloseChat()))


def test_a_closed_case_defers_for_want_of_a_legal_action(bundle: DecisionBundle) -> None:
    assert bundle.decide(closed()).decision == Defer(reason="no_legal_action")
    with pytest.raises(IllegalAction):
        bundle.suggest(closed())


def test_an_unknown_procedure_defers_for_want_of_a_legal_action(bundle: DecisionBundle) -> None:
    session = world().calibrate.befores[3].model_copy(update={"procedures": ("no such procedure",)})
    assert bundle.decide(session).decision == Defer(reason="no_legal_action")


class Failing:
    """A policy that fails on one session, as a real one does on a fault that nobody foresaw."""

    def __init__(self, inner: Any, session_id: str, fault: Exception) -> None:
        self.inner, self.session_id, self.fault = inner, session_id, fault

    def propose(self, sessions: list[Session]) -> Any:
        if any(session.session_id == self.session_id for session in sessions):
            raise self.fault
        return self.inner.propose(sessions)


@pytest.mark.parametrize(
    ("fault", "reason"), [(RuntimeError("out of memory"), "internal_error"), (IllegalAction("none"), "no_legal_action")]
)
def test_a_fault_inside_defers_its_own_session_only(
    bundle: DecisionBundle, path: Path, fault: Exception, reason: Any, caplog: pytest.LogCaptureFixture
) -> None:
    befores = [world().calibrate.befores[i] for i in (2, 30, 60)]
    broken = DecisionBundle.load(path)
    broken._policy = Failing(broken._policy, befores[1].session_id, fault)  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR):
        decided = broken.decide_batch(befores)
    assert decided[1].decision == Defer(reason=reason)
    assert [decided[0], decided[2]] == [bundle.decide(befores[0]), bundle.decide(befores[2])]
    assert ("out of memory" in caplog.text) == (reason == "internal_error")


def test_a_suggestion_is_what_the_decision_is_about(bundle: DecisionBundle) -> None:
    before = world().calibrate.befores[5]
    proposal, p_accept = bundle.suggest(before)
    decided = bundle.decide(before)
    assert (proposal, p_accept) == (decided.proposal, decided.p_accept)


def test_a_refused_certificate_makes_a_bundle_that_defers_every_critical_step(
    tmp_path: Path, parts: dict[str, Any]
) -> None:
    one = parts["certificate"].slices[0]
    refused = one.step.model_copy(update={"threshold": None, "refusal": "too_few_labels", "labels_missing": 5})
    slices = (one.model_copy(update={"step": refused}),)
    certificate = parts["certificate"].model_copy(update={"slices": slices})
    build_bundle(tmp_path / "b", **{**parts, "certificate": certificate})
    for decided in DecisionBundle.load(tmp_path / "b").decide_batch(world().calibrate.befores[:60]):
        assert decided.decision == Defer(reason="no_threshold")


def test_in_a_session_with_an_uncertified_procedure_no_step_of_any_tier_executes(
    tmp_path: Path, parts: dict[str, Any], bundle: DecisionBundle
) -> None:
    every = world().schema.procedures
    certified, other = (every[0].id, every[1].id), every[2].id
    certificate = parts["certificate"].model_copy(update={"procedures": certified})
    build_bundle(tmp_path / "b", **{**parts, "certificate": certificate})
    restricted = DecisionBundle.load(tmp_path / "b")
    assert restricted.golden_mismatches() == []

    def opened(*procedures: str) -> list[Session]:
        return [s.model_copy(update={"procedures": procedures}) for s in world().calibrate.befores[:80]]

    known = [*opened(*certified), *opened(certified[0])]
    unrestricted = [one.decision for one in bundle.decide_batch(known)]
    assert [one.decision for one in restricted.decide_batch(known)] == unrestricted
    assert Execute() in unrestricted
    decided = restricted.decide_batch([*opened(other), *opened(certified[0], other)])
    assert {one.tier for one in decided} == {"routine", "critical"}
    for one in decided:
        assert one.decision == Defer(reason="uncertified_procedure")
        assert one.threshold is None
        assert one.proposal is not None


def test_a_fresh_bundle_repeats_its_golden_decisions(bundle: DecisionBundle) -> None:
    assert bundle.golden_mismatches() == []


@pytest.mark.parametrize(
    "changed",
    [{"p_accept": 0.123}, {"action": {"type": "wait"}}, {"outcome": "execute", "reason": None}, {"p_accept": None}],
)
def test_a_golden_decision_that_differs_is_reported(copy: Path, changed: dict[str, Any]) -> None:
    lines = (copy / "golden.jsonl").read_text().splitlines()
    deferred = next(i for i, line in enumerate(lines) if json.loads(line)["outcome"] == "defer")
    lines[deferred] = json.dumps(json.loads(lines[deferred]) | changed)
    (copy / "golden.jsonl").write_text("\n".join(lines) + "\n")
    found = DecisionBundle.load(resealed(copy)).golden_mismatches()
    assert len(found) == 1
    assert found[0].startswith(f"golden case {deferred + 1} ")


def test_a_bundle_without_golden_cases_is_neither_built_nor_loaded(copy: Path, tmp_path: Path) -> None:
    (copy / "golden.jsonl").write_text("")
    with pytest.raises(BundleError, match="no golden case"):
        DecisionBundle.load(resealed(copy))


def test_every_file_that_is_missing_altered_or_added_is_named(copy: Path) -> None:
    manifest = read_manifest(copy)
    for name in manifest.files:
        content = (copy / name).read_bytes()
        (copy / name).unlink()
        with pytest.raises(BundleError, match=f"{name} is missing"):
            DecisionBundle.load(copy)
        (copy / name).write_bytes(content + b" ")
        with pytest.raises(BundleError, match=f"{name} was altered"):
            DecisionBundle.load(copy)
        (copy / name).write_bytes(content)
    (copy / "critic" / "more.txt").write_text("")
    with pytest.raises(BundleError, match=r"critic/more.txt is not in the manifest"):
        DecisionBundle.load(copy)


@pytest.mark.parametrize("text", [None, "", "{}", "[1"])
def test_without_a_whole_manifest_there_is_no_bundle(copy: Path, text: str | None) -> None:
    if text is None:
        (copy / "manifest.json").unlink()
    else:
        (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match="manifest"):
        DecisionBundle.load(copy)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"contract_fingerprint": "0"}, "contract fingerprint"),
        ({"certificate_id": "0"}, "certificate id"),
        ({"process_version": "0"}, "process version"),
    ],
)
def test_a_manifest_that_claims_other_parts_is_refused(copy: Path, changed: dict[str, str], named: str) -> None:
    with pytest.raises(BundleError, match=named):
        DecisionBundle.load(resealed(copy, **changed))


@pytest.mark.parametrize(("file", "named"), [("policy/values.json", "policy"), ("critic/calibrator.json", "critic")])
def test_a_certificate_made_for_another_policy_or_critic_is_refused(copy: Path, file: str, named: str) -> None:
    (copy / file).write_text((copy / file).read_text() + " ")
    with pytest.raises(BundleError, match=f"the certificate's {named}"):
        DecisionBundle.load(resealed(copy))


def test_a_policy_of_another_schema_is_refused(tmp_path: Path, parts: dict[str, Any]) -> None:
    newer = parts["schema"].model_copy(update={"version": "99"})
    with pytest.raises(BundleError, match="policy's process schema"):
        build_bundle(tmp_path / "b", **{**parts, "schema": newer})


def test_a_bundle_that_could_not_be_finished_is_not_there(tmp_path: Path, parts: dict[str, Any]) -> None:
    shutil.copytree(parts["critic_dir"], tmp_path / "critic")
    (tmp_path / "critic" / "critic.txt").write_text("tree")
    certificate = parts["certificate"].model_copy(update={"critic_digest": folder_digest(tmp_path / "critic")})
    damaged = {**parts, "certificate": certificate, "critic_dir": tmp_path / "critic"}
    with pytest.raises(ModelError):
        build_bundle(tmp_path / "b", **damaged)
    assert not (tmp_path / "b").exists()


def test_a_bundle_is_never_overwritten(path: Path, parts: dict[str, Any]) -> None:
    digest = read_manifest(path).digest
    with pytest.raises(BundleError, match="never overwritten"):
        build_bundle(path, **parts)
    assert read_manifest(path).digest == digest


def test_a_manifest_survives_json(path: Path) -> None:
    manifest = read_manifest(path)
    assert BundleManifest.model_validate_json(manifest.model_dump_json()).digest == manifest.digest
