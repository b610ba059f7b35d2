"""Look for the trainer whom a purchase would get now, by the rules of the step."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from db.reads.preflight import Ahead, who_could_teach
from db.teaching import Round
from domain.matching import Place
from domain.matching_explanation import Choice, NobodyFits, choose
from domain.schedule import Lesson
from domain.wanted_lessons import WantedLessons


@dataclass(frozen=True)
class TrainerSearch:
    """Who is to learn what and when; `home`: where the student is, also for lessons online."""

    student_id: str
    course_id: str
    lessons: Sequence[Lesson]
    wanted: WantedLessons
    home: Place

    async def look(self, conn: AsyncConnection, now: datetime) -> Ahead:
        """Return the trainers who come first, and what the student has at these times."""
        return await self._look(conn, now, self._whom())

    async def choose(self, conn: AsyncConnection, ahead: Ahead, now: datetime, taken: Collection[str] = ()) -> Choice:
        """Choose the best who fits, looking further while nobody does.

        `taken` are ids of trainers whose slots another purchase took meanwhile. Raises NobodyFits.
        """
        while True:
            try:
                return await asyncio.to_thread(self._choose, ahead, taken)
            except NobodyFits:
                if len(ahead.trainers) >= ahead.teaching:
                    raise
            further = await self._look(conn, now, self._whom().after(ahead.trainers))
            ahead = ahead.with_further(further.trainers)

    async def _look(self, conn: AsyncConnection, now: datetime, whom: Round) -> Ahead:
        return await who_could_teach(conn, self.student_id, self.course_id, self.lessons, now, whom)

    def _whom(self) -> Round:
        preferred = self.wanted.preferred_trainer
        near = self.home if self.wanted.learning_mode == "home" else None
        return Round(near, self.wanted.group_size, (preferred,) if preferred else ())

    def _choose(self, ahead: Ahead, taken: Collection[str]) -> Choice:
        return choose(
            self.course_id, ahead.trainers, self.lessons, home=self.home, wanted=self.wanted, taken=taken,
            teaching=ahead.teaching,
        )  # fmt: skip
