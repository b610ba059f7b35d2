"""Kafka's brokers as a process of their own: librdkafka's mock cluster, in memory, gone with its process.

It keeps the last 5 MB of each partition: what a test has not read by then is gone. A broker outage is SIGSTOP, its end
SIGCONT. `python -m tests.events.broker` prints its addresses and lives until its standard input ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from confluent_kafka import Producer


class Brokers:
    """Three brokers."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.events.broker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.servers = self._process.stdout.readline().strip()
        assert self.servers, "the brokers did not start"

    def freeze(self) -> None:
        """From now on they answer nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """They go on where they stopped."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Gone, with all they held."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def main() -> None:
    """Serve until standard input ends."""
    cluster = Producer({"test.mock.num.brokers": 3})
    brokers = cluster.list_topics(timeout=10).brokers.values()
    sys.stdout.write(",".join(f"{each.host}:{each.port}" for each in brokers) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
