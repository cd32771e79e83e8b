"""TF-IDF and logistic regression on the next head: the cheap baseline every policy has to beat.

Features: words of the last customer message and of
the recent history, the last heads, and what the screen shows and enables.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import IllegalAction, ModelError
from selective_autonomy.policy.protocol import RankedHeads
from selective_autonomy.process.actions import head
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, Session
from selective_autonomy.traces.screen import Choice, derive_screen, steps

RECENT_MESSAGES = 4  # customer messages counted as recent history, the last one included
RECENT_HEADS = 3
STRENGTH = 1.0  # inverse regularisation
ROUNDS = 25  # of the desk's yardstick: there 60 rounds cost a point of tool accuracy and twice the time
Vectorisers = tuple[Any, Any, Any]  # of the last message, of the recent ones, of the situation
_UNSEEN_NATS = 30.0  # below the likeliest head: a legal head that train never did
_VERSION = 1
_NAMES, _NUMBERS = "regression.json", "regression.npz"


class RegressionHeads:
    """Implements `HeadModel`: the legal heads by multinomial logistic regression. Fitted by `fit`."""

    def __init__(
        self,
        schema: ProcessSchema,
        vectorisers: Vectorisers,
        heads: Sequence[str],
        weights_AF: NDArray[np.float64],
        bias_A: NDArray[np.float64],
    ) -> None:
        """`weights_AF`, `bias_A`: one row a head of `heads`, one column a feature of the vectorisers, in order."""
        self.schema, self._vectorisers, self._heads = schema, vectorisers, tuple(heads)
        self._weights_AF, self._bias_A = weights_AF, bias_A
        self._row = {name: i for i, name in enumerate(self._heads)}

    @classmethod
    def fit(
        cls, train: Sequence[Session], schema: ProcessSchema, *, rounds: int = ROUNDS, choice: Choice | None = None
    ) -> RegressionHeads:
        """Fit on every chosen operator step of the train split, in at most so many rounds of the optimiser.

        Raises:
            ModelError: the sessions hold fewer than two different heads.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        befores, heads = [], []
        for session in train:
            for step in steps(session, choice):
                befores.append(step.before)
                heads.append(head(step.action))
        if len(set(heads)) < 2:
            raise ModelError(f"{len(heads)} steps hold {len(set(heads))} heads; expected at least two to choose from")
        vectorisers = _new_vectorisers()
        model = LogisticRegression(C=STRENGTH, max_iter=rounds, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is meant, see RegressionParams
            model.fit(_matrix(vectorisers, befores, fit=True), heads)
        weights_AF, bias_A = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # one row: that of the second head against the first
            weights_AF, bias_A = np.vstack([0 * weights_AF, weights_AF]), np.append(0 * bias_A, bias_A)
        return cls(schema, vectorisers, model.classes_.tolist(), weights_AF, bias_A)

    def rank_next(self, sessions: Sequence[Session]) -> list[RankedHeads]:
        legal = [legal_heads(self.schema, derive_screen(session)) for session in sessions]
        for session, names in zip(sessions, legal, strict=True):
            if not names:
                raise IllegalAction(f"session {session.session_id!r} allows no action: it is closed")
        scores = self.scores(sessions, legal)
        return [RankedHeads.of(names, row) for names, row in zip(legal, scores, strict=True)]

    def rank_steps(self, session: Session) -> list[RankedHeads]:
        return self.rank_next([step.before for step in steps(session)])

    def scores(self, sessions: Sequence[Session], legal: Sequence[Sequence[str]]) -> list[NDArray[np.float64]]:
        """The scores (nats, up to a constant) of these heads of each open session, in their order."""
        if not sessions:
            return []
        scores_NA = _matrix(self._vectorisers, sessions) @ self._weights_AF.T + self._bias_A
        unseen_N = scores_NA.max(axis=1) - _UNSEEN_NATS
        return [
            np.array([row[self._row[name]] if name in self._row else unseen for name in names])
            for row, unseen, names in zip(scores_NA, unseen_N, legal, strict=True)
        ]

    def save(self, out: Path) -> None:
        """Write `regression.npz` (numbers) and `regression.json` (heads and features) into the folder `out`."""
        words, before, situation = self._vectorisers
        names = {
            "version": _VERSION,
            "heads": self._heads,
            "last": sorted(words.vocabulary_, key=words.vocabulary_.__getitem__),
            "recent": sorted(before.vocabulary_, key=before.vocabulary_.__getitem__),
            "situation": situation.feature_names_,
        }
        (out / _NAMES).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
        np.savez(
            out / _NUMBERS,
            weights_AF=self._weights_AF,
            bias_A=self._bias_A,
            idf_last=words.idf_,
            idf_recent=before.idf_,
        )

    @classmethod
    def load(cls, path: Path, schema: ProcessSchema) -> RegressionHeads:
        """Read what `save` wrote into a folder: plain numbers and names, nothing that is run.

        Raises:
            ModelError: a file is missing, damaged or of another version.
        """
        try:
            names = json.loads((path / _NAMES).read_text(encoding="utf-8"))
            if names["version"] != _VERSION:
                raise ModelError(f"{path / _NAMES} has version {names['version']!r}, expected {_VERSION}; train again")
            with (path / _NUMBERS).open("rb") as file, np.load(file, allow_pickle=False) as numbers:
                vectorisers = _new_vectorisers(names["last"], names["recent"])
                vectorisers[0].idf_, vectorisers[1].idf_ = numbers["idf_last"], numbers["idf_recent"]
                weights_AF, bias_A = numbers["weights_AF"], numbers["bias_A"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as err:
            raise ModelError(f"{path} holds no regression on heads: {err!r}; train the policy again") from err
        vectorisers[2].feature_names_ = names["situation"]
        vectorisers[2].vocabulary_ = {name: i for i, name in enumerate(names["situation"])}
        features = len(names["last"]) + len(names["recent"]) + len(names["situation"])
        if weights_AF.shape != (len(names["heads"]), features) or bias_A.shape != weights_AF.shape[:1]:
            raise ModelError(f"{path}: {weights_AF.shape} weights do not fit the names; train the policy again")
        return cls(schema, vectorisers, names["heads"], weights_AF, bias_A)


def _new_vectorisers(last: Sequence[str] | None = None, recent: Sequence[str] | None = None) -> Vectorisers:
    """Unfitted, or with the vocabularies given, columns in their order; the situation has none before it is fitted."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.feature_extraction.text import TfidfVectorizer

    return (
        TfidfVectorizer(ngram_range=(1, 2), min_df=3, max_features=3000, sublinear_tf=True, vocabulary=last),
        TfidfVectorizer(min_df=3, max_features=1500, sublinear_tf=True, vocabulary=recent),
        DictVectorizer(),
    )


def _matrix(vectorisers: Vectorisers, befores: Sequence[Session], *, fit: bool = False) -> Any:
    from scipy.sparse import hstack

    columns = list(zip(*(_features(before) for before in befores), strict=True))
    blocks = [
        vectoriser.fit_transform(column) if fit else vectoriser.transform(column)
        for vectoriser, column in zip(vectorisers, columns, strict=True)
    ]
    return hstack(blocks).tocsr()


def _features(before: Session) -> tuple[str, str, dict[str, float]]:
    """Last customer message, recent messages, and the situation as named indicators.

    Digits are folded to 0, so that an id is a word of its length. Shown values count by their words where
    they are lower-case status words, else by their presence: names and numbers belong to one case.
    """
    messages = [e.text for e in before.events if isinstance(e, CustomerMessage)][-RECENT_MESSAGES:]
    messages = [re.sub(r"[0-9]", "0", text) for text in messages]
    heads = [head(e.action) for e in before.events if isinstance(e, OperatorAction)]
    screen = derive_screen(before)
    situation = {f"screen={screen.screen}": 1.0, f"last={before.events[-1].kind if before.events else ''}": 1.0}
    for back in range(1, RECENT_HEADS + 1):
        situation[f"head-{back}={heads[-back] if back <= len(heads) else ''}"] = 1.0
    situation |= {f"did={name}": 1.0 for name in heads}
    situation |= {f"form={name}": 1.0 for name in screen.forms or ()}
    situation |= {f"control={name}": 1.0 for name in screen.controls or ()}
    for form, values in screen.shown.items():
        for name, value in values.items():
            text = str(value)
            shown = text if text.replace(" ", "").isalpha() and text.islower() else "given"
            situation[f"{form}.{name}={shown}"] = 1.0
    return messages[-1] if messages else "", " ".join(messages[:-1]), situation
