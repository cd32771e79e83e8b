"""Chat messages as tokens, and whether a model can be prompted with them at all."""

from __future__ import annotations

from typing import Any

from selective_autonomy.errors import ModelError
from selective_autonomy.policy.prompting.prompt_file import Messages

_PROBE = "My parcel P123 is lost."


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of plain text; what looks like a special token stays text."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """The tokens of chat messages up to where the answer begins. Text in them cannot forge a turn."""
    marks = [f"\u2063{i}\u2063" for i in range(len(messages))]  # stand-ins: the template sees no foreign text
    marked = [{**message, "content": mark} for message, mark in zip(messages, marks, strict=True)]
    rest = tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=True)
    ids: list[int] = []
    for mark, message in zip(marks, messages, strict=True):
        before, found, rest = rest.partition(mark)
        if not found:
            raise ModelError("the chat template leaves a message out; choose an instruct model with system messages")
        ids += tokenizer(before, add_special_tokens=False)["input_ids"]
        ids += text_ids(tokenizer, message["content"])
    return ids + list(tokenizer(rest, add_special_tokens=False)["input_ids"])


def check_instruct(base: str, model: Any, tokenizer: Any, *, context: int) -> None:
    """Raise unless a model can be prompted as a chat of `context` tokens.

    Raises:
        ModelError: no usable tokenizer, no chat template, one that refuses a system message or loses text, or a
            shorter context. Says what to change.
    """
    reads = getattr(model.config, "max_position_embeddings", None)
    if reads is not None and reads < context:
        raise ModelError(f"base {base!r} reads {reads} tokens, expected {context}; lower context or take another base")
    decoded = tokenizer.decode(tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
    if "".join(decoded.split()).casefold() != "".join(_PROBE.split()).casefold():
        raise ModelError(
            f"base {base!r} has no usable tokenizer: it reads {_PROBE!r} as {decoded!r}; put its tokenizer files "
            "beside the model, or choose another base"
        )
    if not tokenizer.chat_template:
        raise ModelError(f"base {base!r} has no chat template, so it is no instruct model; choose an instruct model")
    chat = [{"role": "system", "content": "Rules."}, {"role": "user", "content": _PROBE}]
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except Exception as err:  # a template is a program of its author's: it may raise anything
        raise ModelError(
            f"base {base!r} has a chat template that refuses a system and a user message: {err}; choose another base"
        ) from err
    if text.count("Rules.") != 1 or text.count(_PROBE) != 1:
        raise ModelError(f"base {base!r} has a chat template that does not show every message once; take another base")
