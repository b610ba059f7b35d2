"""Somebody who is told by webhook: an HTTP server on loopback that checks signatures and answers as planned."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from standardwebhooks.webhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0" * 6


@dataclass
class Receiver:
    """`got`: the events it took, in order. `answers`: the status for an event, 204 unless planned; 0: none, it hangs."""

    url: str = ""
    answers: Callable[[dict[str, Any]], int] = lambda _: 204
    got: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tries: list[str] = field(default_factory=list[str])
    over: Event = field(default_factory=Event)

    def took(self) -> list[str]:
        """The keys of what it took, in order."""
        return [event["key"] for event in self.got]

    def receive(self, body: bytes, headers: dict[str, str]) -> int:
        """Raises unless the signature is right and the ids are one."""
        event: dict[str, Any] = Webhook(SECRET).verify(body, headers)
        assert headers["webhook-id"] == event["id"]
        self.tries.append(event["key"])
        status = self.answers(event)
        if status == 0:
            self.over.wait(30)
        if 200 <= status < 300:
            self.got.append(event)
        return status or 500


class _Server(ThreadingHTTPServer):
    request_queue_size = 100  # a target's deliveries arrive together
    daemon_threads = True
    block_on_close = False  # some of its answers hang


@contextmanager
def receiving() -> Generator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = receiver.receive(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            if status == 302:
                self.send_header("location", receiver.url)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/events"
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
