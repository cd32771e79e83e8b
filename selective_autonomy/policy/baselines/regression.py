"""TF-IDF and logistic regression on the next head: the cheap baseline every policy has to beat.

Tool only: it names the head, not what is typed into it. Features: words of the last customer message and of
the recent history, the last heads, and what the screen shows and enables.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selective_autonomy.errors import IllegalAction, ModelError
from selective_autonomy.policy.protocol import Alternative
from selective_autonomy.process.actions import head
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import CustomerMessage, OperatorAction, Session
from selective_autonomy.traces.screen import derive_screen, steps

RECENT_MESSAGES = 4  # customer messages counted as recent history, the last one included
RECENT_HEADS = 3
STRENGTH = 1.0  # inverse regularisation
ROUNDS = 25  # more rounds only overfit: on the desk 60 rounds cost a point of tool accuracy and twice the time


class RegressionPolicy:
    """Fitted by `fit`; proposes heads by `propose_heads`."""

    def __init__(self, schema: ProcessSchema, vectorisers: tuple[Any, Any, Any], model: Any) -> None:
        self._schema, self._vectorisers, self._model = schema, vectorisers, model
        self._column = {name: i for i, name in enumerate(model.classes_)}

    @classmethod
    def fit(cls, train: Sequence[Session], schema: ProcessSchema) -> RegressionPolicy:
        """Fit on every operator step of the train split.

        Raises:
            ModelError: the sessions hold fewer than two different heads.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.feature_extraction import DictVectorizer
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        befores, heads = [], []
        for session in train:
            for step in steps(session):
                befores.append(step.before)
                heads.append(head(step.action))
        if len(set(heads)) < 2:
            raise ModelError(f"{len(heads)} steps hold {len(set(heads))} heads; expected at least two to choose from")
        vectorisers = (
            TfidfVectorizer(ngram_range=(1, 2), min_df=3, max_features=3000, sublinear_tf=True),
            TfidfVectorizer(min_df=3, max_features=1500, sublinear_tf=True),
            DictVectorizer(),
        )
        model = LogisticRegression(C=STRENGTH, max_iter=ROUNDS, tol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is meant, see ROUNDS
            model.fit(_matrix(vectorisers, befores, fit=True), heads)
        return cls(schema, vectorisers, model)

    def propose_heads(self, sessions: Sequence[Session], *, top: int = 8) -> list[tuple[Alternative, ...]]:
        """The most likely legal heads of each open session, best first; probabilities sum to 1 over the legal ones.

        A legal head that was never seen in training has probability 0.

        Raises:
            IllegalAction: a session allows no action.
        """
        if not sessions:
            return []
        scores_NA: NDArray[np.float64] = self._model.predict_proba(_matrix(self._vectorisers, sessions))
        return [self._legal(session, row, top) for session, row in zip(sessions, scores_NA, strict=True)]

    def _legal(self, session: Session, scores_A: NDArray[np.float64], top: int) -> tuple[Alternative, ...]:
        legal = legal_heads(self._schema, derive_screen(session))
        if not legal:
            raise IllegalAction(f"session {session.session_id!r} allows no action: it is closed")
        p_A = np.array([scores_A[self._column[name]] if name in self._column else 0.0 for name in legal])
        total = p_A.sum()
        p_A = p_A / total if total > 0 else np.full(len(legal), 1 / len(legal))
        order = np.argsort(-p_A, kind="stable")[:top]
        return tuple(Alternative(head=legal[i], p=float(min(p_A[i], 1.0))) for i in order)


def _matrix(vectorisers: tuple[Any, Any, Any], befores: Sequence[Session], *, fit: bool = False) -> Any:
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
