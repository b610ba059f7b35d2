"""What Kafka refuses, and what comes from it in unlisted shapes, stops neither consumer nor relay (mission rows 20, 34)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gateways.kafka_client import Headers, Outgoing
from gateways.kafka_errors import KafkaMisconfigured
from gateways.kafka_in import KafkaIn
from gateways.kafka_out import KafkaOut
from tests.build import rows, value
from tests.events.broker import Brokers
from tests.events.kafka_world import World, brokers, everything_on, world
from tests.waiting import eventually

__all__ = ["brokers", "world"]

LIMIT = 20_000  # bytes of a message, key and headers included, that the client sends at most


@pytest.mark.parametrize(
    ("which", "over"),
    [
        ("value", lambda over: Outgoing("it", b"k", b"a" * (LIMIT + over - 1))),
        ("key", lambda over: Outgoing("it", b"a" * (LIMIT + over), b"")),
        ("no key", lambda over: Outgoing("it", None, b"a" * (LIMIT + over))),
        ("no value", lambda over: Outgoing("it", b"a" * (LIMIT + over), None)),
    ],
)
def test_a_message_over_the_limit_is_refused_alone(
    which: str, over: Callable[[int], Outgoing], brokers: Brokers
) -> None:
    out = KafkaOut(brokers.servers, "out", {"message.max.bytes": LIMIT})
    sent = out.publish([Outgoing("before", b"k", b"1"), over(1000), Outgoing("after", b"k", b"2")])
    assert (sent.delivered, sent.refused) == ({"before", "after"}, {"it": "MSG_SIZE_TOO_LARGE"}), which
    assert out.publish([over(-1000)]).delivered == {"it"}


def test_what_is_no_message_is_refused_and_the_others_are_sent(brokers: Brokers) -> None:
    out = KafkaOut(brokers.servers, "out", {})
    headers: Headers = [("number", 1)]  # pyright: ignore[reportAssignmentType]
    sent = out.publish([Outgoing("bad", b"k", b"1", headers), Outgoing("good", b"k", b"2")])
    assert (sent.delivered, sent.refused) == ({"good"}, {"bad": "_INVALID_ARG"})


def test_a_queue_that_is_full_is_emptied_first(brokers: Brokers) -> None:
    out = KafkaOut(brokers.servers, "out", {"queue.buffering.max.messages": 2})
    assert len(out.publish([Outgoing(str(n), None, b"x") for n in range(7)]).delivered) == 7


def test_brokers_that_do_not_answer_refuse_nothing(brokers: Brokers) -> None:
    out = KafkaOut("127.0.0.1:1", "out", {"message.timeout.ms": 300})
    sent = out.publish([Outgoing("it", None, b"x")])
    assert (sent.delivered, sent.refused, sent.barred) == (set(), {}, None)
    assert sent.trouble in ("_ALL_BROKERS_DOWN", "_TRANSPORT")


@pytest.mark.parametrize("options", [{"sesion.timeout.ms": 6000}, {"acks": "0"}, {"compression.codec": "rar"}])
def test_a_wrong_option_is_named(options: dict[str, object], brokers: Brokers) -> None:
    with pytest.raises(KafkaMisconfigured, match=next(iter(options))):
        KafkaOut(brokers.servers, "out", options)


def test_offsets_cannot_be_set_to_be_committed_before_anything_is_stored(brokers: Brokers) -> None:
    with pytest.raises(KafkaMisconfigured, match=r"enable\.auto\.commit"):
        KafkaIn(brokers.servers, "in", "group", {"enable.auto.commit": True})


async def test_a_wrong_option_ends_the_process_with_its_name(world: World) -> None:
    world.environment["KAFKA_OPTIONS"] = '{"sesion.timeout.ms": 6000}'
    world.consume()
    [process] = world.consumers
    assert process.ended() == 1
    assert 'consumer: KAFKA_OPTIONS: No such configuration property: "sesion.timeout.ms"' in process.log.read_text()


async def test_a_letter_too_large_for_its_topic_is_passed_on_as_a_reference_and_the_next_one_is_handled(
    world: World,
) -> None:
    world.environment["KAFKA_OPTIONS"] = json.dumps({"message.max.bytes": LIMIT})
    sent = [Outgoing("large", b"k", b"a" * 3 * LIMIT), Outgoing("small", b"k", b"small")]
    assert len(KafkaOut(world.brokers.servers, "payments", {}).publish(sent).delivered) == 2
    world.consume()
    await eventually(lambda: value(world.engine, "SELECT count(*) FROM refused_messages WHERE settled") == 2)
    found = {bytes(row.payload): row for row in rows(world.engine, "SELECT * FROM dead_letters")}
    assert {payload: row.topic_says for payload, row in found.items()} == {
        b"a" * 3 * LIMIT: "MSG_SIZE_TOO_LARGE: it has a reference",
        b"small": None,
    }
    [reference] = [each for each in everything_on(world, "payments.dead-letters", 2) if each.value != b"small"]
    said = json.loads(reference.value or b"")
    assert (said["deadLetter"], said["bytes"]) == (found[b"a" * 3 * LIMIT].digest, 3 * LIMIT)
    assert (reference.key, dict(reference.headers)["reference"]) == (b"k", b"true")


async def test_headers_are_kept_and_passed_on_and_a_null_value_stays_null(world: World) -> None:
    headers: Headers = [("traceparent", b"00-4bf9-01"), ("nothing", None), ("code", b"theirs")]
    assert KafkaOut(world.brokers.servers, "payments", {}).publish([Outgoing("null", b"k", None, headers)]).delivered
    world.consume()
    await eventually(lambda: value(world.engine, "SELECT count(*) FROM refused_messages WHERE settled") == 1)
    [letter] = rows(world.engine, "SELECT * FROM dead_letters")
    assert (letter.code, letter.no_value, bytes(letter.payload)) == ("EVENT_NOT_JSON", True, b"")
    assert letter.headers == [["traceparent", "MDAtNGJmOS0wMQ=="], ["nothing", None], ["code", "dGhlaXJz"]]
    [passed_on] = everything_on(world, "payments.dead-letters", 1)
    assert (passed_on.key, passed_on.value, list(passed_on.headers[:3])) == (b"k", None, list(headers))
    place = b"payments/%d/0" % letter.topic_partition
    assert passed_on.headers[3:] == (("code", b"EVENT_NOT_JSON"), ("tries", b"3"), ("from", place))


async def test_silent_brokers_keep_no_consumer_from_stopping(world: World) -> None:
    assert KafkaOut(world.brokers.servers, "payments", {}).publish([Outgoing("bad", b"k", b"bad")]).delivered
    world.consume()
    await eventually(lambda: value(world.engine, "SELECT count(*) FROM refused_messages WHERE settled") == 1)
    world.brokers.freeze()
    assert world.consumers[-1].stop() == 0
    assert "consumer_left_without_goodbye" in [line["event"] for line in world.consumers[-1].said()]
