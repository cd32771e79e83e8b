"""The service as BentoML sees it: with our door around it, and described as it really answers."""

from __future__ import annotations

from typing import Any

import attrs
import bentoml

from bentos.decision.door import Door
from bentos.decision.settings import read_settings

REFUSALS = {
    "400": "The body is not JSON.",
    "401": "No valid bearer token.",
    "408": "The body took too long to arrive.",
    "409": "Feedback: the idempotency key was used for another answer.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "A field is missing, unknown, of the wrong type, or contradicts the process.",
    "429": "Too many requests at once.",
    "503": "The request was not carried out.",
}
_REFUSAL_SCHEMA = {
    "title": "Refusal",
    "type": "object",
    "required": ["code", "field", "message"],
    "properties": {
        "code": {"type": "string", "title": "stable reason code"},
        "field": {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "dotted path of the culprit, or a header"},
        "message": {"type": "string"},
    },
}


class GuardedService(bentoml.Service):  # type: ignore[misc]
    """A BentoML service behind a `Door`, with a valid OpenAPI 3.1 description."""

    def to_asgi(self, is_main: bool = True) -> Any:
        from prometheus_client import Counter

        refused = Counter("refusals_total", "Requests that were not let in.", ["code"])
        app = super().to_asgi(is_main=is_main)
        paths = [api.route for api in self.apis.values()]
        return Door(app, read_settings(), paths, lambda code: refused.labels(code).inc())

    @property
    def openapi_spec(self) -> Any:
        """BentoML's description, corrected.

        It says 3.0.2, where a nullable field cannot be written the way pydantic does, and it flattens the top of bodies
        and answers, so that "null" is lost (BentoML #4718). Here both refer to their whole schemas. The refusals that
        the service really gives and the token it asks for are listed.
        """
        spec = super().openapi_spec
        paths = dict(spec.paths)
        for api in self.apis.values():
            post = {**paths[api.route].post, "security": [{"bearer": []}]}
            post["requestBody"] = {"required": True, **_body(api.input_spec.__name__)}
            post["responses"] = {
                "200": {"description": "The answer.", **_body(api.output_spec.__name__)},
                **{status: {"description": why, **_body("Refusal")} for status, why in REFUSALS.items()},
            }
            paths[api.route] = attrs.evolve(paths[api.route], post=post)
        components = {
            "schemas": {**spec.components["schemas"], "Refusal": _REFUSAL_SCHEMA},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        }
        return attrs.evolve(spec, openapi="3.1.0", paths=paths, components=components)


def _body(schema: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}
