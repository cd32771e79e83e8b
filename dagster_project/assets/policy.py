"""The policy, of whichever kind `params.yaml` asks for, made on the train split."""

import dagster as dg

from dagster_project.assets.traces import splits, validated_traces
from dagster_project.conventions import process_asset
from dagster_project.provenance import folder_version, made
from dagster_project.resources.mlflow_registry import MlflowRegistry
from dagster_project.resources.progress import Progress
from dagster_project.resources.workspace import Workspace


@process_asset(
    group="models",
    kinds={"pytorch", "huggingface", "mlflow"},
    code=(
        "selective_autonomy/policy",
        "selective_autonomy/contract",
        "selective_autonomy/process",
        *(f"data/prompts/{name}.md" for name in ("abcd", "broadband", "star")),
    ),
    params=("policy",),
    deps=[validated_traces, splits],
    pool="accelerator",
)
def policy(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    mlflow: MlflowRegistry,
    progress: dg.ResourceParam[Progress],
) -> dg.MaterializeResult:
    """The next-action model, trained with loss on operator actions only; a killed training goes on where it was."""
    from dagster_project.figures import as_markdown
    from dagster_project.process_data import sessions_of, stage_run
    from selective_autonomy.evaluation.figures import loss_curve_png
    from selective_autonomy.policy.kinds import train_policy
    from selective_autonomy.policy.training import TrainingProgress
    from selective_autonomy.process.schema import load_process

    def show(at: TrainingProgress) -> None:
        note = f"loss {at.loss:.3f}, {at.tokens_per_second:.0f} tokens/s"
        progress.show(context.log, "policy", at.step, at.total, note)

    paths, params = workspace.of(context.partition_key), workspace.process_params(context.partition_key).policy
    train = sessions_of(paths, "train")["train"]
    with stage_run(context, mlflow, paths, "policy", "train") as run:
        run.params(params.model_dump())
        report = train_policy(train, load_process(paths.schema), params, paths.policy, on_step=show)
        facts = report.model_dump(exclude={"losses"})
        if report.losses:  # what is only counted or prompted learns in no steps
            facts["last_loss"] = report.losses[-1]
        run.metrics(facts)
        facts["mlflow_run"] = dg.MetadataValue.url(run.url)
        if report.losses:
            run.curve("loss", report.losses)
            picture = loss_curve_png(report.losses, members=getattr(params, "members", 1))
            run.picture(picture, "loss")
            facts["loss_curve"] = as_markdown(picture, "training loss")
    return made(context, workspace, folder_version(paths.policy), facts)
