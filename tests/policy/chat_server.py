"""A real server on the loopback that speaks the chat-completions protocol and answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server does with one question: `content` is the message; `body` replaces the whole answer."""

    content: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    seconds: float = 0.0
    tokens: list[tuple[str, float]] | None = None
    finish_reason: str = "stop"


@dataclass
class ChatServer:
    """`asked`: bodies of the questions so far; `keys`: their Authorization headers."""

    url: str
    asked: list[dict[str, Any]]
    keys: list[str | None]


@contextmanager
def chat_server(*replies: Reply | Callable[[dict[str, Any]], Reply]) -> Iterator[ChatServer]:
    """Serve the replies in order; the last one again and again."""
    asked: list[dict[str, Any]] = []
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(question)
            keys.append(self.headers.get("Authorization"))
            reply = replies[min(len(asked), len(replies)) - 1]
            reply = reply if isinstance(reply, Reply) else reply(question)
            time.sleep(reply.seconds)
            known = self.path == "/v1/chat/completions"
            data = (reply.body if reply.body is not None else json.dumps(_completion(reply))).encode()
            try:
                self.send_response(reply.status if known else 404)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client has given up

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield ChatServer(f"http://127.0.0.1:{server.server_port}/v1", asked, keys)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _completion(reply: Reply) -> dict[str, Any]:
    tokens = reply.tokens
    return {
        "choices": [
            {
                "message": {"role": "assistant", "content": reply.content},
                "finish_reason": reply.finish_reason,
                "logprobs": tokens and {"content": [{"token": token, "logprob": p} for token, p in tokens]},
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7},
    }
