"""The door: who may call what, how much they may send, how long that may take to arrive, and how many at once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.resources
import ipaddress
from collections.abc import Awaitable, Callable, Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.decision.answers import Refused
from bentos.decision.settings import AT_ONCE, BODY_BYTES, BODY_SECONDS, Settings

# Probes, scrapes and the description of the API carry nothing of any session.
OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/healthz", "/metrics", "/docs.json"})


class Door:
    """ASGI middleware around the whole service, outside of BentoML's own.

    BentoML counts requests by path, whatever the path, before any middleware of a service is asked: every made-up path
    of a caller without a token would become new time series. So nothing passes that is not one of the known paths, and
    no body that was not allowed in and did not arrive in full.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, endpoints: Collection[str], on_refused: Callable[[str], None]
    ) -> None:
        """`endpoints`: paths that need a token. `on_refused` is told the code of every refusal."""
        self._app = app
        self._auth_off = settings.auth_off
        self._token_digests = [_digest(token.encode()) for token in settings.tokens]
        self._endpoints = frozenset(endpoints)
        self._open = OPEN_PATHS | _pages()
        self._on_refused = on_refused
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in self._open):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there is no endpoint for anything else; the server closes the connection
        self._inside += 1
        try:
            self._let_in(scope)
            body = await _read(receive)
        except Refused as no:
            self._on_refused(no.code)
            await no.answer()(scope, receive, send)
        else:
            await self._app(scope, _replaying(body, receive), send)
        finally:
            self._inside -= 1

    def _let_in(self, scope: Scope) -> None:
        """Raise Refused unless the caller may call this, in this way, now."""
        headers = Headers(scope=scope)
        if not self._may_call(scope, headers):
            raise Refused(
                401, "unauthorised", "Authorization", "send a token of this service: 'Authorization: Bearer …'"
            )
        if scope["path"] not in self._endpoints:
            raise Refused(404, "not_found", None, f"there is no such path; expected one of {sorted(self._endpoints)}")
        if scope["method"] != "POST":
            raise Refused(405, "method_not_allowed", None, "send POST")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "unsupported_media_type", "Content-Type", "send application/json")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > BODY_BYTES:
            raise _too_large()
        if self._inside > AT_ONCE:
            raise Refused(429, "too_many_requests", None, f"more than {AT_ONCE} requests at once; send it again later")

    def _may_call(self, scope: Scope, headers: Headers) -> bool:
        if self._auth_off and _is_loopback(scope):
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        given = _digest(token.strip().encode("latin-1"))  # the bytes that came over the wire
        # Every token is compared, each in constant time: how long it takes tells nothing.
        known = [hmac.compare_digest(given, digest) for digest in self._token_digests]
        return kind.lower() == "bearer" and any(known)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _pages() -> frozenset[str]:
    """The files of the API's page at `/`."""
    folder = importlib.resources.files("bentoml._internal.server") / "static_content"
    return frozenset(f"/static_content/{file.name}" for file in folder.iterdir())


def _is_loopback(scope: Scope) -> bool:
    """Both ends of this very connection are on this machine, wherever else the server listens."""
    ends = (scope.get("client"), scope.get("server"))
    try:
        return all(end is not None and ipaddress.ip_address(end[0]).is_loopback for end in ends)
    except ValueError:
        return False


async def _read(receive: Receive) -> bytes:
    """The whole body. Raises Refused when it is larger than `BODY_BYTES` or takes longer than `BODY_SECONDS`."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > BODY_BYTES:
                    raise _too_large()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as err:
        raise Refused(408, "body_too_slow", None, f"the body did not arrive within {BODY_SECONDS:.0f} s") from err


def _too_large() -> Refused:
    return Refused(413, "body_too_large", None, f"send at most {BODY_BYTES} bytes")


def _replaying(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A `receive` that hands out the body that was already read, then listens on (for a disconnect)."""
    pending = [body]

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay
