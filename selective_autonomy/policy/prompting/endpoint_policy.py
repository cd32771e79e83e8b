"""The prompting baseline on any OpenAI-compatible server."""

from __future__ import annotations

import time
from collections.abc import Sequence

from selective_autonomy.errors import IllegalAction
from selective_autonomy.policy.prompting.answers import answer_schema, read_answer
from selective_autonomy.policy.prompting.endpoint import ChatEndpoint
from selective_autonomy.policy.prompting.prompt_file import PromptFile
from selective_autonomy.policy.prompting.rendering import case_messages
from selective_autonomy.policy.prompting.usage import Usage
from selective_autonomy.policy.protocol import Proposal
from selective_autonomy.process.legality import legal_heads
from selective_autonomy.process.schema import ProcessSchema
from selective_autonomy.traces.schema import Session
from selective_autonomy.traces.screen import derive_screen, steps


class EndpointPolicy:
    """Implements `Policy`, one question a step; as deterministic as the server is at temperature 0.

    Where there is no usable answer it raises `NoProposal`; it never puts another action in its place.
    """

    def __init__(self, schema: ProcessSchema, prompt: PromptFile, chat: ChatEndpoint, *, history: int) -> None:
        self.schema, self._prompt, self._chat, self._history = schema, prompt, chat, history
        self.usage = Usage()

    def propose(self, sessions: Sequence[Session]) -> list[Proposal]:
        """The next action of each open session.

        Raises:
            IllegalAction: a session allows no action.
            NoProposal: no usable answer for one of them. Ask one by one to know for which.
            ModelError: the server refuses every question.
        """
        return [self._propose(session) for session in sessions]

    def replay(self, session: Session) -> list[Proposal]:
        """One proposal before each operator action of a log; raises as `propose` does."""
        return [self._propose(step.before) for step in steps(session)]

    def _propose(self, session: Session) -> Proposal:
        legal = legal_heads(self.schema, derive_screen(session))
        if not legal:
            raise IllegalAction(f"session {session.session_id!r} allows no action: it is closed")
        messages = case_messages(self._prompt, self.schema, session, legal, history=self._history)
        started = time.perf_counter()
        completion = self._chat.complete(messages, answer_schema(self.schema, legal))
        self.usage.seconds += time.perf_counter() - started
        self.usage.tokens_read += completion.prompt_tokens
        self.usage.tokens_written += completion.completion_tokens
        return read_answer(self.schema, session, legal, completion)
