"""The causal-LM policy: proposals that are legal by construction, from one cached pass over the log."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from selective_autonomy.contract.actions import TEXT_HEADS, build_action
from selective_autonomy.contract.contract import Contract
from selective_autonomy.contract.pieces import Marker
from selective_autonomy.errors import IllegalAction, ModelError
from selective_autonomy.params import CausalLMParams
from selective_autonomy.policy.baselines.regression import RegressionHeads
from selective_autonomy.policy.card import read_card
from selective_autonomy.policy.causal_lm.base import load_model, member_folder
from selective_autonomy.policy.causal_lm.branches import CachedPrefix, Layers, PrefixCache, RoomyLayer
from selective_autonomy.policy.causal_lm.decoding import Opening, fill_arguments
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.scorer import HeadChoices, HeadScorer
from selective_autonomy.policy.causal_lm.spaces import Spaces
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.causal_lm.walk import Walk
from selective_autonomy.policy.protocol import Filled, Proposal, RankedHeads
from selective_autonomy.policy.second_view import SecondView
from selective_autonomy.policy.values.field_values import said
from selective_autonomy.policy.values.habits import Place
from selective_autonomy.policy.values.ranker import RankedValues
from selective_autonomy.process.actions import Scalar
from selective_autonomy.process.comparison import FREE_TEMPLATES
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import ProcessSchema, load_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen

_LEAST_P = 1e-30  # log of a smaller probability says nothing more


@dataclass(frozen=True, slots=True)
class Read:
    """What a model makes of N places: logits (N, V), (0, V) where heads are scored by their schema; states (N, d)."""

    logits: torch.Tensor
    states: torch.Tensor


def _load_member(folder: Path, schema: ProcessSchema, params: CausalLMParams, device: str) -> tuple[PolicyModel, Any]:
    lm, tokenizer = load_model(folder, device=device)
    scorer = None
    if params.score_heads == "schema":
        encoder = Encoder(Contract(schema), tokenizer)
        scorer = HeadScorer.load(folder, schema, encoder, width=lm.get_output_embeddings().weight.shape[1])
    return PolicyModel(lm, scorer).to(device).eval(), tokenizer


@dataclass(frozen=True, slots=True)
class _Opened:
    """A step whose head is chosen (the first of `heads`): either `opening` is to be walked, or it is `filled`."""

    heads: RankedHeads
    opening: Opening | None
    filled: Filled | None


class CausalLMPolicy:
    """Proposes the next UI action with a Hugging Face causal LM; implements `Policy`.

    The head is the likeliest legal one at the operator marker; its arguments are decoded greedily inside the
    grammar of its fields. Safe to call from several threads: one proposal batch at a time.

    Args:
        schema: the process; a session of another process is a ContractError.
        models: in evaluation mode, float32, all for the same tokenizer; their probabilities of heads are averaged, and
            the first one writes.
        tokenizer: as `base` makes or loads it.
        context: tokens of prompt and action together.
        ranked: what fills fields; None: the model writes every value itself, token by token. Free text is always
            written by the model.
        second: joins the mean of the models' probabilities.
        usual: values that operators usually give, as `field_values.usual_values` finds them.
        habits: where fields are copied from, as `habits.copy_habits` finds them.
        cache_sessions: how many growing logs keep their keys and values (about 8 kB a token for the default
            model); 0 turns the cache off.
    """

    def __init__(
        self,
        schema: ProcessSchema,
        models: Sequence[PolicyModel],
        tokenizer: Any,
        *,
        context: int,
        ranked: RankedValues | None = None,
        second: SecondView | None = None,
        usual: Mapping[str, Sequence[Scalar]] | None = None,
        habits: Mapping[str, Sequence[Place]] | None = None,
        cache_sessions: int = 32,
    ) -> None:
        self.contract = Contract(schema)
        self._models, self._ranked, self._second = tuple(models), ranked, second
        self._model = self._models[0]
        self._depth = self._model.lm.config.num_hidden_layers
        self._named: dict[tuple[str, ...], bool] = {}
        self._encoder = Encoder(self.contract, tokenizer)
        self._prompter = Prompter(self.contract, self._encoder, context=context)
        self._spaces = Spaces(self._encoder, usual or {}, habits or {})
        self._context = context
        self._cache = PrefixCache(cache_sessions)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", cache_sessions: int = 32) -> CausalLMPolicy:
        """A policy from the folder that `train_causal_lm` wrote. Reads no network.

        Raises:
            ModelError: the folder is no policy. ContractError: it was trained under another contract.
        """
        card = read_card(path)
        try:
            fingerprint, params = card["contract_fingerprint"], CausalLMParams.model_validate(card["params"])
            usual = json.loads((path / "usual_values.json").read_text(encoding="utf-8"))
            habits = json.loads((path / "copy_habits.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError) as err:
            raise ModelError(f"{path} holds no trained policy: {err!r}; run the training, or give its folder") from err
        schema = load_process(path / "process.yaml")
        Contract(schema).check_fingerprint(fingerprint, what=f"policy {path}")
        second = None
        if params.second_view is not None:
            second = SecondView(RegressionHeads.load(path, schema), params.second_view.weight)
        members = [_load_member(member_folder(path, n), schema, params, device) for n in range(params.members)]
        return cls(
            schema,
            [model for model, _ in members],
            members[0][1],
            context=params.context,
            ranked=RankedValues.load(path, schema) if params.values == "ranked" else None,
            second=second,
            usual=usual,
            habits=habits,
            cache_sessions=cache_sessions,
        )

    def propose(self, sessions: Sequence[Session]) -> list[Proposal]:
        """The next action for each open session, in order.

        Raises:
            IllegalAction: a session allows no action (closed, an unknown procedure, no head that can be filled).
            ContractError: a session is of another process.
        """
        if not sessions:
            return []
        legal = [self._legal(session) for session in sessions]
        with self._lock, torch.inference_mode():
            prompted = [self._prompt(session) for session in sessions]
            # Each session by itself: one sum in another order is enough for a tree of the critic to fall the other way.
            opened = [
                self._open(session, self._rank([session], [names], read)[0], prefix.layers, prefix.ids)
                for session, names, (read, prefix) in zip(sessions, legal, prompted, strict=True)
            ]
            proposals = self._finish(opened, sessions)
            # What was written is in the layers of the first model, and there only if it wrote for one session alone.
            keeps = len(sessions) == len(self._models) == 1
            for (_, prefix), one in zip(prompted, opened, strict=True):
                self._keep(prefix, one.opening.read if one.opening and keeps else [])
            return proposals

    def replay(self, session: Session) -> list[Proposal]:
        """One proposal before each operator action of a log: one pass over it, then the arguments of all steps at once.

        Raises:
            IllegalAction: a step allows no action, or none that can be filled.
            ContractError: the session is of another process.
        """
        proposals: list[Proposal] = []
        with self._lock, torch.inference_mode():
            for window in self._prompter.encode(session).windows:
                if not window.prompts:
                    continue
                cuts = [prompt.start + 1 for prompt in window.prompts]
                ids_T = np.array(window.ids[: cuts[-1]], dtype=np.int32)
                read, layers = self._forward(ids_T, None, cuts)
                befores = [session.before(prompt.position) for prompt in window.prompts]
                ranked = self._rank(befores, [self._legal(before) for before in befores], read)
                opened = [
                    self._open(before, heads, layers, ids_T[:cut])
                    for before, heads, cut in zip(befores, ranked, cuts, strict=True)
                ]
                proposals += self._finish(opened, befores)
        return proposals

    def tokens_read(self, session: Session) -> int:
        """Tokens of the one pass of `replay`: each window up to its last operator marker."""
        windows = self._prompter.encode(session).windows
        return sum(window.prompts[-1].start + 1 for window in windows if window.prompts)

    def _legal(self, session: Session) -> tuple[str, ...]:
        """The legal heads; where the model writes values, those whose required fields can be filled."""
        screen = derive_screen(session)
        names = legal_heads(self.contract.schema, screen)
        if self._ranked is None:
            names = tuple(name for name in names if self._spaces.can_fill(name, session.events))
        if not names:
            raise IllegalAction(
                f"session {session.session_id!r} allows no action: got "
                f"{'a closed case' if screen.closed else 'no head that can be filled'}, expected an open case"
            )
        return names

    def _prompt(self, session: Session) -> tuple[list[Read], CachedPrefix]:
        """What each model makes of the next step's operator marker, and what was read: log and marker."""
        log_ids = self._prompter.encode(session).windows[-1].ids
        ids_T = np.array([*log_ids, self._prompter.operator_id], dtype=np.int32)
        read, layers = self._forward(ids_T, self._cache.take(ids_T[:-1]), [len(ids_T)])
        return read, CachedPrefix(ids_T, len(log_ids), layers)

    def _keep(self, prefix: CachedPrefix, read: Sequence[int]) -> None:
        """Cache what was read. The marker and the proposed action count only if the log goes on with them."""
        self._cache.put(CachedPrefix(np.append(prefix.ids, np.array(read, dtype=np.int32)), prefix.log, prefix.layers))

    def _forward(
        self, ids_T: NDArray[np.int32], prefix: CachedPrefix | None, cuts: Sequence[int]
    ) -> tuple[list[Read], Layers]:
        """What each model makes of every `ids_T[:cut]`; the keys and values of `ids_T`, one model's after another."""
        done = 0 if prefix is None else len(prefix.ids)
        ids = torch.from_numpy(ids_T[done:].astype(np.int64))[None].to(self._model.device)
        rows = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
        rows[0, [cut - 1 - done for cut in cuts]] = True
        read: list[Read] = []
        layers: Layers = []
        for member, model in enumerate(self._models):
            cache, first = DynamicCache(), member * self._depth
            cache.layers = (
                [RoomyLayer() for _ in range(self._depth)]
                if prefix is None
                else prefix.layers[first : first + self._depth]
            )
            logits_at = rows if model.scorer is None else torch.zeros_like(rows)
            logits, states = model.read(
                ids, logits_at_BT=logits_at, states_at_BT=rows, past_key_values=cache, use_cache=True
            )
            read.append(Read(logits, states))
            layers += cache.layers
        return read, layers

    def _rank(
        self, befores: Sequence[Session], legal: Sequence[tuple[str, ...]], read: Sequence[Read]
    ) -> list[RankedHeads]:
        """Legal heads by the mean of the views' probabilities. `read`: one for each model, one row a step."""
        choices = self._choices(befores, legal)
        named_N = torch.tensor([self._knows(before.procedures) for before in befores], device=self._model.device)
        p_MNK = np.stack(
            [self._head_p(model, legal, one, choices, named_N) for model, one in zip(self._models, read, strict=True)]
        )
        p_NK = p_MNK.mean(axis=0)
        if self._second is not None:
            p_NK = self._second.join(befores, legal, p_NK, named_N.cpu().numpy())
        return [RankedHeads.of(names, np.log(row[: len(names)])) for names, row in zip(legal, p_NK, strict=True)]

    def _choices(self, befores: Sequence[Session], legal: Sequence[tuple[str, ...]]) -> HeadChoices | None:
        scorer = self._model.scorer
        if scorer is None:
            return None
        features = [scorer.features.next(before, names) for before, names in zip(befores, legal, strict=True)]
        return HeadChoices.of([scorer.indices(names) for names in legal], features, self._model.device)

    def _head_p(
        self,
        model: PolicyModel,
        legal: Sequence[tuple[str, ...]],
        read: Read,
        choices: HeadChoices | None,
        named_N: torch.Tensor,
    ) -> NDArray[np.float64]:
        """Probabilities (N, K) of the legal heads; next to nothing where nothing is legal."""
        if choices is not None:
            scores_NK = model.head_scores(read.states, choices, named_N).double().cpu()
        else:
            scores_NK = torch.full((len(legal), max(map(len, legal))), float("-inf"), dtype=torch.float64)
            for row, names, logits_V in zip(scores_NK, legal, read.logits, strict=True):
                row[: len(names)] = logits_V[[self._encoder.marker_id(Marker(name)) for name in names]].double().cpu()
        p_NK: NDArray[np.float64] = scores_NK.softmax(dim=-1).clamp(min=_LEAST_P).numpy()
        return p_NK

    def _knows(self, procedures: tuple[str, ...]) -> bool:
        """Whether markers of heads may be used with these procedures open, see `HeadScorer`."""
        if procedures not in self._named:
            scorer = self._model.scorer
            self._named[procedures] = scorer is None or scorer.knows(procedures)
        return self._named[procedures]

    def _open(self, session: Session, heads: RankedHeads, layers: Layers, prompt_T: NDArray[np.int32]) -> _Opened:
        """The likeliest head and how it is filled: at once, or by a walk that is still to be gone."""
        if self._ranked is not None:
            for place, name in enumerate(heads.names):
                able = heads.without(place) if place else heads
                if _is_written(name):
                    heads = able
                    break
                filled = self._ranked.fill(session, name)
                if filled is not None:
                    return _Opened(able, None, filled)
            else:
                raise IllegalAction(
                    f"session {session.session_id!r} allows no action: none of its {len(heads.names)} legal heads can "
                    "be filled, expected a value for every required field of one of them"
                )
        best = heads.names[0]
        walk = Walk(self._encoder, self._spaces, best, session.events)
        return _Opened(
            heads, Opening(layers[: self._depth], prompt_T, self._encoder.marker_id(Marker(best)), walk), None
        )

    def _finish(self, opened: Sequence[_Opened], befores: Sequence[Session]) -> list[Proposal]:
        fill_arguments(
            self._model.lm, [one.opening for one in opened if one.opening is not None], context=self._context
        )
        proposals = []
        for one, before in zip(opened, befores, strict=True):
            if one.opening is not None:
                walk = one.opening.walk
                said_before = " \n ".join(text for event in before.events for text in said(event))
                proposals.append(one.heads.proposal(walk.action(), walk.evidence(said_before), walk.log_prob))
            elif one.filled is not None:
                values = {argument.field: argument.value for argument in one.filled.arguments}
                action = build_action(one.heads.names[0], values)
                proposals.append(one.heads.proposal(action, one.filled.arguments, one.filled.log_prob))
        return proposals


def _is_written(head: str) -> bool:
    """True for heads whose argument is the operator's own words: nothing to choose among."""
    return head in TEXT_HEADS or head.partition(":")[2] in FREE_TEMPLATES
