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
from selective_autonomy.policy.card import read_card
from selective_autonomy.policy.causal_lm.base import load_model
from selective_autonomy.policy.causal_lm.branches import CachedPrefix, Layers, PrefixCache, RoomyLayer
from selective_autonomy.policy.causal_lm.decoding import Opening, fill_arguments
from selective_autonomy.policy.causal_lm.model import PolicyModel
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.scorer import HeadChoices, HeadScorer
from selective_autonomy.policy.causal_lm.spaces import Spaces
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.causal_lm.walk import Walk
from selective_autonomy.policy.protocol import Filled, Proposal, RankedHeads
from selective_autonomy.policy.values.field_values import said
from selective_autonomy.policy.values.habits import Place
from selective_autonomy.policy.values.ranker import RankedValues
from selective_autonomy.process.actions import Scalar
from selective_autonomy.process.comparison import FREE_TEMPLATES
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import ProcessSchema, load_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen


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
        model, tokenizer: the language model as `base` makes or loads it, in evaluation mode, float32.
        context: tokens of prompt and action together.
        ranked: what fills fields; None: the model writes every value itself, token by token. Free text is always
            written by the model.
        usual: values that operators usually give, as `field_values.usual_values` finds them.
        habits: where fields are copied from, as `habits.copy_habits` finds them.
        cache_sessions: how many growing logs keep their keys and values (about 8 kB a token for the default
            model); 0 turns the cache off.
    """

    def __init__(
        self,
        schema: ProcessSchema,
        model: PolicyModel,
        tokenizer: Any,
        *,
        context: int,
        ranked: RankedValues | None = None,
        usual: Mapping[str, Sequence[Scalar]] | None = None,
        habits: Mapping[str, Sequence[Place]] | None = None,
        cache_sessions: int = 32,
    ) -> None:
        self.contract = Contract(schema)
        self._model, self._ranked = model, ranked
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
        lm, tokenizer = load_model(path, device=device)
        scorer = None
        if params.score_heads == "schema":
            encoder = Encoder(Contract(schema), tokenizer)
            scorer = HeadScorer.load(path, schema, encoder, width=lm.get_output_embeddings().weight.shape[1])
        return cls(
            schema,
            PolicyModel(lm, scorer).to(device).eval(),
            tokenizer,
            context=params.context,
            ranked=RankedValues.load(path, schema) if params.values == "ranked" else None,
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
        legal = [self._legal(session) for session in sessions]
        with self._lock, torch.inference_mode():
            prompted = [self._prompt(session) for session in sessions]
            ranked = self._rank(
                sessions, legal, [logits for logits, _, _ in prompted], [states for _, states, _ in prompted]
            )
            opened = [
                self._open(session, heads, prefix.layers, prefix.ids)
                for session, heads, (_, _, prefix) in zip(sessions, ranked, prompted, strict=True)
            ]
            proposals = self._finish(opened, sessions)
            for (_, _, prefix), one in zip(prompted, opened, strict=True):
                self._keep(prefix, one.opening.read if one.opening and len(sessions) == 1 else [])
            return proposals

    def replay(self, session: Session) -> list[Proposal]:
        """One proposal before each operator action of a log: one pass over it, then the arguments of all steps at once.

        Raises:
            IllegalAction: a step allows no action. ContractError: the session is of another process.
        """
        proposals: list[Proposal] = []
        with self._lock, torch.inference_mode():
            for window in self._prompter.encode(session).windows:
                if not window.prompts:
                    continue
                cuts = [prompt.start + 1 for prompt in window.prompts]
                ids_T = np.array(window.ids[: cuts[-1]], dtype=np.int32)
                logits, states, layers = self._forward(ids_T, None, cuts)
                befores = [session.before(prompt.position) for prompt in window.prompts]
                ranked = self._rank(befores, [self._legal(before) for before in befores], logits, states)
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

    def _prompt(self, session: Session) -> tuple[NDArray[np.float64], torch.Tensor, CachedPrefix]:
        """Logits (V,) and state (d,) at the operator marker of the next step, and what was read: log and marker."""
        log_ids = self._prompter.encode(session).windows[-1].ids
        ids_T = np.array([*log_ids, self._prompter.operator_id], dtype=np.int32)
        logits, states, layers = self._forward(ids_T, self._cache.take(ids_T[:-1]), [len(ids_T)])
        return logits[0], states[0], CachedPrefix(ids_T, len(log_ids), layers)

    def _keep(self, prefix: CachedPrefix, read: Sequence[int]) -> None:
        """Cache what was read. The marker and the proposed action count only if the log goes on with them."""
        self._cache.put(CachedPrefix(np.append(prefix.ids, np.array(read, dtype=np.int32)), prefix.log, prefix.layers))

    def _forward(
        self, ids_T: NDArray[np.int32], prefix: CachedPrefix | None, cuts: Sequence[int]
    ) -> tuple[NDArray[np.float64], torch.Tensor, Layers]:
        """Logits (len(cuts), V) and states (len(cuts), d) after each `ids_T[:cut]`, and the keys and values of `ids_T`.

        Where heads are scored by their schema, no logits are needed: (len(cuts), 0).
        """
        cache, done = DynamicCache(), 0
        if prefix is None:
            cache.layers = [RoomyLayer() for _ in range(self._model.lm.config.num_hidden_layers)]
        else:
            cache.layers, done = prefix.layers, len(prefix.ids)
        rows = torch.zeros((1, len(ids_T) - done), dtype=torch.bool, device=self._model.device)
        rows[0, [cut - 1 - done for cut in cuts]] = True
        ids = torch.from_numpy(ids_T[done:].astype(np.int64))[None].to(self._model.device)
        logits_at = rows if self._model.scorer is None else torch.zeros_like(rows)
        logits, states = self._model.read(
            ids, logits_at_BT=logits_at, states_at_BT=rows, past_key_values=cache, use_cache=True
        )
        return logits.double().cpu().numpy(), states, cache.layers

    def _rank(
        self,
        befores: Sequence[Session],
        legal: Sequence[tuple[str, ...]],
        logits: Sequence[NDArray[np.float64]] | NDArray[np.float64],
        states: Sequence[torch.Tensor] | torch.Tensor,
    ) -> list[RankedHeads]:
        scorer = self._model.scorer
        if scorer is None:
            return [
                RankedHeads.of(names, row[[self._encoder.marker_id(Marker(name)) for name in names]])
                for names, row in zip(legal, logits, strict=True)
            ]
        features = [scorer.features.next(before, names) for before, names in zip(befores, legal, strict=True)]
        choices = HeadChoices.of([scorer.indices(names) for names in legal], features, self._model.device)
        named_N = torch.tensor([self._knows(before.procedures) for before in befores], device=self._model.device)
        scores_NK = self._model.head_scores(torch.stack(list(states)), choices, named_N).double().cpu().numpy()
        return [RankedHeads.of(names, row[: len(names)]) for names, row in zip(legal, scores_NK, strict=True)]

    def _knows(self, procedures: tuple[str, ...]) -> bool:
        if procedures not in self._named and self._model.scorer is not None:
            self._named[procedures] = self._model.scorer.knows(procedures)
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
        best = heads.names[0]
        walk = Walk(self._encoder, self._spaces, best, session.events)
        return _Opened(heads, Opening(layers, prompt_T, self._encoder.marker_id(Marker(best)), walk), None)

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
