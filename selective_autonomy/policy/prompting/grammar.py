"""JSON Schemas as grammars over a model's tokens, by llguidance: which tokens may come next, which must."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import ModelError


class Grammars:
    """Compiled schemas for one tokenizer; each is compiled once (3 to 10 ms), the tokenizer's table too (about 1 s)."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        """`vocabulary`: how many logits the model has; may be more than the tokenizer has tokens."""
        self._tokenizer, self._vocabulary = tokenizer, vocabulary
        self._table: Any = None
        self._known: dict[str, Any] = {}

    def start(self, schema: Mapping[str, Any]) -> Grammar:
        """A grammar at its beginning.

        Raises:
            ModelError: llguidance is not installed, or has no grammar for the schema.
        """
        try:
            import llguidance
            from llguidance.hf import from_tokenizer
        except ImportError as err:
            raise ModelError("writing inside a grammar needs llguidance; install the extra 'prompting'") from err
        key = json.dumps(schema, sort_keys=True)
        if key not in self._known:
            if self._table is None:
                self._table = from_tokenizer(self._tokenizer, n_vocab=self._vocabulary)
            text = llguidance.LLMatcher.grammar_from_json_schema(dict(schema), defaults={"whitespace_flexible": False})
            matcher = llguidance.LLMatcher(self._table, text, log_level=0)
            if matcher.is_error():
                raise ModelError(f"no grammar for the JSON Schema {key}: {matcher.get_error()}; simplify the schema")
            self._known[key] = matcher
        return Grammar(self._known[key].deep_copy(), self._vocabulary)


class Grammar:
    """The place in one value that is being written."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary

    @property
    def done(self) -> bool:
        """Nothing can follow."""
        return bool(self._matcher.is_stopped())

    @property
    def may_end(self) -> bool:
        """What is written so far is a whole value."""
        return bool(self._matcher.is_accepting())

    def forced(self) -> list[int]:
        """Tokens that follow in any case; often none."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        return tokens

    def allowed(self) -> NDArray[np.bool_]:
        """(V,): the tokens that may come next."""
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        mask = allocate_token_bitmask(1, self._vocabulary)
        fill_next_token_bitmask(self._matcher, mask)
        return np.unpackbits(mask.view(np.uint8), bitorder="little")[: self._vocabulary].astype(np.bool_)

    def take(self, tokens: Sequence[int]) -> None:
        """Go on behind these tokens.

        Raises:
            ModelError: they are not allowed.
        """
        if not self._matcher.consume_tokens(list(tokens)):
            raise ModelError(f"the grammar refused tokens that it allowed: {self._matcher.get_error()}")
