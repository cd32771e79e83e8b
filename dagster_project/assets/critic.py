"""The critic, fitted on copilot feedback, and the certificate: which threshold may be relied on, if any."""

import dagster as dg

from dagster_project.assets.copilot import copilot_feedback
from dagster_project.assets.policy import policy
from dagster_project.assets.traces import splits, validated_traces
from dagster_project.conventions import process_asset
from dagster_project.provenance import folder_version, made
from dagster_project.resources.mlflow_registry import MlflowRegistry
from dagster_project.resources.workspace import Workspace


@process_asset(
    group="models",
    kinds={"lightgbm", "mlflow"},
    code=(
        "selective_autonomy/critic",
        "selective_autonomy/policy/baselines/ngram.py",
        "dagster_project/judged_steps.py",
    ),
    params=("critic", "certificate"),
    deps=[validated_traces, splits, copilot_feedback],
)
def critic(context: dg.AssetExecutionContext, workspace: Workspace, mlflow: MlflowRegistry) -> dg.MaterializeResult:
    """How likely an operator would accept a proposal: evidence from train, labels from fit."""
    from dagster_project.judged_steps import critical_steps
    from dagster_project.process_data import sessions_of, stage_run
    from selective_autonomy.critic.boosted import BoostedCritic
    from selective_autonomy.critic.evidence import Evidence
    from selective_autonomy.process.schema import load_process

    paths, params = workspace.of(context.partition_key), workspace.process_params(context.partition_key).critic
    schema, sessions = load_process(paths.schema), sessions_of(paths, "train", "fit")
    judged = critical_steps(paths.feedback, schema, {"fit": sessions["fit"]})
    adjudicated = workspace.process_params(context.partition_key).certificate.adjudicated
    wrong = [j.counts_as_wrong(adjudicated=adjudicated) for j in judged]
    with stage_run(context, mlflow, paths, "critic", "train", "fit") as run:
        run.params(params.model_dump())
        evidence = Evidence.fit(sessions["train"], schema)
        fitted = BoostedCritic.fit(
            evidence, [j.before for j in judged], [j.proposal for j in judged], [not w for w in wrong], params
        )
        fitted.save(paths.critic)
        run.metrics({f"log_loss_{kind}": loss for kind, loss in fitted.fit_log_loss.items()})
    gains = [f"{name} {share:.0%}" for name, share in list(fitted.importances().items())[:8]]
    facts = {
        "judged_steps": len(judged),
        "right": 1 - sum(wrong) / len(judged),
        "calibration": fitted.calibration,
        "strongest_evidence": ", ".join(gains),
        "mlflow_run": dg.MetadataValue.url(run.url),
    }
    return made(context, workspace, folder_version(paths.critic), facts)


@process_asset(
    group="models",
    kinds={"python", "mlflow"},
    code=("selective_autonomy/certify", "dagster_project/certification.py", "dagster_project/true_risk.py"),
    params=("certificate", "feedback"),
    deps=[validated_traces, splits, policy, copilot_feedback, critic],
)
def certificate(
    context: dg.AssetExecutionContext, workspace: Workspace, mlflow: MlflowRegistry
) -> dg.MaterializeResult:
    """A threshold with a finite-sample promise, from sessions that neither policy nor critic saw; or a refusal."""
    from dagster_project.certification import certify_process, facts_of
    from dagster_project.process_data import stage_run
    from dagster_project.true_risk import true_risk_facts

    paths, params = workspace.of(context.partition_key), workspace.process_params(context.partition_key)
    with stage_run(context, mlflow, paths, "certificate", "calibrate") as run:
        run.params(params.certificate.model_dump())
        issued = certify_process(paths, params)
        paths.certificate.write_text(issued.model_dump_json(indent=1), encoding="utf-8")
        facts = facts_of(issued) | true_risk_facts(paths, issued)
        run.metrics({name: value for name, value in facts.items() if isinstance(value, float)})
        run.file(paths.certificate)
    facts["mlflow_run"] = dg.MetadataValue.url(run.url)
    return made(context, workspace, issued.id, facts)
