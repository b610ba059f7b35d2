"""The HTTP client of the provider: what is a refusal, what is trouble, what is asked at all (mission rows 51, 54)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from gateways.payments import HttpPaymentProvider, ProviderRefused, ProviderTrouble


@contextmanager
def answering(status: int, body: bytes = b"", **headers: str) -> Iterator[tuple[HttpPaymentProvider, list[str]]]:
    """A client of a server that always answers this, and the paths that it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with HttpPaymentProvider(f"http://127.0.0.1:{server.server_address[1]}") as client:
            yield client, asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 302])
def test_these_statuses_are_trouble(status: int):
    with answering(status, b'{"code": "x"}') as (client, _), pytest.raises(ProviderTrouble):
        client.get("pay-1")


@pytest.mark.parametrize("status", [400, 401, 403, 405, 409, 410, 422])
def test_these_statuses_are_refusals_with_the_providers_code(status: int):
    body = b'{"code": "no_way", "message": "never"}'
    with answering(status, body) as (client, _), pytest.raises(ProviderRefused) as refused:
        client.get("pay-1")
    assert (refused.value.code, refused.value.message, refused.value.status) == ("no_way", "never", status)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"code": 7}'])
def test_a_refusal_without_a_readable_code_is_named_by_its_status(body: bytes):
    with answering(422, body) as (client, _), pytest.raises(ProviderRefused) as refused:
        client.refund("refund:pay-1:1", "pay-1", 1, 1)
    assert refused.value.code == "http_422"


def test_no_such_payment_is_none_when_asked_and_a_refusal_when_acted_on():
    with answering(404, b"{}") as (client, _):
        assert client.get("pay-1") is None
        with pytest.raises(ProviderRefused):
            client.refund("refund:pay-1:1", "pay-1", 1, 1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"id": 1}', b"\xff"])
def test_an_answer_that_cannot_be_read_is_trouble(body: bytes):
    with answering(200, body) as (client, _):
        for call in (lambda: client.get("pay-1"), lambda: client.refund("r", "pay-1", 1, 1)):
            with pytest.raises(ProviderTrouble):
                call()


@pytest.mark.parametrize("payment_id", ["", ".", "..", "a/b", "a b", "x" * 65, "pay\n", "p\0", "é", "../_ledger"])
def test_an_id_that_no_payment_can_have_is_never_asked_for(payment_id: str):
    with answering(200) as (client, asked):
        assert client.get(payment_id) is None
        for call in (lambda: client.cancel(payment_id), lambda: client.refund("r", payment_id, 1, 1)):
            with pytest.raises(ProviderRefused):
                call()
    assert asked == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("soon", None), ("", None), ("-1", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after_is_told_in_seconds(value: str, seconds: float | None):
    with answering(503, retry_after=value) as (client, _), pytest.raises(ProviderTrouble) as trouble:
        client.get("pay-1")
    assert trouble.value.retry_after == seconds


def test_a_refused_connection_is_trouble():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with HttpPaymentProvider(f"http://127.0.0.1:{port}") as client, pytest.raises(ProviderTrouble):
        client.cancel("pay-1")


def test_a_silent_server_is_trouble_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with HttpPaymentProvider(url, timeout=0.2) as client, pytest.raises(ProviderTrouble):
            client.get("pay-1")
