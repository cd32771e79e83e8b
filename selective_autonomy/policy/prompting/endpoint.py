"""Chat completions of an OpenAI-compatible server: one question, one answer, bounded retries, typed failures."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import httpx
from pydantic import Field, SecretStr

from selective_autonomy.errors import ModelError, NoProposal
from selective_autonomy.frozen import Frozen
from selective_autonomy.policy.prompting.prompt_file import Messages

logger = logging.getLogger(__name__)

_REFUSES_ALL = {401, 403, 404}  # wrong key, address or model: the next question would fare no better
_MOST_ANSWER_TOKENS = 512
_LONGEST_PAUSE_SECONDS = 60.0


class Endpoint(Frozen):
    """Where to ask and how patiently.

    `url`: up to and without `/chat/completions`, e.g. `http://localhost:8000/v1`. `timeout_seconds`: of one attempt.
    `attempts`: in all; only a busy, failing or silent server is asked again, after `backoff_seconds`, then twice that,
    and so on, or as long as it asks for, at most a minute. `response_format`: what the server is asked to keep to;
    answers are checked whatever it is.
    """

    url: str
    model: str
    key: SecretStr | None = None
    timeout_seconds: float = Field(default=60.0, gt=0)
    attempts: int = Field(default=3, ge=1)
    backoff_seconds: float = Field(default=1.0, ge=0)
    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer's text, its tokens with their log-probabilities (None: the server told none), and what it cost."""

    text: str
    tokens: tuple[tuple[str, float], ...] | None
    prompt_tokens: int
    completion_tokens: int


class ChatEndpoint:
    """Asks one endpoint. Keeps its connection open; close it, or use it in a `with`."""

    def __init__(self, endpoint: Endpoint, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.endpoint, self._sleep = endpoint, sleep
        key = endpoint.key.get_secret_value() if endpoint.key is not None else ""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(headers=headers, timeout=endpoint.timeout_seconds)

    def complete(self, messages: Messages, schema: Mapping[str, Any]) -> Completion:
        """The most likely answer to chat messages.

        Args:
            schema: JSON Schema of the answer, told to the server where `response_format` says so.

        Raises:
            NoProposal: no answer in the attempts there are, a refusal of this question, or an answer that is cut off
                or not in the protocol.
            ModelError: the server refuses every question: wrong key, URL or model.
        """
        pause = self.endpoint.backoff_seconds
        for left in reversed(range(self.endpoint.attempts)):
            try:
                return self._ask(messages, schema)
            except _Again as again:
                logger.warning("%s; %d attempts left", again.failure, left)
                if not left:
                    raise again.failure from again
                self._sleep(min(_LONGEST_PAUSE_SECONDS, again.wait_seconds or pause))
                pause *= 2
        raise AssertionError("attempts is at least 1")

    def _ask(self, messages: Messages, schema: Mapping[str, Any]) -> Completion:
        where = f"the endpoint {self.endpoint.url}"
        try:
            response = self._http.post(
                f"{self.endpoint.url.rstrip('/')}/chat/completions", json=self._body(messages, schema)
            )
        except httpx.TimeoutException as err:
            why = f"{where} gave no answer in {self.endpoint.timeout_seconds} s"
            raise _Again(NoProposal(why, reason="timeout")) from err
        except httpx.HTTPError as err:
            raise _Again(NoProposal(f"{where} cannot be reached: {err!r}", reason="unreachable")) from err
        status, said = response.status_code, response.text[:300]
        if status in _REFUSES_ALL:
            raise ModelError(f"{where} answered {status}: {said!r}; check URL, key and model {self.endpoint.model!r}")
        if status == 429 or status >= 500:
            failure = NoProposal(f"{where} answered {status}: {said!r}", reason="unreachable")
            raise _Again(failure, _seconds(response.headers.get("Retry-After")))
        if status != 200:
            raise NoProposal(
                f"{where} refused the question with {status}: {said!r}; if it knows no JSON Schema, "
                "change response_format",
                reason="refused",
            )
        return _read(where, response)

    def _body(self, messages: Messages, schema: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": _MOST_ANSWER_TOKENS,
            "logprobs": True,
        }
        if self.endpoint.response_format == "json_schema":
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "next_action", "schema": schema}}
        elif self.endpoint.response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> ChatEndpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Again(Exception):
    """A failure that may pass. `wait_seconds` 0: the server did not say how long."""

    def __init__(self, failure: NoProposal, wait_seconds: float = 0.0) -> None:
        super().__init__(str(failure))
        self.failure, self.wait_seconds = failure, wait_seconds


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:  # a date: rare, and the own waiting time does as well
        return 0.0


def _read(where: str, response: httpx.Response) -> Completion:
    try:
        answer = response.json()
        choice = answer["choices"][0]
        text, ended = choice["message"]["content"], choice.get("finish_reason")
        listed = (choice.get("logprobs") or {}).get("content")
        tokens = None if listed is None else tuple((str(t["token"]), float(t["logprob"])) for t in listed)
        usage = answer.get("usage") or {}
        spent = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    except (json.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError, ValueError) as err:
        raise NoProposal(f"{where} did not answer as a chat completion: {err!r}", reason="unreadable") from err
    if not isinstance(text, str) or ended == "length":
        raise NoProposal(f"{where} gave no whole answer: got {text!r}, ended by {ended!r}", reason="unreadable")
    return Completion(text, tokens, *spent)
