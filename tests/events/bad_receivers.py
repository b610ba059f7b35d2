"""Receivers that misbehave, each in a way of its own: servers on loopback that speak raw bytes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import repeat
from threading import Event, Thread

_OK = b"HTTP/1.1 200 OK\r\n"
_MUCH = b"x" * 65536


@dataclass
class Bad:
    """`url`: where it is. `asked`: the heads of the requests it got. `sent`: bytes it could send, in all."""

    says: Callable[[Event], Iterator[bytes]]
    url: str = ""
    asked: list[bytes] = field(default_factory=list[bytes])
    sent: int = 0
    over: Event = field(default_factory=Event)


def redirects(to: str) -> Callable[[Event], Iterator[bytes]]:
    """To somewhere inside."""
    return lambda _: iter([f"HTTP/1.1 307 Go\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()])


def drips(over: Event) -> Iterator[bytes]:
    """A byte now and then, sooner than anybody who waits for the next byte gives up."""
    yield _OK + b"X-Drip: "
    while not over.wait(0.1):
        yield b"x"


def never_answers(over: Event) -> Iterator[bytes]:
    """Not a byte."""
    over.wait()
    return iter(())


def never_ends(_: Event) -> Iterator[bytes]:
    """Took it, and has very much to say about it."""
    yield _OK + b"\r\n"
    yield from repeat(_MUCH)


def inflates(_: Event) -> Iterator[bytes]:
    """The same, to be unpacked."""
    yield _OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from repeat(b"10000\r\n" + _MUCH + b"\r\n")


def giant_header(_: Event) -> Iterator[bytes]:
    """One that does not end."""
    yield _OK + b"X-Giant: "
    yield from repeat(_MUCH)


def many_headers(_: Event) -> Iterator[bytes]:
    """Without end."""
    yield _OK
    yield from repeat(b"X-Many: y\r\n" * 5000)


def never_gets_to_the_point(over: Event) -> Iterator[bytes]:
    """Answer is announced for ever."""
    while not over.wait(0.1):
        yield b"HTTP/1.1 103 Early Hints\r\n\r\n"


def hangs_up(_: Event) -> Iterator[bytes]:
    """Having read the request."""
    return iter(())


def speaks_nonsense(_: Event) -> Iterator[bytes]:
    """No HTTP."""
    return iter([b"\0\xff SSH-2.0 what?\r\n\r\n"])


def sets_cookies(_: Event) -> Iterator[bytes]:
    """A great many, to be kept for ever."""
    cookies = b"".join(b"Set-Cookie: c%d=%s; Max-Age=99999999\r\n" % (n, b"y" * 900) for n in range(50))
    return iter([_OK + cookies + b"Content-Length: 0\r\n\r\n"])


@contextmanager
def behaving(says: Callable[[Event], Iterator[bytes]], *, reset: bool = False) -> Generator[Bad]:
    """Somebody who answers like this, on a free port; `reset`: who ends each connection by a reset."""
    bad = Bad(says)

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                if not (part := connection.recv(65536)):
                    return
                asked += part
            bad.asked.append(asked)
            for part in bad.says(bad.over):
                connection.sendall(part)
                bad.sent += len(part)
                if bad.over.is_set():
                    return
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        bad.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        server = Thread(target=serve, daemon=True)
        server.start()
        try:
            yield bad
        finally:
            bad.over.set()
            listening.shutdown(socket.SHUT_RDWR)  # wakes the one who accepts
            server.join()
