"""The endpoint that a prompting policy asks, from the environment: the one place that reads it, the domain is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from selective_autonomy.errors import ModelError

if TYPE_CHECKING:
    from selective_autonomy.policy.prompting.endpoint import Endpoint

URL, MODEL, KEY, FORMAT = "OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY", "OPENAI_RESPONSE_FORMAT"


def endpoint_from(environ: Mapping[str, str]) -> Endpoint | None:
    """The endpoint that the environment names; None: it names no URL, also where it holds a key for something else.

    `OPENAI_BASE_URL` (up to and without `/chat/completions`), `OPENAI_MODEL`, `OPENAI_API_KEY` (none: asked without
    one), `OPENAI_RESPONSE_FORMAT` (`json_schema`, `json_object` or `none`; the first is the default).

    Raises:
        ModelError: a URL without a model, or an unknown response format.
    """
    from pydantic import ValidationError

    from selective_autonomy.policy.prompting.endpoint import Endpoint

    url = environ.get(URL)
    if not url:
        return None
    if not environ.get(MODEL):
        raise ModelError(f"{URL} is set and {MODEL} is not; set it to the name of a model that {url} serves")
    given = {"url": url, "model": environ[MODEL], "key": environ.get(KEY) or None}
    try:
        return Endpoint.model_validate(given | ({"response_format": environ[FORMAT]} if environ.get(FORMAT) else {}))
    except ValidationError as err:
        raise ModelError(f"got {FORMAT} {environ.get(FORMAT)!r}, expected json_schema, json_object or none") from err
