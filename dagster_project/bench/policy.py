"""`make bench-policy`: packed training against one sequence a step, and a decision with the cache against without."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from dagster_project.bench.rivals import Rival, packed_examples, per_step_examples, race
from dagster_project.bench.serving import alternatives, cached_over_uncached, decisions, precisions
from dagster_project.corpus import fetch_corpus
from dagster_project.evidence import write_evidence
from selective_autonomy.contract.contract import Contract
from selective_autonomy.contract.pieces import Marker
from selective_autonomy.desk.process import load_desk_process
from selective_autonomy.desk.simulate import simulate_sessions
from selective_autonomy.errors import ModelError, SplitError
from selective_autonomy.params import CausalLMParams, load_params
from selective_autonomy.policy.causal_lm.base import make_base
from selective_autonomy.policy.causal_lm.loss import StepLoss
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.policy import CausalLMPolicy
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.run import TrainingRun
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.causal_lm.training import written_texts
from selective_autonomy.policy.kinds import load_policy, train_policy
from selective_autonomy.policy.values.field_values import usual_values
from selective_autonomy.policy.values.habits import copy_habits
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.importers.manifest import read_manifest
from selective_autonomy.traces.importers.star import import_star
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import steps
from selective_autonomy.traces.splits import assign_splits

if TYPE_CHECKING:
    from rich.table import Table

NAME = "policy-speed"


@dataclass(frozen=True)
class Setting:
    """How much is measured. `cases`: desk cases; None: STAR. `served_steps`: length of the served sessions."""

    train: int
    held_out: int
    epochs: int
    most_times: float
    served: int
    served_steps: int
    cases: int | None = None
    hidden: int | None = None


FULL = Setting(train=160, held_out=40, epochs=2, most_times=8, served=8, served_steps=30)
SMALL = Setting(train=40, held_out=10, epochs=1, most_times=3, served=2, served_steps=12, cases=120, hidden=64)


def run_policy_bench(
    *, root: Path, console: Console, source: Path | None, small: bool, pretrained: Path | None = None
) -> dict[str, Any]:
    """Measure, and write `docs/benchmarks/policy-speed.json` unless `small`.

    Args:
        source: the folder of STAR; None: data/raw, else its public home. `small` works on the embedded desk.
        pretrained: folder of a Hugging Face model whose decisions are timed, too, untrained.
    """
    started = time.monotonic()
    setting = SMALL if small else FULL
    params, schema, train, fit = _data(root, console, source, setting)
    torch.manual_seed(params.seed)
    contract = Contract(schema)
    texts = written_texts(train, contract)
    with tempfile.TemporaryDirectory() as folder:
        rivals, prompter = _rivals(params, contract, texts, train, Path(folder))
        held_out, _ = packed_examples(fit[: setting.held_out], prompter)
        with console.status("training, both ways in turn …") as status:
            raced = race(
                *rivals,
                held_out=held_out,
                learning_rate=params.learning_rate,
                epochs=setting.epochs,
                most_times=setting.most_times,
                on_update=status.update,
            )
    packed, per_step = rivals
    speed = {rival.name: rival.learned_steps / rival.wall_seconds for rival in rivals}
    speed_cpu = {rival.name: rival.learned_steps / rival.cpu_seconds for rival in rivals}
    training = {
        **raced,
        "packed_over_per_step": speed["packed"] / speed["per_step"],
        "packed_over_per_step_cpu": speed_cpu["packed"] / speed_cpu["per_step"],
        "steps_per_second": speed,
        "tokens_a_step": {rival.name: rival.tokens_a_step for rival in rivals},
        "updates": {rival.name: rival.run.step for rival in rivals},
        "curves_cpu_wall_nats": {rival.name: rival.curve for rival in rivals},
    }
    long = _longest(fit, setting)
    learnt = {"usual": usual_values(train, schema), "habits": copy_habits(train, schema)}

    def serve(model: Any, cache: int = 4) -> CausalLMPolicy:
        tokenizer = prompter.encoder.tokenizer
        return CausalLMPolicy(
            schema, [PolicyModel(model)], tokenizer, context=params.context, cache_sessions=cache, **learnt
        )

    model = packed.run.model.lm.eval()
    with tempfile.TemporaryDirectory() as folder, console.status("training the policy that is served …"):
        # As params.yaml has it, members, scorer and ranker included, but for one epoch: its choices matter little here.
        train_policy(train, schema, params.model_copy(update={"epochs": 1}), Path(folder))
        cached, uncached = load_policy(Path(folder), cache_sessions=4), load_policy(Path(folder), cache_sessions=0)
    if not isinstance(cached, CausalLMPolicy) or not isinstance(uncached, CausalLMPolicy):
        raise ModelError("only a causal language model keeps a cache; params.yaml asks for another kind of policy")
    with console.status("deciding, with the cache and without …"):
        serving = cached_over_uncached(cached, uncached, long, setting.served_steps)
        lower = precisions(serve, model, long[:3], setting.served_steps)
        scored = alternatives(serve(model, 0), decisions(long[0], setting.served_steps)[-1], repeats=9)
        other = {} if pretrained is None else _pretrained(params, contract, pretrained, long, setting)
    results = {
        "packed_over_per_step": training["packed_over_per_step"],
        "cached_over_uncached_median": serving["cached_over_uncached_median"],
        "process": schema.id,
        "train_sessions": len(train),
        "train_steps": sum(per_step.steps),
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "training": training,
        "serving": serving,
        "precision": lower,
        "alternatives": scored,
        "pretrained": other,
    }
    if not small:
        write_evidence(
            root,
            NAME,
            command="make bench-policy",
            seed=params.seed,
            seconds=time.monotonic() - started,
            results=results,
        )
    return results


def policy_table(results: dict[str, Any]) -> Table:
    """Both ratios side by side, with the bars they are held to."""
    from rich.table import Table

    table = Table(title=f"speed of the policy, {results['process']}, as ratios of one run", title_justify="left")
    for name in ("", "ratio", "must", "aim"):
        table.add_column(name, justify="left" if not name else "right")
    training, serving = results["training"], results["serving"]
    limit = "" if training["reached"] else "more than "
    table.add_row("operator steps learned a second, packed over one sequence a step",
                  f"{results['packed_over_per_step']:.1f} x", ">= 5 x", ">= 10 x")  # fmt: skip
    table.add_row("time to equal held-out loss, one sequence a step over packed",
                  f"{limit}{training['time_to_equal_loss_wall']:.1f} x", "", "")  # fmt: skip
    table.add_row(f"next decision of {serving['steps_a_session']}-step sessions, cache over none, median",
                  f"{results['cached_over_uncached_median']:.2f} x", "<= 0.35 x", "<= 0.2 x")  # fmt: skip
    table.add_row("the same, last decision of a session alone",
                  f"{serving['cached_over_uncached_last_decision']:.2f} x", "", "")  # fmt: skip
    for name, found in results["precision"].items():
        table.add_row(f"a cached decision in {name} over fp32 (same action {100 * found['same_action']:.1f} %)",
                      f"{found['over_fp32_median']:.2f} x", "", "")  # fmt: skip
    table.add_row(f"{results['alternatives']['heads']:.0f} legal heads in one batch over one by one",
                  f"{results['alternatives']['batch_over_one_by_one']:.2f} x", "", "")  # fmt: skip
    return table


def _data(
    root: Path, console: Console, source: Path | None, setting: Setting
) -> tuple[CausalLMParams, ProcessSchema, list[Session], list[Session]]:
    """Parameters, schema, an evenly drawn part of the train sessions, and the fit sessions."""
    name = "star" if setting.cases is None else "broadband"
    chosen = load_params(root / "params.yaml").process(name)
    if setting.cases is None:
        fetch_corpus("star", root / "data", source, console)
        imported = import_star(
            root / "data" / "raw" / "star", manifest=read_manifest(root / "data" / "manifests" / "star.sha256")
        )
        sessions, schema = list(imported.sessions), imported.schema
    else:
        sessions, schema = simulate_sessions(chosen.seed, setting.cases), load_desk_process()
    sides = assign_splits(sessions, chosen.split)
    train = [session for session in sessions if sides.get(session.session_id) == "train"]
    fit = [session for session in sessions if sides.get(session.session_id) == "fit"]
    params = chosen.policy
    if not isinstance(params, CausalLMParams):
        params = CausalLMParams(
            hidden=192, layers=3, heads=4, vocabulary=8000, context=2048, epochs=4, batch_tokens=2048,
            learning_rate=4e-3, warmup=0.1, weight_decay=0.05, lora_rank=0, seed=7,
        )  # fmt: skip
    if setting.hidden is not None:
        params = params.model_copy(update={"hidden": setting.hidden, "layers": 2})
    return params, schema, train[:: max(1, len(train) // setting.train)][: setting.train], fit


def _rivals(
    params: CausalLMParams, contract: Contract, texts: list[str], train: Sequence[Session], folder: Path
) -> tuple[tuple[Rival, Rival], Prompter]:
    """The two ways to train: equal models and optimisers, equal sessions, equal tokens an update."""
    rivals = []
    for name, examples_of in (("packed", packed_examples), ("per_step", per_step_examples)):
        torch.manual_seed(params.seed)
        model, tokenizer = make_base(params, contract, texts)
        prompter = Prompter(contract, Encoder(contract, tokenizer), context=params.context)
        head_ids = torch.tensor([prompter.encoder.marker_id(Marker(head)) for head in contract.heads])
        run = TrainingRun(
            PolicyModel(model.train()),
            params,
            StepLoss(head_ids),
            pad_id=tokenizer.pad_token_id,
            path=folder / f"{name}.pt",
            digest=name,
        )
        examples, taught = examples_of(train, prompter)
        rivals.append(Rival(name, run, examples, taught, params.batch_tokens, params.seed))
    return (rivals[0], rivals[1]), prompter


def _longest(fit: Sequence[Session], setting: Setting) -> list[Session]:
    """Sessions with enough steps to be served. Raises SplitError where there is none."""
    long = [session for session in fit if sum(1 for _ in steps(session)) >= setting.served_steps]
    if not long:
        raise SplitError(f"no fit session has {setting.served_steps} steps, expected one at least; give other traces")
    return long[: setting.served]


def _pretrained(
    params: CausalLMParams, contract: Contract, folder: Path, long: Sequence[Session], setting: Setting
) -> dict[str, Any]:
    """The cache's gain on a pretrained model as it comes: its choices are arbitrary, its time is not."""
    model, tokenizer = make_base(params.model_copy(update={"base": str(folder)}), contract, [])

    def serve(cache: int) -> CausalLMPolicy:
        return CausalLMPolicy(
            contract.schema, [PolicyModel(model.eval())], tokenizer, context=params.context, cache_sessions=cache
        )

    return cached_over_uncached(serve(4), serve(0), long[:1], setting.served_steps)
