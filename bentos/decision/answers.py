"""The one shape of a refused request: `{"code", "field", "message"}`, with a 4xx or 503 status."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError
from starlette.responses import JSONResponse


def refusal(status: int, code: str, field: str | None, message: str) -> JSONResponse:
    """A refused request. `field`: dotted path of the culprit in the body, or a header; None for the whole body."""
    return JSONResponse({"code": code, "field": field, "message": message}, status_code=status)


def invalid_body(err: ValidationError) -> JSONResponse:
    """400 for what is not JSON, 422 for JSON of another shape; the first culprit is named, all are counted."""
    errors = err.errors(include_url=False, include_context=False, include_input=False)
    first = errors[0]
    if first["type"] == "json_invalid":
        return refusal(400, "malformed_json", None, first["msg"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return refusal(422, "invalid_field", dotted(first["loc"]), f"{first['msg']}{more}")


def dotted(location: Sequence[str | int]) -> str | None:
    """`("session", "events", 3, "text")` as `session.events.3.text`; None for the body as a whole."""
    return ".".join(str(part) for part in location) or None
