"""The one shape of a refused request: `{"code", "field", "message"}`, with a 4xx or 503 status."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError
from starlette.responses import JSONResponse


class Refused(Exception):
    """A request that is not carried out, and why.

    Args:
        status: 4xx: the caller's doing; 503: ours.
        code: stable reason code.
        field: dotted path of the culprit in the body, or a header; None for the request as a whole.
    """

    def __init__(self, status: int, code: str, field: str | None, message: str) -> None:
        self.status, self.code, self.field, self.message = status, code, field, message
        super().__init__(message)

    def answer(self) -> JSONResponse:
        body = {"code": self.code, "field": self.field, "message": self.message}
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else None
        return JSONResponse(body, status_code=self.status, headers=headers)


def invalid_body(err: ValidationError) -> Refused:
    """400 for what is not JSON, 422 for JSON of another shape; the first culprit is named, all are counted."""
    errors = err.errors(include_url=False, include_context=False, include_input=False)
    first = errors[0]
    if first["type"] == "json_invalid":
        return Refused(400, "malformed_json", None, first["msg"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Refused(422, "invalid_field", dotted(first["loc"]), f"{first['msg']}{more}")


def dotted(location: Sequence[str | int]) -> str | None:
    """`("session", "events", 3, "text")` as `session.events.3.text`; None for the body as a whole."""
    return ".".join(str(part) for part in location) or None
