"""The causal-LM policy: proposals that are legal by construction, from one cached pass over the log."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from selective_autonomy.contract.contract import Contract
from selective_autonomy.contract.pieces import Marker
from selective_autonomy.errors import IllegalAction, ModelError
from selective_autonomy.policy.card import read_card
from selective_autonomy.policy.causal_lm.base import load_model, logits_only_at
from selective_autonomy.policy.causal_lm.branches import CachedPrefix, Layers, PrefixCache, RoomyLayer
from selective_autonomy.policy.causal_lm.decoding import Opening, fill_arguments
from selective_autonomy.policy.causal_lm.prompts import Prompter
from selective_autonomy.policy.causal_lm.spaces import Spaces
from selective_autonomy.policy.causal_lm.tokenizer import Encoder
from selective_autonomy.policy.causal_lm.walk import Walk
from selective_autonomy.policy.protocol import Proposal, RankedHeads
from selective_autonomy.policy.values.field_values import said
from selective_autonomy.policy.values.habits import Place
from selective_autonomy.process.actions import Scalar
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import ProcessSchema, load_process
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen


class CausalLMPolicy:
    """Proposes the next UI action with a Hugging Face causal LM; implements `Policy`.

    The head is the likeliest legal one at the operator marker; its arguments are decoded greedily inside the
    grammar of its fields. Safe to call from several threads: one proposal batch at a time.

    Args:
        schema: the process; a session of another process is a ContractError.
        model, tokenizer: as `policy.base` makes or loads them; the model in evaluation mode, float32.
        context: tokens of prompt and action together.
        usual: values that operators usually give, as `field_values.usual_values` finds them.
        habits: where fields are copied from, as `habits.copy_habits` finds them.
        cache_sessions: how many growing logs keep their keys and values (about 8 kB a token for the default
            model); 0 turns the cache off.
    """

    def __init__(
        self,
        schema: ProcessSchema,
        model: Any,
        tokenizer: Any,
        *,
        context: int,
        usual: Mapping[str, Sequence[Scalar]] | None = None,
        habits: Mapping[str, Sequence[Place]] | None = None,
        cache_sessions: int = 32,
    ) -> None:
        self.contract = Contract(schema)
        self._model = model
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
            fingerprint, context = card["contract_fingerprint"], card["params"]["context"]
            usual = json.loads((path / "usual_values.json").read_text(encoding="utf-8"))
            habits = json.loads((path / "copy_habits.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError) as err:
            raise ModelError(f"{path} holds no trained policy: {err!r}; run the training, or give its folder") from err
        schema = load_process(path / "process.yaml")
        Contract(schema).check_fingerprint(fingerprint, what=f"policy {path}")
        model, tokenizer = load_model(path, device=device)
        return cls(schema, model, tokenizer, context=context, usual=usual, habits=habits, cache_sessions=cache_sessions)

    def propose(self, sessions: Sequence[Session]) -> list[Proposal]:
        """The next action for each open session, in order.

        Raises:
            IllegalAction: a session allows no action (closed, an unknown procedure, no head that can be filled).
            ContractError: a session is of another process.
        """
        heads = [self._legal(session) for session in sessions]
        with self._lock, torch.inference_mode():
            prompted = [self._prompt(session) for session in sessions]
            opened = [
                self._open(session, self._rank(legal, logits), prefix.layers, prefix.ids)
                for session, legal, (logits, prefix) in zip(sessions, heads, prompted, strict=True)
            ]
            proposals = self._finish(opened, sessions)
            for (_, prefix), (_, opening) in zip(prompted, opened, strict=True):
                self._keep(prefix, opening.read if len(sessions) == 1 else [])
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
                logits, layers = self._forward(ids_T, None, cuts)
                befores = [session.before(prompt.position) for prompt in window.prompts]
                openings = [
                    self._open(before, self._rank(self._legal(before), row), layers, ids_T[:cut])
                    for before, row, cut in zip(befores, logits, cuts, strict=True)
                ]
                proposals += self._finish(openings, befores)
        return proposals

    def _legal(self, session: Session) -> tuple[str, ...]:
        """The legal heads whose required fields can be filled."""
        screen = derive_screen(session)
        names = legal_heads(self.contract.schema, screen)
        names = tuple(name for name in names if self._spaces.can_fill(name, session.events))
        if not names:
            raise IllegalAction(
                f"session {session.session_id!r} allows no action: got "
                f"{'a closed case' if screen.closed else 'no head that can be filled'}, expected an open case"
            )
        return names

    def _prompt(self, session: Session) -> tuple[NDArray[np.float64], CachedPrefix]:
        """Logits (V,) at the operator marker of the next step, and what was read: the log and the marker."""
        log_ids = self._prompter.encode(session).windows[-1].ids
        ids_T = np.array([*log_ids, self._prompter.operator_id], dtype=np.int32)
        logits, layers = self._forward(ids_T, self._cache.take(ids_T[:-1]), [len(ids_T)])
        return logits[0], CachedPrefix(ids_T, len(log_ids), layers)

    def _keep(self, prefix: CachedPrefix, read: Sequence[int]) -> None:
        """Cache what was read. The marker and the proposed action count only if the log goes on with them."""
        self._cache.put(CachedPrefix(np.append(prefix.ids, np.array(read, dtype=np.int32)), prefix.log, prefix.layers))

    def _forward(
        self, ids_T: NDArray[np.int32], prefix: CachedPrefix | None, cuts: Sequence[int]
    ) -> tuple[NDArray[np.float64], Layers]:
        """Logits (len(cuts), V) after each `ids_T[:cut]`, and the keys and values of `ids_T`."""
        cache, done = DynamicCache(), 0
        if prefix is None:
            cache.layers = [RoomyLayer() for _ in range(self._model.config.num_hidden_layers)]
        else:
            cache.layers, done = prefix.layers, len(prefix.ids)
        rows = torch.zeros((1, len(ids_T) - done), dtype=torch.bool, device=self._model.device)
        rows[0, [cut - 1 - done for cut in cuts]] = True
        ids = torch.from_numpy(ids_T[done:].astype(np.int64))[None].to(self._model.device)
        with logits_only_at(self._model, rows):
            out = self._model(input_ids=ids, past_key_values=cache, use_cache=True)
        return out.logits.double().cpu().numpy(), cache.layers

    def _rank(self, names: tuple[str, ...], logits_V: NDArray[np.float64]) -> RankedHeads:
        return RankedHeads.of(names, logits_V[[self._encoder.marker_id(Marker(name)) for name in names]])

    def _open(
        self, session: Session, heads: RankedHeads, layers: Layers, prompt_T: NDArray[np.int32]
    ) -> tuple[RankedHeads, Opening]:
        best = heads.names[0]
        walk = Walk(self._encoder, self._spaces, best, session.events)
        return heads, Opening(layers, prompt_T, self._encoder.marker_id(Marker(best)), walk)

    def _finish(self, opened: Sequence[tuple[RankedHeads, Opening]], befores: Sequence[Session]) -> list[Proposal]:
        fill_arguments(self._model, [opening for _, opening in opened], context=self._context)
        return [
            heads.proposal(
                opening.walk.action(),
                opening.walk.evidence(" \n ".join(t for event in before.events for t in said(event))),
                opening.walk.log_prob,
            )
            for (heads, opening), before in zip(opened, befores, strict=True)
        ]
