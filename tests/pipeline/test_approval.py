"""Registration and approval: an explicit act by a named person, refused while any evidence is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tiny_bank import tiny_sessions

from dagster_project.registry.approval import Approval, approval_of, approve
from dagster_project.registry.history import versions_of
from dagster_project.registry.models import RegisteredBundle, alias_uri, fetch_bundle, register_bundle, version_uri
from dagster_project.registry.tracking import Dataset, Tracking, tracking_from
from selective_autonomy.bundle_files import folder_digest
from selective_autonomy.errors import ApprovalRefused, BundleError

NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
Register = Callable[..., RegisteredBundle]


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """One SQLite store for the module (its migrations take seconds); each test has a process of its own."""
    return Tracking.local(tmp_path_factory.mktemp("state"))


@pytest.fixture
def register(tracking: Tracking, tmp_path: Path, request: pytest.FixtureRequest) -> Register:
    process_id = request.node.name

    def call(content: str = "weights", failing: list[str] | None = None) -> RegisteredBundle:
        bundle = tmp_path / content / "bundle"
        bundle.mkdir(parents=True)
        (bundle / "model.txt").write_text(content)
        with tracking.run(process_id, "decision_bundle", {"dagster_run_id": "run-1"}) as run:
            run.datasets([Dataset("bank:train", "ab" * 32, bundle, "train")])
            return register_bundle(
                tracking,
                run.run_id,
                process_id,
                bundle,
                folder_digest(bundle),
                tiny_sessions(1)[0].before(1),
                failing_checks=failing or [],
                tags={"dagster_run_id": "run-1", "threshold": "0.9"},
            )

    return call


def sign(tracking: Tracking, bundle: RegisteredBundle, **changes: object) -> Approval:
    act = {
        "approved_by": "Ada Lovelace",
        "reason": "risk within alpha on fresh cases",
        "failing_checks": [],
        "at": NOW,
        "bundle_digest_of": folder_digest,
    }
    return approve(tracking, bundle.process_id, bundle.version, **{**act, **changes})


def test_a_registered_bundle_is_the_candidate_with_tags_inputs_signature_and_example(
    tracking: Tracking, register: Register
) -> None:
    bundle = register()
    client = tracking.client()
    version = client.get_model_version_by_alias(bundle.name, "candidate")
    assert int(version.version) == bundle.version == 1
    assert version.tags == {
        "process": bundle.process_id,
        "bundle_digest": bundle.bundle_digest,
        "validation_status": "passed",
        "dagster_run_id": "run-1",
        "threshold": "0.9",
    }
    (given,) = client.get_run(bundle.run_id).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("bank:train", ("ab" * 32)[:36])
    assert {tag.key: tag.value for tag in given.tags}["sha256"] == "ab" * 32

    import mlflow

    info = mlflow.models.get_model_info(alias_uri(bundle.process_id, "candidate"))
    assert info.signature.inputs.input_names() == ["session"]
    assert "p_accept" in info.signature.outputs.input_names()
    assert info.saved_input_example_info is not None


def test_an_approved_version_says_who_when_and_why_and_gets_the_alias(tracking: Tracking, register: Register) -> None:
    bundle = register()
    approval = sign(tracking, bundle)
    assert approval_of(tracking, bundle.process_id, bundle.version) == approval
    assert (approval.approved_by, approval.approved_at) == ("Ada Lovelace", NOW)
    approved = tracking.client().get_model_version_by_alias(bundle.name, "approved")
    assert int(approved.version) == bundle.version


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"approved_by": "  "}, "nobody approves"),
        ({"reason": ""}, "no reason"),
        ({"failing_checks": ["splits:no_session_is_on_two_sides"]}, "no_session_is_on_two_sides"),
        ({"bundle_digest_of": lambda path: "another digest"}, "registered was"),
    ],
)
def test_approval_is_refused(tracking: Tracking, register: Register, changes: dict[str, object], says: str) -> None:
    bundle = register()
    with pytest.raises(ApprovalRefused, match=says):
        sign(tracking, bundle, **changes)
    assert approval_of(tracking, bundle.process_id, bundle.version) is None
    assert versions_of(tracking, bundle.process_id)[0].aliases == ("candidate",)


def test_a_version_that_does_not_exist_is_refused_and_those_that_do_are_named(
    tracking: Tracking, register: Register
) -> None:
    bundle = register()
    with pytest.raises(ApprovalRefused, match=r"no version 7; expected one of \[1\]"):
        sign(tracking, bundle.model_copy(update={"version": 7}))


def test_a_bundle_whose_checks_failed_is_registered_but_neither_candidate_nor_approvable(
    tracking: Tracking, register: Register
) -> None:
    bundle = register(failing=["decision_bundle:golden_decisions_are_repeated"])
    assert versions_of(tracking, bundle.process_id)[0].aliases == ()
    with pytest.raises(ApprovalRefused, match="golden_decisions_are_repeated"):
        sign(tracking, bundle)


def test_a_stored_bundle_that_was_altered_cannot_be_approved(
    tracking: Tracking, register: Register, tmp_path: Path
) -> None:
    bundle = register()
    import mlflow

    stored = Path(mlflow.models.get_model_info(version_uri(bundle.process_id, bundle.version)).artifact_path)
    (stored / "artifacts" / "bundle" / "model.txt").write_text("other weights")
    with pytest.raises(ApprovalRefused, match="registered was"):
        sign(tracking, bundle)


def test_a_bundle_that_does_not_load_cannot_be_approved(tracking: Tracking, register: Register) -> None:
    def refuse(path: Path) -> str:
        raise BundleError("model.txt is missing")

    with pytest.raises(ApprovalRefused, match=r"does not verify: model\.txt is missing"):
        sign(tracking, register(), bundle_digest_of=refuse)


def test_an_approval_of_another_digest_is_no_approval(tracking: Tracking, register: Register) -> None:
    bundle = register()
    sign(tracking, bundle)
    tracking.client().set_model_version_tag(bundle.name, str(bundle.version), "approved_digest", "of another bundle")
    assert approval_of(tracking, bundle.process_id, bundle.version) is None


def test_a_downloaded_bundle_is_the_registered_one(tracking: Tracking, register: Register, tmp_path: Path) -> None:
    bundle = register()
    assert folder_digest(fetch_bundle(tracking, bundle.process_id, 1, tmp_path / "down")) == bundle.bundle_digest


def test_using_a_store_leaves_the_environment_as_it_was(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow exports the address it is given; a later run would take it for the user's own setting."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    tracking.client()
    assert tracking_from(os.environ, Path("state")).uri == "http://127.0.0.1:1"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    tracking.client()
    assert tracking_from(os.environ, Path("state")).uri.startswith("sqlite:///")


def test_a_second_version_is_the_candidate_while_the_first_stays_approved(
    tracking: Tracking, register: Register
) -> None:
    first = register("first")
    sign(tracking, first)
    register("second")
    facts = versions_of(tracking, first.process_id)
    assert [(one.version, one.aliases) for one in facts] == [(2, ("candidate",)), (1, ("approved",))]
    assert [one.approval is not None for one in facts] == [False, True]
