"""Fine-tune the policy: one pass per session, loss on what the operator did, resumable to the step."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from selective_autonomy.contract.contract import Contract
from selective_autonomy.contract.pieces import Marker, Text
from selective_autonomy.errors import SplitError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.baselines.regression import RegressionHeads
from selective_autonomy.policy.card import CARD, write_card
from selective_autonomy.policy.causal_lm.base import make_base, member_folder, save_model
from selective_autonomy.policy.causal_lm.examples import make_examples, plan_epoch
from selective_autonomy.policy.causal_lm.loss import StepLoss
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.run import TrainingRun
from selective_autonomy.policy.causal_lm.scorer import HeadScorer
from selective_autonomy.policy.causal_lm.team import Alone, Team
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.heads.labels import head_text
from selective_autonomy.policy.heads.sentences import embed_sentences
from selective_autonomy.policy.training import OnStep, TrainingProgress, TrainingReport
from selective_autonomy.policy.values.field_values import usual_values
from selective_autonomy.policy.values.habits import copy_habits
from selective_autonomy.policy.values.ranker import RankedValues
from selective_autonomy.process.schema import ProcessSchema, canonical_json, save_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import Choice

_CHECKPOINT_STEPS = 100  # a minute or two of work on two cores; writing 70 MB takes a fraction of a second
_DONE = "member.json"
_BESIDE = {"members", "second_view", "values", "trees"}  # parameters that no member's training depends on
_LAST_RATE = 0.05  # share of the learning rate at the end of the cosine


def train_causal_lm(
    train: Sequence[Session],
    schema: ProcessSchema,
    params: CausalLMParams,
    out: Path,
    *,
    choice: Choice | None = None,
    on_step: OnStep | None = None,
    resume: bool = True,
    device: str = "cpu",
    converted: Path | None = None,
    team: Team | None = None,
) -> TrainingReport:
    """Train a policy on the train split and save it in `out`, ready for `CausalLMPolicy.load`.

    The same arguments give the same policy, also when a run was killed in between: it goes on from its last
    checkpoint in `out` unless `resume` is False. `policy.json` is written last; without it `out` is no policy.
    Members are trained one after the other, each with a seed of its own.

    Args:
        converted: where the weights of a base that is a package are kept, see `resolve_base`; None: beside `out`.
        choice: which steps of which sessions are learned, e.g. only those where an operator corrected a proposal; the
            others are context. None: all.
        team: the processes that train together, each calling this with the same arguments but its own device; None:
            this one alone. `params.batch_tokens` is the batch of the whole team, so without `dropout` and `unnamed`,
            which each process draws for itself, its size changes no result but rounding. Rank 0 writes; all have to
            see `out`.

    Raises:
        SplitError: no train session holds an operator action that is to be learned.
        ModelError: the base cannot be used; the loss is not finite (the last good checkpoint stays in `out`); the
            processes of the team disagree.
    """
    team = team or Alone()
    out.mkdir(parents=True, exist_ok=True)
    if team.rank == 0:
        (out / CARD).unlink(missing_ok=True)
    reports = []
    for member in range(params.members):
        own = params.model_copy(update={"seed": params.seed + member})
        folder = member_folder(out, member)
        reports.append(
            _train_member(
                train,
                schema,
                own,
                folder,
                choice=choice,
                on_step=_among_members(on_step, member, params.members),
                resume=resume,
                device=device,
                converted=converted or out.parent / "base_models",
                team=team,
            )
        )
    report = _together(reports)
    if team.rank == 0:
        save_process(schema, out / "process.yaml")
        learnt = {
            "usual_values": usual_values(train, schema, choice),
            "copy_habits": copy_habits(train, schema, choice),
        }
        for name, found in learnt.items():
            (out / f"{name}.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
        if params.values == "ranked":
            RankedValues.fit(train, schema, trees=params.trees, seed=params.seed, choice=choice).save(out)
        if params.second_view is not None:
            RegressionHeads.fit(train, schema, rounds=params.second_view.rounds, choice=choice).save(out)
        for member in range(params.members):
            (member_folder(out, member) / _DONE).unlink()
        fingerprint = Contract(schema).fingerprint
        write_card(out, params, schema, contract_fingerprint=fingerprint, training=report.model_dump(mode="json"))
    team.wait()  # nobody returns before the policy is there
    return report


def _train_member(
    train: Sequence[Session],
    schema: ProcessSchema,
    params: CausalLMParams,
    out: Path,
    *,
    choice: Choice | None,
    on_step: OnStep | None,
    resume: bool,
    device: str,
    converted: Path,
    team: Team,
) -> TrainingReport:
    """Train one model of the policy and save it in `out`, with a note that it is done until the policy is whole."""
    torch.manual_seed(params.seed)
    contract = Contract(schema)
    model, tokenizer = make_base(params, contract, written_texts(train, contract), converted=converted)
    encoder = Encoder(contract, tokenizer)
    scorer = _make_scorer(schema, encoder, model, params) if params.score_heads == "schema" else None
    made = make_examples(
        train,
        Prompter(contract, encoder, context=params.context),
        context=params.context,
        choice=choice,
        action_weights=params.action_weights,
        scorer=scorer,
        argument_weight=params.argument_weight,
    )
    examples = made.examples
    if not examples:
        raise SplitError(
            f"got {len(train)} train sessions with no operator action to learn from ({made.unknown} of actions that "
            f"process {schema.id!r} does not know, {made.illegal} that the screen did not allow); expected at least "
            "one; check the import and the split shares"
        )
    lengths = [len(example.ids) for example in examples]
    plan = [
        batch
        for epoch in range(params.epochs)
        for batch in plan_epoch(lengths, batch_tokens=params.batch_tokens, seed=params.seed, epoch=epoch)
    ]
    out.mkdir(parents=True, exist_ok=True)
    digest = _run_digest(train, contract, params, tokenizer, choice)
    team.check_same("runs", digest)
    head_ids = torch.tensor([encoder.marker_id(Marker(name)) for name in contract.heads], device=device)
    if scorer is not None:
        for example in examples:
            scorer.trained_H[[int(head.legal[head.target]) for head in example.heads]] = True
    policy_model = PolicyModel(model, scorer).to(device)
    run = TrainingRun(
        policy_model,
        params,
        StepLoss(head_ids, smoothing=params.label_smoothing),
        pad_id=tokenizer.pad_token_id,
        path=out / "checkpoint.pt",
        digest=digest,
        team=team,
    )
    finished = _finished(out, digest) if resume else None
    if finished is not None:
        return finished
    if resume:
        run.resume()
    resumed_at = run.step
    policy_model.train()
    with denormals_flushed():
        for indices in plan[run.step :]:
            rate = learning_rate(run.step, len(plan), params)
            loss = run.learn([examples[i] for i in indices], learning_rate=rate)
            if run.step % _CHECKPOINT_STEPS == 0:
                run.save()
            if on_step is not None:
                speed = run.tokens / run.seconds
                on_step(TrainingProgress(step=run.step, total=len(plan), loss=loss, tokens_per_second=speed))
    report = TrainingReport(
        sessions=len(train),
        truncated_sessions=made.truncated,
        unknown_actions=made.unknown,
        illegal_actions=made.illegal,
        examples=len(examples),
        learned_tokens=sum(len(example.learned) for example in examples),
        parameters=sum(p.numel() for p in policy_model.parameters()),
        steps=run.step,
        tokens=run.tokens,
        seconds=run.seconds,
        losses=tuple(run.losses),
        resumed_at=resumed_at,
    )
    run.check_team()
    if team.rank == 0:
        save_model(policy_model.lm, tokenizer, out)
        if policy_model.scorer is not None:
            policy_model.scorer.save(out)
        note = {"run": digest, "report": report.model_dump(mode="json")}
        partial = (out / _DONE).with_suffix(".partial")
        partial.write_text(json.dumps(note), encoding="utf-8")
        partial.replace(out / _DONE)
        run.path.unlink(missing_ok=True)
    return report


def _finished(out: Path, digest: str) -> TrainingReport | None:
    """What the very same run said when it ended here; None: it has not."""
    if not (out / _DONE).exists():
        return None
    note = json.loads((out / _DONE).read_text(encoding="utf-8"))
    return TrainingReport.model_validate(note["report"]) if note["run"] == digest else None


def _among_members(on_step: OnStep | None, member: int, members: int) -> OnStep | None:
    """Progress of one member as progress of the whole training."""
    if on_step is None or members == 1:
        return on_step
    return lambda at: on_step(at.model_copy(update={"step": member * at.total + at.step, "total": members * at.total}))


def _together(reports: Sequence[TrainingReport]) -> TrainingReport:
    """One report of all members: the work is theirs together, the data is the same for each."""
    return reports[0].model_copy(
        update={
            "parameters": sum(one.parameters for one in reports),
            "steps": sum(one.steps for one in reports),
            "tokens": sum(one.tokens for one in reports),
            "seconds": sum(one.seconds for one in reports),
            "losses": tuple(loss for one in reports for loss in one.losses),
            "resumed_at": sum(one.resumed_at for one in reports),
        }
    )


def learning_rate(step: int, total: int, params: CausalLMParams) -> float:
    """The rate of a step (0-based): linear warm-up, then a cosine down to a twentieth."""
    warm = max(1, round(params.warmup * total))
    if step < warm:
        return params.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, total - warm)
    return params.learning_rate * (_LAST_RATE + (1 - _LAST_RATE) * (1 + math.cos(math.pi * done)) / 2)


def _make_scorer(schema: ProcessSchema, encoder: Encoder, model: Any, params: CausalLMParams) -> HeadScorer:
    sentences = None
    if params.sentence_encoder:
        sentences = embed_sentences(
            [head_text(schema, name) for name in encoder.contract.heads], params.sentence_encoder
        )
    return HeadScorer(
        schema,
        encoder,
        width=model.get_output_embeddings().weight.shape[1],
        sentences=sentences,
        dropout=params.dropout,
        unnamed=params.unnamed,
    )


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """As the loss nears 0, denormals cost a factor of 20 to 35. The mode is the whole process's, so it is put back."""
    before = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def written_texts(train: Sequence[Session], contract: Contract) -> list[str]:
    """Every text piece of the train sessions, as it will be tokenised."""
    return [
        str(piece)
        for session in train
        for segment in contract.render(session)
        for piece in segment.pieces
        if isinstance(piece, Text)
    ]


def _run_digest(
    train: Sequence[Session], contract: Contract, params: CausalLMParams, tokenizer: Any, choice: Choice | None
) -> str:
    """sha256 of all that determines a member's run: contract, parameters, vocabulary, chosen steps, every log."""
    digest = hashlib.sha256(contract.fingerprint.encode())
    digest.update(canonical_json(params.model_dump(mode="json", exclude=_BESIDE)).encode())
    digest.update(canonical_json(tokenizer.get_vocab()).encode())
    for session in train:
        digest.update(contract.prompt_text(session).encode())
        if choice is not None and session.session_id in choice:
            digest.update(canonical_json(sorted(choice[session.session_id])).encode())
    return digest.hexdigest()
