"""`coursaga release`: give the work to a new build of the workers, once its code repeats the open runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from temporalio.service import RPCError

from cli.operators.acts import WrongUsage
from cli.output import FAILED, FINE, Json, print_json, print_line
from cli.release.replay import Replay, replay_open_runs
from runtime.build import build_id
from runtime.errors import ServerUnreachable
from runtime.settings import load_settings
from runtime.state import attached
from runtime.temporal import connect
from runtime.versions import NotReleased, Released, make_current

_NAMED = 20  # runs


@dataclass(frozen=True)
class _Outcome:
    build: str
    replay: Replay | None
    released: Released | None
    fault: str = ""

    def report(self) -> dict[str, object]:
        """Return the object that --json prints."""
        seen = self.replay.report() if self.replay else {}
        made = {"current": self.released.build, "before": self.released.before} if self.released else {}
        return {"build": self.build, "released": self.released is not None, **made, **seen, "fault": self.fault or None}


async def release(
    *,
    build: Annotated[str | None, Parameter(help="The build to release; this code's own if none is said.")] = None,
    check: Annotated[bool, Parameter(negative=(), help="Only replay; release nothing.")] = False,
    replay: Annotated[bool, Parameter(negative="--no-replay", help="Replay open runs first.")] = True,
    seconds: Annotated[float, Parameter(help="How long to wait for a worker of the build.")] = 60,
    json: Json = False,
) -> int:
    """Give the work to the workers of this code's build, after replaying the runs that are open.

    Of each type of workflow the 100 newest and the 100 oldest open runs are replayed. If this code would not have done
    what one of them did, nothing is changed, the build before goes on, and the exit code is 1. Otherwise it waits until
    a worker of the build polls, and makes it current: open runs go on with it where they stand. Safe to repeat.

    To roll back, run it with the earlier code, so that this is replayed; where there is none at hand,
    `--build EARLIER --no-replay`. Workers take part that run with WORKER_VERSIONING=true, as those of `coursaga up`.
    """
    own = build_id()
    wanted = build or own
    if check and not replay:
        raise WrongUsage("--check only replays, so --no-replay leaves nothing to do")
    if wanted != own and (replay or check):
        raise WrongUsage(
            f"this code is build {own} and cannot replay for {wanted}: run `coursaga release` with the code of {wanted}, "
            "or release it unreplayed with --no-replay"
        )
    settings = attached(load_settings())
    client = await connect(settings)
    try:
        replayed = await replay_open_runs(client, settings.task_queue) if replay else None
        if replayed and replayed.broken:
            return _tell(_Outcome(wanted, replayed, None, _refusal(wanted, replayed)), json)
        if check:
            return _tell(_Outcome(wanted, replayed, None), json)
        released = await make_current(client, settings.task_queue, wanted, seconds=seconds)
        return _tell(_Outcome(wanted, replayed, released), json)
    except NotReleased as failed:
        return _tell(_Outcome(wanted, None, None, str(failed)), json)
    except RPCError as error:
        raise ServerUnreachable(f"Temporal does not answer: {error.status.name}, {error.message}") from None


def _refusal(build: str, replayed: Replay) -> str:
    return (
        f"build {build} is not released, nothing was changed: its code would not have done what "
        f"{len(replayed.broken)} open runs did. Change the workflow behind `workflow.patched`, so that runs of before go "
        "on as before, or go on with the earlier build"
    )


def _tell(outcome: _Outcome, as_json: bool) -> int:
    if as_json:
        print_json(outcome.report())
        return FAILED if outcome.fault else FINE
    if outcome.replay:
        counts = [f"{outcome.replay.replayed[kind]} of {count} {kind}" for kind, count in outcome.replay.open.items()]
        print_line(f"replayed {', '.join(counts) or 'nothing, no run is open'}")
        for run in outcome.replay.broken[:_NAMED]:
            print_line(f"  {run.workflow_id} ({run.workflow_type}, run {run.run_id}): {run.why}")
    if outcome.fault:
        print_line(outcome.fault)
        return FAILED
    if outcome.released is None:
        print_line(f"build {outcome.build} repeats all of them; nothing was released")
    elif outcome.released.changed:
        print_line(f"build {outcome.build} gets the work now; before, it was {outcome.released.before}")
    else:
        print_line(f"build {outcome.build} gets the work, as before")
    return FINE
