"""The HTTP client of the provider: what is a refusal, what is trouble, what is asked at all (mission rows 51, 54)."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from gateways.payment_answers import NOES
from gateways.payments import HttpPaymentProvider, ProviderRefused, ProviderTrouble
from tests.gateways.process import a_payment


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


OPERATIONS: dict[str, Callable[[HttpPaymentProvider], object]] = {
    "get": lambda client: client.get("pay-1"),
    "refund": lambda client: client.refund("refund:pay-1:1", "pay-1", 1, 1),
    "find_refund": lambda client: client.find_refund("refund:pay-1:1", "pay-1"),
    "cancel": lambda client: client.cancel("pay-1"),
    "create": lambda client: client.create(a_payment()),
    "create_intent": lambda client: client.create_intent("checkout:pay-1", a_payment(status="pending")),
}
SAID_BY_NONE = {"payment_not_found": "get", "refund_not_found": "find_refund"}
WORDS = [(operation, code, status) for operation, noes in NOES.items() for code, status in noes.items()]


@pytest.mark.parametrize(("operation", "code", "status"), WORDS)
def test_a_no_in_the_providers_own_words_counts(operation: str, code: str, status: int):
    body = json.dumps({"code": code, "message": "never"}).encode()
    with answering(status, body) as (client, _):
        if SAID_BY_NONE.get(code) == operation:
            assert OPERATIONS[operation](client) is None
            return
        with pytest.raises(ProviderRefused) as refused:
            OPERATIONS[operation](client)
    assert (refused.value.code, refused.value.message, refused.value.status) == (code, "never", status)


@pytest.mark.parametrize("status", [400, 403, 404, 422])
@pytest.mark.parametrize(
    "body",
    [b"", b"<html><h1>404 Not Found</h1></html>", b"[]", b"{}", b'{"detail": "Not Found"}', b'{"code": "no_way"}',
     b'{"code": 7, "message": "x"}', b'{"code": "no_way", "message": "never"}', b'{"code": "payment_not_found"}',
     b'"payment_not_found"', b'{"error": {"code": "payment_not_found", "message": "x"}}'],
)  # fmt: skip
def test_a_no_of_anybody_else_is_trouble(status: int, body: bytes):
    with answering(status, body) as (client, _):
        for call in OPERATIONS.values():
            with pytest.raises(ProviderTrouble):
                call(client)


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [("get", "payment_not_found", 410), ("get", "amount_too_large", 422), ("create", "payment_not_found", 404),
     ("refund", "payment_not_found", 400), ("get", "refund_not_found", 404)],
)  # fmt: skip
def test_a_word_that_fits_neither_status_nor_operation_is_trouble(operation: str, code: str, status: int):
    body = json.dumps({"code": code, "message": "x"}).encode()
    with answering(status, body) as (client, _), pytest.raises(ProviderTrouble):
        OPERATIONS[operation](client)


PAYMENT = {
    "id": "pay-1", "studentId": "student-1", "status": "partially_refunded", "amountMinor": 5300, "currency": "USD",
    "lines": [{"line": 1, "amountMinor": 5000, "refundedMinor": 10}, {"line": 2, "amountMinor": 300, "refundedMinor": 0}],
}  # fmt: skip
REFUND = {"id": "re_1", "paymentId": "pay-1", "line": 1, "amountMinor": 1, "currency": "USD", "status": "succeeded"}
INTENT = {"paymentId": "pay-1", "status": "pending", "clientSecret": "s"}


def line(**change: object) -> dict[str, object]:
    return {"lines": [{"line": 1, "amountMinor": 5300, "refundedMinor": 0} | change]}


@pytest.mark.parametrize("operation", ["get", "cancel", "create"])
@pytest.mark.parametrize(
    "change",
    [{"id": "pay-2"}, {"status": "good"}, {"status": None}, {"amountMinor": 5301}, {"amountMinor": "5300"},
     {"amountMinor": 5300.0}, {"currency": "usd"}, {"lines": []}, line(refundedMinor=-1), line(refundedMinor=5301),
     line(amountMinor=-5300), line(line=0), line(line=True), {"lines": PAYMENT["lines"] * 2, "amountMinor": 10600},
     {"status": "succeeded"}, {"status": "refunded"}],
)  # fmt: skip
def test_an_answer_about_another_payment_or_that_does_not_add_up_is_trouble(operation: str, change: dict[str, object]):
    with answering(200, json.dumps(PAYMENT).encode()) as (client, _):
        OPERATIONS[operation](client)
    with answering(200, json.dumps(PAYMENT | change).encode()) as (client, _), pytest.raises(ProviderTrouble):
        OPERATIONS[operation](client)


@pytest.mark.parametrize(
    "change", [{"studentId": "x"}, {"currency": "EUR"}, line(), {"amountMinor": 5000, **line(amountMinor=5000)}]
)
def test_a_payment_that_was_made_otherwise_than_asked_for_is_trouble(change: dict[str, object]):
    with answering(201, json.dumps(PAYMENT | change).encode()) as (client, _), pytest.raises(ProviderTrouble):
        client.create(a_payment())


@pytest.mark.parametrize(
    "change",
    [{"paymentId": "pay-2"}, {"line": 2}, {"amountMinor": 2}, {"currency": "usd"}, {"status": "maybe"}, {"id": ""},
     {"id": "re\0"}, {"id": "re\n1"}, {"id": "r" * 256}],
)  # fmt: skip
def test_an_answer_about_another_refund_is_trouble(change: dict[str, object]):
    with answering(200, json.dumps(REFUND).encode()) as (client, _):
        assert client.refund("r", "pay-1", 1, 1).id == "re_1"
    with answering(200, json.dumps(REFUND | change).encode()) as (client, _), pytest.raises(ProviderTrouble):
        client.refund("r", "pay-1", 1, 1)


@pytest.mark.parametrize(
    "change",
    [{"paymentId": "pay-2"}, {"status": "maybe"}, {"clientSecret": ""}, {"clientSecret": "s\0"},
     {"clientSecret": "\x7fs"}, {"clientSecret": "s" * 1001}],
)  # fmt: skip
def test_an_answer_about_another_intent_is_trouble(change: dict[str, object]):
    with answering(201, json.dumps(INTENT | change).encode()) as (client, _), pytest.raises(ProviderTrouble):
        client.create_intent("k", a_payment(status="pending"))


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


@contextmanager
def dripping(pieces: Iterable[bytes]) -> Iterator[str]:
    """The address of a server whose one answer comes piece by piece, each well before a wait for it is over."""
    over = Event()

    def answer(door: socket.socket) -> None:
        with door.accept()[0] as caller, suppress(OSError):
            caller.recv(65536)
            for piece in pieces:
                caller.sendall(piece)
                over.wait(0.02)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = Thread(target=answer, args=(door,))
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        over.set()
        thread.join()


STATUS, HEADERS = b"HTTP/1.1 200 OK\r\n", b"connection: close\r\n\r\n"
SAID = json.dumps(PAYMENT).encode()


@pytest.mark.parametrize(
    "pieces",
    [
        [STATUS + HEADERS, *[b" "] * 100, SAID],
        [STATUS + b"x-y: ", *[b"z"] * 100, b"\r\n" + HEADERS + SAID],
        [*[b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 100, STATUS + HEADERS + SAID],
    ],
    ids=["body", "header", "early hints"],
)
def test_an_answer_that_drips_is_trouble_after_the_timeout(pieces: list[bytes]):
    with dripping(pieces) as url, HttpPaymentProvider(url, timeout=0.3) as client, pytest.raises(ProviderTrouble):
        client.get("pay-1")


@pytest.mark.parametrize(
    ("packed", "headers"), [(bytes, {}), (gzip.compress, {"content_encoding": "gzip"})], ids=["plain", "gzip"]
)
def test_an_answer_larger_than_any_of_the_providers_is_trouble(
    packed: Callable[[bytes], bytes], headers: dict[str, str]
):
    with answering(200, packed(SAID), **headers) as (client, _):
        assert client.get("pay-1")
    with answering(200, packed(SAID + b" " * (2 << 20)), **headers) as (client, _), pytest.raises(ProviderTrouble):
        client.get("pay-1")
