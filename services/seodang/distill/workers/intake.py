"""Brings what a worker writes to its events file into the database, each line exactly once."""

import asyncio

from seodang.distill.clock import Clock
from seodang.distill.database.unit_of_work import Database
from seodang.distill.jobs.feed import JobFeed
from seodang.distill.workers import translation
from seodang.distillation import AnyEvent, CurvePoint, JobFolder, Progressed, StateChanged, read_events


class EventIntake:
    """The reader of one job's events. How far it got is kept in the same transaction as what it read."""

    def __init__(self, job_id: str, folder: JobFolder, database: Database, feed: JobFeed, clock: Clock) -> None:
        self._job_id = job_id
        self._folder = folder
        self._database = database
        self._feed = feed
        self._clock = clock
        self._offset: int | None = None
        self._furthest: dict[tuple[str, str], int] = {}
        self._advanced = False

    async def take_in(self) -> None:
        """Takes in every whole line that is new."""
        if self._offset is None:
            async with self._database.read() as work:
                self._offset = (await work.jobs.get(self._job_id)).events_offset
        events, offset = await asyncio.to_thread(read_events, self._folder.events, self._offset)
        if not events:
            return
        async with self._database.write() as work:
            job = await work.jobs.get(self._job_id, lock=True)
            points = [translation.curve_point(event) for event in events if isinstance(event, CurvePoint)]
            await work.curves.append(self._job_id, points)
            told = [event for event in events if isinstance(event, Progressed | StateChanged)]
            message = next((event.message for event in reversed(told) if isinstance(event, StateChanged)), "")
            progress = translation.progress(told[-1]) if told else None
            await work.jobs.save(job.reported(offset, progress, message, self._clock()))
            await work.commit()
        self._offset = offset
        self._note_advance(events)
        self._feed.announce(self._job_id)

    def advanced(self) -> bool:
        """Whether the job came further than ever before since this was asked last.

        A process that repeats what an earlier one did has not come further, so that a job which always dies at the
        same place is told from one which is killed now and then.
        """
        advanced, self._advanced = self._advanced, False
        return advanced

    def _note_advance(self, events: list[AnyEvent]) -> None:
        for event in events:
            if isinstance(event, Progressed):
                where = (event.stage, event.subject)
                if event.done > self._furthest.get(where, 0):
                    self._furthest[where] = event.done
                    self._advanced = True
