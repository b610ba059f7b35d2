"""Every timeout, pause, deadline and retry number of the workflows; no other file has any.

A door copies the rules in force into the start input, so that a run keeps them and replay never reads settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy

LOCAL, REGULAR = "local", "regular"  # the lanes
MINUTE = 60.0
HOUR = 60 * MINUTE


@dataclass(frozen=True)
class Rules:
    """The numbers of one purchase, in seconds except `quick_tries` and `two_person_limit`.

    `repair_deadline` 0: none. `lane`: whether quick tries are local ones but for the last (`LOCAL`), or all activities.
    """

    lane: str = LOCAL
    attempt: float = 10.0  # one try of a step at most; also what detects a dead worker
    local_attempts: float = 2.0  # all local tries together
    local_pause: float = 0.1  # before the second local try
    quick_tries: int = 3
    quick_pause: float = 0.5  # before the second try, doubling
    trouble_pause: float = 30.0  # between rounds of quick tries, doubling ...
    trouble_pause_most: float = 15 * MINUTE  # ... up to this
    heal_pause: float = 15 * MINUTE  # between looks at a refusal that time can heal
    pending_pause: float = 30.0  # between looks at a payment that is still pending
    pending_deadline: float = 24 * HOUR
    gate_deadline: float = 72 * HOUR  # time parked on a refusal at a gate, then refunded
    repair_deadline: float = 0.0  # the same of a repair step; off by default
    escalate_after: float = 24 * HOUR  # needing somebody for so long is told once more, louder; zero: never
    two_person_limit: int = 0  # minor units from which giving money back needs two people; zero: never

    @property
    def local(self) -> bool:
        """Whether a step is tried within the workflow task first: all quick tries but the last, if there are more."""
        return self.lane == LOCAL and self.quick_tries > 1

    def locally(self) -> RetryPolicy:
        """Return the tries that the worker makes within the workflow task."""
        return RetryPolicy(initial_interval=timedelta(seconds=self.local_pause), maximum_attempts=self.quick_tries - 1)

    def quick(self, tries: int = 0) -> RetryPolicy:
        """Return the tries, `quick_tries` unless said otherwise, before the step counts as in trouble."""
        pause = timedelta(seconds=self.quick_pause)
        return RetryPolicy(initial_interval=pause, maximum_attempts=tries or self.quick_tries)

    def until_done(self) -> RetryPolicy:
        """Return tries without end, with growing pauses, for what nobody else would do."""
        return RetryPolicy(
            initial_interval=timedelta(seconds=self.quick_pause),
            maximum_interval=timedelta(seconds=self.trouble_pause_most),
        )

    def letting_go(self) -> RetryPolicy:
        """Return the retry policy of letting go of a slot hold: without end, a short pause at most."""
        return RetryPolicy(maximum_interval=timedelta(seconds=self.trouble_pause))

    def trouble_pause_of(self, rounds: int) -> float:
        """Return the seconds to wait after this many rounds of trouble: they grow, up to `trouble_pause_most`."""
        return min(self.trouble_pause * 2.0 ** min(rounds, 30), self.trouble_pause_most)


# A run whose history is this long goes on in a new one although messages wait; the server ends one at 51,200.
MAX_EVENTS = 20_000
MIN_PAUSE = 1.0  # seconds; what is left of a pause after an escalation
# An end of access looks at its purchase at least and at most so often.
MIN_SLEEP, MAX_SLEEP = timedelta(milliseconds=100), timedelta(days=30)
MAX_RACES = 3  # with an end of access that ends just when it is to be told
# Of changes of lessons, which have no deadline: a try, and the pauses between tries for as long as there is trouble.
LESSON_TRY = timedelta(seconds=10)
UNTIL_DONE = RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_interval=timedelta(minutes=1))
# Of one purchase in a sweep: the next sweep looks again.
A_FEW_TRIES = RetryPolicy(initial_interval=timedelta(seconds=0.5), maximum_attempts=3)
# Of the daily pruning, which takes long, and comes again tomorrow.
PRUNE_TRY = timedelta(seconds=60)
PRUNE_TRIES = RetryPolicy(maximum_attempts=5)
