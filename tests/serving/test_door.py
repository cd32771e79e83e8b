"""Who gets in, and what is read of those who do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bentos.decision import door as door_module
from bentos.decision.door import Door
from bentos.decision.settings import BODY_BYTES, Settings, read_settings

LOOPBACK = ("127.0.0.1", 4242)
JSON = {"Content-Type": "application/json"}


class _Inside:
    """The app behind the door: answers with the body it was given."""

    def __init__(self) -> None:
        self.visits: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        self.visits.append(scope["path"])
        await Response(body, 200)(scope, receive, send)


def _settings(*tokens: str, auth_off: bool = False) -> Settings:
    return Settings(tokens=tokens, auth_off=auth_off, feedback=Path("feedback"))


class _House:
    def __init__(self, settings: Settings, client: tuple[str, int] = LOOPBACK) -> None:
        self.inside, self.refused = _Inside(), list[str]()
        self.door = Door(self.inside, settings, ["/decide"], self.refused.append)
        self._client = client

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.door, client=self._client)
            # ASGITransport names the host of the URL as the server's end of the connection.
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000") as http:
                return await http.request(method, path, **request)

        return asyncio.run(ask())

    def post(self, token: str | None, path: str = "/decide", **request: Any) -> httpx.Response:
        headers = (
            JSON | ({"Authorization": f"Bearer {token}"} if token is not None else {}) | request.pop("headers", {})
        )
        return self.send("POST", path, headers=headers, content=request.pop("content", b"{}"), **request)


def test_every_configured_token_opens_and_no_other_does() -> None:
    house = _House(_settings("one", "zwei"))
    assert [house.post(token).status_code for token in ("one", "zwei")] == [200, 200]
    for token in ("three", "on", "one2", "", "ONE", None):
        answer = house.post(token)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised"), token
        assert answer.json()["field"] == "Authorization"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert house.post(None, headers={"Authorization": "Basic one"}).status_code == 401
    assert house.inside.visits == ["/decide", "/decide"]
    assert house.refused == ["unauthorised"] * 7


def test_without_any_token_nobody_gets_in() -> None:
    house = _House(_settings())
    assert house.post("").status_code == 401
    assert house.post("anything").status_code == 401


def test_probes_metrics_and_description_are_open_and_nothing_else_is() -> None:
    house = _House(_settings("one"))
    for path in ("/livez", "/readyz", "/metrics", "/docs.json", "/", "/static_content/swagger-ui.css"):
        assert house.send("GET", path).status_code == 200, path
    for path in ("/decide", "/livez/", "/metrics/", "/static_content/../decide", "/static_content/made-up", "/x"):
        assert house.send("GET", path).status_code == 401, path


def test_auth_can_be_off_on_loopback_only() -> None:
    assert _House(_settings(auth_off=True)).post(None).status_code == 200
    for client in (("10.0.0.7", 4242), ("::ffff:10.0.0.7", 4242), ("not an address", 1)):
        assert _House(_settings(auth_off=True), client).post(None).status_code == 401, client


def test_a_path_that_is_not_known_is_refused_before_anything_counts_it() -> None:
    house = _House(_settings("one"))
    answer = house.post("one", path="/made-up")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert house.inside.visits == []


def test_only_post_and_only_json_get_in() -> None:
    house = _House(_settings("one"))
    assert house.send("GET", "/decide", headers={"Authorization": "Bearer one"}).json()["code"] == "method_not_allowed"
    for kind in ("text/plain", "application/vnd.bentoml+pickle", "multipart/form-data; boundary=x", ""):
        answer = house.post("one", headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), kind
    assert house.post("one", headers={"Content-Type": "Application/JSON; charset=utf-8"}).status_code == 200
    assert house.inside.visits == ["/decide"]


def test_a_body_gets_in_whole() -> None:
    content = bytes(range(256)) * 100
    assert _House(_settings("one")).post("one", content=content).content == content


@pytest.mark.parametrize("told", [True, False], ids=["length told", "length not told"])
def test_a_body_over_the_limit_is_refused(told: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_BYTES // 2**16 + 1):
            yield bytes(2**16)

    house = _House(_settings("one"))
    answer = house.post("one", content=bytes(BODY_BYTES + 1) if told else chunks())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert house.inside.visits == []
    assert house.post("one", content=bytes(BODY_BYTES)).status_code == 200


def test_a_body_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    monkeypatch.setattr(door_module, "BODY_SECONDS", 0.05)
    house = _House(_settings("one"))
    answer = house.post("one", content=drip())
    assert (answer.status_code, answer.json()["code"]) == (408, "body_too_slow")
    assert house.inside.visits == []


def test_only_so_many_are_inside_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "AT_ONCE", 0)
    answer = _House(_settings("one")).post("one")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOKEN", "TOKENS", "AUTH", "FEEDBACK"):
        monkeypatch.delenv(f"SELECTIVE_AUTONOMY_{name}", raising=False)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    assert read_settings() == Settings(tokens=(), auth_off=False, feedback=tmp_path / "feedback")
    monkeypatch.setenv("SELECTIVE_AUTONOMY_TOKEN", "one")
    monkeypatch.setenv("SELECTIVE_AUTONOMY_TOKENS", " two, ,three ")
    monkeypatch.setenv("SELECTIVE_AUTONOMY_AUTH", "off")
    assert read_settings().tokens == ("one", "two", "three")
    assert read_settings().auth_off is True
    monkeypatch.setenv("SELECTIVE_AUTONOMY_AUTH", "false")
    with pytest.raises(ValueError, match="expected 'on' or 'off'"):
        read_settings()


def test_an_audit_is_set_up_by_key_and_rate_together_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELECTIVE_AUTONOMY_AUDIT_KEY", "ab" * 32)
    with pytest.raises(ValueError, match="AUDIT_RATE is not set"):
        read_settings()
    monkeypatch.setenv("SELECTIVE_AUTONOMY_AUDIT_RATE", "0.2")
    auditor = read_settings().auditor
    assert auditor is not None
    assert (auditor.key, auditor.rates.least) == (bytes.fromhex("ab" * 32), 0.2)
    for name, bad in (("RATE", "0"), ("RATE", "nan"), ("RATE", "often"), ("KEY", "ab"), ("KEY", "no key")):
        with monkeypatch.context() as one:
            one.setenv(f"SELECTIVE_AUTONOMY_AUDIT_{name}", bad)
            with pytest.raises(ValueError):  # noqa: PT011 - the message is float's or bytes' own
                read_settings()
