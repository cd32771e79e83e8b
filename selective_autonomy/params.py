"""`params.yaml`, parsed once into frozen models. An unknown or missing key is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from selective_autonomy.errors import ProcessError
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import ActionType


class SplitShares(Frozen):
    """Shares of the sessions of each stratum, in order of time; they sum to 1."""

    train: float = Field(gt=0, lt=1)
    fit: float = Field(gt=0, lt=1)
    calibrate: float = Field(gt=0, lt=1)
    test: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitShares:
        total = self.train + self.fit + self.calibrate + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"split shares sum to {total}, expected 1")
        return self


class MajorityParams(Frozen):
    """The head that operators chose most often in a session's procedure; the floor of every table."""

    kind: Literal["majority"] = "majority"


class NgramParams(Frozen):
    """The action n-gram: what followed the last heads, and usual values."""

    kind: Literal["ngram"] = "ngram"


class RegressionParams(Frozen):
    """TF-IDF and logistic regression on the next head.

    `rounds` of the optimiser stop it early. Tool accuracy on a third of STAR's fit split: 0.563 after 25 rounds, 0.631
    after 100 (23 s of CPU time). The embedded desk, with 40 heads to STAR's 180, is best at 25.
    """

    kind: Literal["regression"] = "regression"
    rounds: int = Field(default=100, gt=0)


class PromptingParams(Frozen):
    """The paper's prompting baseline: no training, the rules and the procedure in the prompt.

    `base`: a Hugging Face id, a local path or a package that carries weights, for a local instruct model; "endpoint":
    any OpenAI-compatible server, whose URL, model and key whoever loads the policy gives. `prompt`: the process's
    prompt file. `context`: tokens of prompt and answer, local models only; `history`: events of the log that are shown
    at most. bfloat16 is 2 to 3 x faster where the CPU knows it; there scores vary in the second digit.
    """

    kind: Literal["prompting"] = "prompting"
    base: str
    prompt: str
    context: int = Field(default=4096, ge=512)
    history: int = Field(default=24, gt=1)
    dtype: Literal["float32", "bfloat16"] = "float32"


class SecondViewParams(Frozen):
    """A regression on heads beside the language model: its rounds, and the share of its voice."""

    rounds: int = Field(default=100, gt=0)
    weight: float = Field(gt=0, lt=1)


