"""One time limit for a whole call over HTTP. httpx2's own is for each wait for bytes: a byte a second never ends it."""

from __future__ import annotations

import math
import ssl
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

import httpcore2
import httpx2

_ends: ContextVar[float] = ContextVar("ends", default=math.inf)


@contextmanager
def within(seconds: float) -> Generator[None]:
    """Let all this thread does through a TimedTransport take `seconds` at most; then it raises httpx2.TimeoutException.

    Only the lookup of the host's name takes as long as the system lets it.
    """
    before = _ends.set(monotonic() + seconds)
    try:
        yield
    finally:
        _ends.reset(before)


class TimedTransport(httpx2.HTTPTransport):
    """httpx2's HTTPTransport, but a wait for the network takes at most what is left of the call. Uses no proxies."""

    def __init__(self) -> None:
        trust = httpx2.create_ssl_context(trust_env=False)
        super().__init__(verify=trust)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=trust,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=_Network(),
        )


class _Network(httpcore2.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        timeout = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        timeout = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, late: type[httpcore2.TimeoutException]) -> float | None:
    left = _ends.get() - monotonic()
    if left <= 0:
        raise late("the time of the whole call is over")
    return timeout if left == math.inf else min(left, timeout or left)
