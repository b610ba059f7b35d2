"""Limit how much one process works on at a time; a request that waits for a server lets others work meanwhile."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from application.errors import TooManyRequests, Unavailable

# Seconds that a request waits for its turn before it is refused: a burst is borne. When no turn has been free for a while
# there is too much for good, and who waits would only make everybody wait, until nobody had to be refused for some time.
PATIENCE, PATIENCE_WHEN_BUSY = 0.5, 0.005
SLOW = 0.25  # seconds that a request keeps its turn
BUSY_AFTER, CALM_AFTER = 0.5, 5.0
MAX_OPEN = 1000  # requests that are worked on, that wait for something or for their turn, streams among them
BUSY = "This process has as much to do as it can: send the same request again."


class NoTurn(Exception):
    """The process has too much to do to take this request."""


class Turns:
    """Lets `most` requests be worked on at a time; one that waits for a server or a lock lets others work meanwhile."""

    def __init__(self, most: int) -> None:
        self._free = _Free(most)
        self._open = 0
        self._refused = -math.inf  # when somebody was last

    @asynccontextmanager
    async def work(self) -> AsyncGenerator[None]:
        """Hold a turn around a request. Raises NoTurn when it gets none in time, or MAX_OPEN requests are open."""
        if self._open >= MAX_OPEN:
            raise NoTurn
        self._open += 1
        turn = _Turn(self._free)
        token = _turn.set(turn)
        try:
            try:
                async with asyncio.timeout(self._patience()):
                    await turn.take()
            except TimeoutError:
                self._refused = time.monotonic()
                raise NoTurn from None
            yield
        finally:
            _turn.reset(token)
            turn.end()
            self._open -= 1

    def _patience(self) -> float:
        now = time.monotonic()
        busy = now - self._refused < CALM_AFTER or now - self._free.last > BUSY_AFTER
        return PATIENCE_WHEN_BUSY if busy else PATIENCE


class _Free:
    """Counts the free turns and queues who waits for one; requests that have begun come before new ones."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._taken = -math.inf  # when the last free one was
        self._begun: deque[asyncio.Future[None]] = deque()
        self._new: deque[asyncio.Future[None]] = deque()

    @property
    def last(self) -> float:
        """Return when a turn was last free, by the monotonic clock: now, if one is free now."""
        return time.monotonic() if self._left else self._taken

    async def acquire(self, *, first: bool) -> None:
        if self._left:
            self._left -= 1
            self._taken = time.monotonic()
            return
        mine = asyncio.get_running_loop().create_future()
        (self._begun if first else self._new).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it was given at the very moment
                self.release()
            raise

    def release(self) -> None:
        for line in (self._begun, self._new):
            while line:
                if not (waits := line.popleft()).done():
                    waits.set_result(None)
                    return
        self._left += 1


class _Turn:
    """The turn of one request, shared by all its tasks; a task that outlives the request works without one.

    A request that keeps its turn for long (SLOW) waits for a lock or a server: it loses the turn to others and goes on.
    """

    def __init__(self, free: _Free) -> None:
        self._free = free
        self._mine = self._over = self._begun = False
        self._slow: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        if self._mine or self._over:
            return
        await self._free.acquire(first=self._begun)
        self._begun = True
        if self._mine or self._over:  # another task of the request was faster, or it has ended meanwhile
            self._free.release()
        else:
            self._mine = True
            self._slow = asyncio.get_running_loop().call_later(SLOW, self.give_back)

    def give_back(self) -> None:
        if self._slow:
            self._slow.cancel()
        if self._mine:
            self._mine = False
            self._free.release()

    def end(self) -> None:
        self.give_back()
        self._over = True


_turn: ContextVar[_Turn | None] = ContextVar("turn", default=None)


@asynccontextmanager
async def waiting() -> AsyncGenerator[None]:
    """Give back the request's turn around a wait that costs this process nothing, and take a turn again afterwards."""
    turn = _turn.get()
    if turn is None:
        yield
        return
    turn.give_back()
    yield
    await turn.take()


def only_waits() -> None:
    """Give back the request's turn for good, as from now on it mostly waits."""
    if turn := _turn.get():
        turn.end()


class Seats:
    """Limits the streams that are open: `each` for a caller, `most` in all."""

    def __init__(self, each: int, most: int) -> None:
        self._each, self._most = each, most
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, who: str) -> Generator[None]:
        """Hold a seat of `who` as long as a stream lasts. Raises TooManyRequests for `each`, Unavailable for `most`."""
        if self._taken[who] >= self._each:
            raise TooManyRequests(code="TOO_MANY_STREAMS", detail=f"You watch {self._each} things already: let one go.")
        if self._taken.total() >= self._most:
            raise Unavailable(code="OVERLOADED", detail=BUSY)
        self._taken[who] += 1
        try:
            yield
        finally:
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]