class CausalLMParams(Frozen):
    """How a causal language model is built and trained.

    `base`: "scratch", or any Hugging Face id or local path. The size fields (`hidden`, `layers`, `heads`,
    `vocabulary`) are used for "scratch" only. `context`: tokens. `batch_tokens`: tokens in one optimiser step.
    `lora_rank` 0: full fine-tuning. `warmup`: share of the optimiser steps. `action_weights`: how much a token of an
    action type counts in the loss, 1 where none is given. `label_smoothing`: share of a step that is taken to be
    noise, another operator's choice: it is spread evenly over the process's heads, and so over heads alone.
    `score_heads` says how a head is scored: by its marker token alone ("markers"), or also by its words and its place
    in the procedure ("schema"), which is all that is known of a head never seen. `unnamed`: the share of batches that
    learn without the markers of heads that belong to one procedure. `sentence_encoder`: what reads the heads' texts, a
    package, folder or Hugging Face id; empty: the model's own word embeddings. `argument_weight`: of a token of the
    arguments beside a head, with "schema". `values`: what goes into fields is "written" token by token, or "ranked"
    among the candidates that the log and the schema offer, by `trees` boosted trees. `members`: models of different
    seeds whose probabilities of heads are averaged. `second_view`: a model of another kind that joins them; with
    "schema" it keeps out where an open procedure was never trained on. `dropout`: of features; half of it is the share
    of input tokens that are blanked; with "schema".
    """

    kind: Literal["causal_lm"] = "causal_lm"
    base: str = "scratch"
    hidden: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    vocabulary: int = Field(ge=300)
    context: int = Field(ge=128)
    epochs: int = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    lora_rank: int = Field(ge=0)
    members: int = Field(default=1, gt=0)
    second_view: SecondViewParams | None = None
    score_heads: Literal["markers", "schema"] = "markers"
    unnamed: float = Field(default=0.0, ge=0, lt=1)
    sentence_encoder: str = ""
    values: Literal["written", "ranked"] = "written"
    trees: int = Field(default=200, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    argument_weight: float = Field(default=0.3, ge=0)
    action_weights: dict[ActionType, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    seed: int


class PreferenceParams(Frozen):
    """How a trained policy is moved towards what operators did and away from what they rejected.

    `loss`: DPO is "sigmoid", APO "apo_zero" or "apo_down" (TRL's names). `beta`: how dear it is to leave the policy
    that training started from. `batch_pairs`: pairs in one optimiser step.
    """

    loss: Literal["sigmoid", "apo_zero", "apo_down"]
    beta: float = Field(default=0.1, gt=0)
    learning_rate: float = Field(gt=0)
    epochs: int = Field(default=1, gt=0)
    batch_pairs: int = Field(default=16, gt=0)
    seed: int


DEFAULT_POLICY = "policy"  # what the process's own policy is called beside its rivals
PolicyParams = Annotated[
    MajorityParams | NgramParams | RegressionParams | PromptingParams | CausalLMParams, Field(discriminator="kind")
]


_policy_adapter: TypeAdapter[PolicyParams] = TypeAdapter(PolicyParams)


CalibrationMap = Literal["platt", "isotonic", "venn_abers"]


class CalibrationParams(Frozen):
    """What a critic's calibration is chosen among, on cross-validated log loss. See `critic.by_action`.

    `maps`: at a tie the first. `by_action`: an action type may get a map of its own, where the data support it.
    """

    maps: tuple[CalibrationMap, ...] = Field(default=("platt", "isotonic", "venn_abers"), min_length=1)
    by_action: bool = True


class PolicyProbabilityParams(Frozen):
    """The policy's own probability, calibrated. `seed`: of the folds that the calibration is chosen on."""

    kind: Literal["policy_probability"] = "policy_probability"
    calibration: CalibrationParams = CalibrationParams()
    seed: int


class EvidenceParams(Frozen):
    """Gradient boosting over evidence: number of trees, leaves a tree, shrinkage, rows a leaf.

    `operator_habits`: whether the critic may know who is asked. It ranks better if it does where what the operator does
    is the truth; where operators overlook errors it learns whose errors pass, so not with `adjudicated` labels.
    """

    kind: Literal["evidence"] = "evidence"
    trees: int = Field(gt=0)
    leaves: int = Field(gt=1)
    learning_rate: float = Field(gt=0)
    min_leaf: int = Field(gt=0)
    operator_habits: bool = True
    calibration: CalibrationParams = CalibrationParams(maps=("platt", "isotonic"), by_action=False)
    seed: int


class GenerativeParams(Frozen):
    """The policy's own model, trained on to say accept or reject after an action.

    `layers`: how many of its last layers become the critic's own, 0 for the two rows of the verdict alone.
    """

    kind: Literal["generative"] = "generative"
    layers: int = Field(default=1, ge=0)
    epochs: int = Field(default=2, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    calibration: CalibrationParams = CalibrationParams()
    seed: int


class StackedParams(Frozen):
    """The three others together. Folds are by `seed`, the map by `calibration`, whatever the parts say of theirs."""

    kind: Literal["stacked"] = "stacked"
    evidence: EvidenceParams
    generative: GenerativeParams
    calibration: CalibrationParams = CalibrationParams()
    seed: int


CriticParams = Annotated[
    PolicyProbabilityParams | EvidenceParams | GenerativeParams | StackedParams, Field(discriminator="kind")
]


class CertificateParams(Frozen):
    """Allowed risk per step and per session, confidence, and the number of cuts that are tested in order.

    `alpha_session` None: no promise about whole sessions is asked for. `delta` is shared by the bounds. `adjudicated`:
    rejections are looked at again and probes planted, and the promise is about truly wrong steps; needs a feedback
    source that can say what is true.
    """

    alpha: float = Field(gt=0, lt=1)
    alpha_session: float | None = Field(default=None, gt=0, lt=1)
    delta: float = Field(gt=0, lt=1)
    cuts: int = Field(gt=0)
    adjudicated: bool = False


class PublishedSplit(Frozen):
    """The labels that sessions bear which a corpus was published with to train on, and to measure on."""

    train: dict[str, str] = Field(min_length=1)
    test: dict[str, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _sides_exclude_each_other(self) -> PublishedSplit:
        if not any(self.test.get(label, value) != value for label, value in self.train.items()):
            raise ValueError(f"got {self.train} and {self.test}, which one session could bear together")
        return self


class HoldoutParams(Frozen):
    """What the evaluation of unseen operators and unseen processes keeps out of training.

    `operators`: ids. `operator_labels`: a session that bears all of these labels is its operator's. `procedures`:
    every session that has one of them open. `published`: the corpus's own split.
    """

    operators: tuple[str, ...] = ()
    operator_labels: dict[str, str] = Field(default_factory=dict)
    procedures: tuple[str, ...] = ()
    published: PublishedSplit | None = None


class CurveParams(Frozen):
    """Learning curves: of which procedures, after how many of their train sessions (and after all of them)."""

    procedures: tuple[str, ...] = Field(min_length=1)
    sizes: tuple[Annotated[int, Field(gt=0)], ...] = Field(min_length=1)


class ProcessParams(Frozen):
    """One process through the whole loop.

    `source`: which importer brings its traces. `feedback`: who judges proposals in the copilot replay:
    the desk's simulated operators, or the log (same tool / strictly the same action). `cases`,
    `new_cases`, `seed` are for source "desk". `policy` is the one that is released; `rivals` are trained and measured
    beside it when `selective-autonomy evaluate` is asked to, never released.
    """

    source: Literal["desk", "star", "abcd", "jsonl"]
    cases: int = Field(default=0, ge=0)
    new_cases: int = Field(default=0, ge=0)
    seed: int = 0
    split: SplitShares
    feedback: Literal["desk", "log_tool", "log_strict"]
    policy: PolicyParams
    rivals: dict[str, PolicyParams] = Field(default_factory=dict)
    holdouts: HoldoutParams | None = None
    curves: CurveParams | None = None
    critic: CriticParams
    certificate: CertificateParams

    @model_validator(mode="after")
    def _the_default_has_one_name(self) -> ProcessParams:
        if DEFAULT_POLICY in self.rivals:
            raise ValueError(f"a rival is called {DEFAULT_POLICY!r}, which is the name of the process's own policy")
        return self

    @model_validator(mode="after")
    def _nobody_learns_whose_errors_pass(self) -> ProcessParams:
        trees = self.critic.evidence if isinstance(self.critic, StackedParams) else self.critic
        if self.certificate.adjudicated and isinstance(trees, EvidenceParams) and trees.operator_habits:
            raise ValueError(
                "certificate: adjudicated promises what probes of the average operator show, and a critic with "
                "operator_habits learns whose errors pass; set operator_habits: false, or adjudicated: false"
            )
        return self

    def policy_named(self, name: str) -> PolicyParams:
        """The policy called `name`: "policy" is the process's own, then a rival's name, then a kind.

        A kind means the process's own policy if that is of it, then the first rival of it, then that kind as it is
        without any parameter.

        Raises:
            ProcessError: there is none.
        """
        named = {DEFAULT_POLICY: self.policy, **self.rivals}
        of_kind = [params for params in named.values() if params.kind == name]
        if name in named or of_kind:
            return named[name] if name in named else of_kind[0]
        try:
            return _policy_adapter.validate_python({"kind": name})
        except ValidationError as err:
            raise ProcessError(
                f"no policy {name!r}: expected {sorted(named)}, or a kind that needs no parameters; describe it under "
                "rivals of the process in params.yaml"
            ) from err


class ValidationParams(Frozen):
    """Limits of the trace and feedback expectations (quality_checks/expectations.py says what each is for)."""

    max_bad_share: float = Field(ge=0, le=1)
    max_gap_hours: float = Field(gt=0)
    min_operators: int = Field(ge=1)
    max_operator_share: float = Field(gt=0, le=1)
    min_sessions_per_procedure: int = Field(ge=0)
    min_accept_share: float = Field(ge=0, le=1)
    max_accept_share: float = Field(ge=0, le=1)


class DriftParams(Frozen):
    """Rows that are compared at most and at least; from which effect size on a column counts as drifted.

    `category_threshold`: Jensen-Shannon distance (natural logarithm, 0 to 0.83). `number_threshold`: Wasserstein
    distance in standard deviations of the reference.
    """

    max_rows: int = Field(gt=0)
    min_rows: int = Field(gt=0)
    category_threshold: float = Field(gt=0)
    number_threshold: float = Field(gt=0)


class LabelParams(Frozen):
    """How labels are checked where operators can be asked again: shares of the critical steps, each drawn by itself.

    `second_review_rate`: two colleagues judge the same proposal. `probe_rate`: one operator is shown a proposal whose
    truth is known.
    """

    second_review_rate: float = Field(default=0.1, ge=0, le=1)
    probe_rate: float = Field(default=0.05, ge=0, le=1)


class MixParams(Frozen):
    """The mixing experiment (`selective_autonomy.evaluation.mix`).

    `few`, `many`: shares of the train sessions of each stratum, from its beginning, that are logs; the rest is what
    the early policy proposes on. `train_share`, `held_out_share`: evenly spaced shares of all train and of all
    held-out sessions that take part. `preference_share`: share of the later sessions, first ones first, whose
    corrections become preference pairs: a pair reads its prompt twice, so all would cost more than all other rows.
    """

    train_share: float = Field(default=1.0, gt=0, le=1)
    held_out_share: float = Field(default=1.0, gt=0, le=1)
    few: float = Field(gt=0, lt=1)
    many: float = Field(gt=0, lt=1)
    policy: CausalLMParams
    preferences: PreferenceParams
    preference_share: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _few_before_many(self) -> MixParams:
        if self.few >= self.many:
            raise ValueError(f"few is {self.few}, many is {self.many}, expected few < many")
        return self


class NoiseParams(Frozen):
    """The noise experiment (`selective_autonomy.evaluation.noise`).

    `train`: cases of the embedded desk that its policy is trained on, for `epochs`; `fit`, `calibrate`, `test`:
    sessions of each draw, from `pool` further cases. `seeds`: draws of sessions and of noise;
    `star_seeds`: of noise alone, for STAR's splits stay. `live_seeds`: draws
    whose certificate (calibrate and test sessions) then works `new_cases` fresh cases, beside as many that people work
    alone.
    """

    train: int = Field(gt=0)
    epochs: int = Field(gt=0)
    pool: int = Field(gt=0)
    fit: int = Field(gt=1)
    calibrate: int = Field(gt=1)
    test: int = Field(gt=1)
    probes: int = Field(gt=0)
    alpha: float = Field(gt=0, lt=1)
    alpha_session: float = Field(gt=0, lt=1)
    delta: float = Field(gt=0, lt=1)
    seeds: int = Field(gt=0)
    star_seeds: int = Field(gt=0)
    live_seeds: int = Field(gt=0)
    live_flips: float = Field(ge=0, lt=0.5)
    new_cases: int = Field(gt=0)

    @model_validator(mode="after")
    def _pool_is_enough(self) -> NoiseParams:
        if self.fit + self.calibrate + self.test > self.pool:
            raise ValueError(f"fit, calibrate and test need more sessions than the pool's {self.pool}")
        return self


class Params(Frozen):
    telemetry: Literal[False]
    processes: dict[str, ProcessParams]
    validation: ValidationParams
    drift: DriftParams
    labels: LabelParams = LabelParams()
    mix: dict[str, MixParams] = Field(default_factory=dict)
    noise: dict[str, NoiseParams] = Field(default_factory=dict)
    critics: StackedParams | None = None

    def process(self, process_id: str) -> ProcessParams:
        """The parameters of one process.

        Raises:
            ProcessError: params.yaml has no such process.
        """
        if process_id not in self.processes:
            raise ProcessError(
                f"params.yaml has no process {process_id!r}; expected one of {sorted(self.processes)}, or add it there"
            )
        return self.processes[process_id]


def load_params(path: Path) -> Params:
    """Read params.yaml.

    Raises:
        ProcessError: the file is missing, not YAML, or has an unknown, missing or out-of-range key.
    """
    try:
        return Params.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as err:
        raise ProcessError(f"cannot read {path}: {err}; run from the project's root or give --params") from err
    except (yaml.YAMLError, ValidationError) as err:
        raise ProcessError(f"{path}: {err}") from err
