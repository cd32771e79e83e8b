"""Prompting policies as folders: made from a prompt file and a base, checked before any case is worked, and loaded."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from selective_autonomy.errors import ModelError
from selective_autonomy.params import PromptingParams
from selective_autonomy.policy.base_models import resolve_base
from selective_autonomy.policy.card import CARD, read_card, write_card
from selective_autonomy.policy.composed import ComposedPolicy
from selective_autonomy.policy.prompting.endpoint import ChatEndpoint, Endpoint
from selective_autonomy.policy.prompting.endpoint_policy import EndpointPolicy
from selective_autonomy.policy.prompting.prompt_file import PromptFile
from selective_autonomy.policy.protocol import Policy
from selective_autonomy.process.schema import ProcessSchema, load_process, save_process
from selective_autonomy.traces.schema import Session

ENDPOINT = "endpoint"
_SCHEMA, _PROMPT, _MODEL = "process.yaml", "prompt.md", "model"


def prepare_prompting(
    train: Sequence[Session], schema: ProcessSchema, params: PromptingParams, out: Path, *, converted: Path
) -> None:
    """Check everything that a prompting policy needs, and save it in the folder `out`. Nothing is trained.

    A local base is saved with the policy: what was measured is what is loaded, from disk only.

    Args:
        train: only the combinations of open procedures are looked at: each has to fit the context.
        converted: where a package's weights are kept, see `resolve_base`.

    Raises:
        ModelError: the prompt file is missing or lacks a place; the base is missing, has no usable tokenizer or chat
            template or too short a context; a field has no grammar. Says what to change.
    """
    prompt = PromptFile.read(Path(params.prompt))
    out.mkdir(parents=True, exist_ok=True)
    (out / CARD).unlink(missing_ok=True)
    if params.base != ENDPOINT:
        from selective_autonomy.policy.prompting.local import LocalPrompt, PromptedValues
        from selective_autonomy.policy.prompting.local_model import LocalModel

        model = LocalModel.load(resolve_base(params.base, converted), context=params.context, dtype=params.dtype)
        local = LocalPrompt(schema, prompt, model, history=params.history)
        PromptedValues(local).check()
        for session in {session.procedures: session for session in train}.values():
            empty = session.before(0)
            local.ids(empty, local.legal(empty))
        shutil.rmtree(out / _MODEL, ignore_errors=True)
        model.save(out / _MODEL)
    save_process(schema, out / _SCHEMA)
    prompt.write(out / _PROMPT)
    write_card(out, params, schema)


def load_prompting(path: Path, *, endpoint: Endpoint | None, device: str) -> Policy:
    """The policy that `prepare_prompting` saved.

    Args:
        endpoint: whom to ask, for the base "endpoint"; it is no part of the policy, as a key must not be.

    Raises:
        ModelError: something is missing or damaged, or no endpoint is given to a policy that asks one.
    """
    try:
        params = PromptingParams.model_validate(read_card(path)["params"])
    except ValidationError as err:
        raise ModelError(f"{path} holds no prompting policy: {err}; prepare it again") from err
    schema, prompt = load_process(path / _SCHEMA), PromptFile.read(path / _PROMPT)
    if params.base == ENDPOINT:
        if endpoint is None:
            raise ModelError(f"{path} asks an endpoint and none is given; give its URL, model and key")
        return EndpointPolicy(schema, prompt, ChatEndpoint(endpoint), history=params.history)
    from selective_autonomy.policy.prompting.local import LocalPrompt, PromptedHeads, PromptedValues
    from selective_autonomy.policy.prompting.local_model import LocalModel

    model = LocalModel.load(path / _MODEL, context=params.context, dtype=params.dtype, device=device)
    local = LocalPrompt(schema, prompt, model, history=params.history)
    return ComposedPolicy(PromptedHeads(local), PromptedValues(local))
