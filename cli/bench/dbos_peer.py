"""The peer DBOS: the same activities as steps of a DBOS workflow, its memory in a database of its own on the same server.

Each step has the quick tries of ours, a refusal none. What still fails is undone in the order of ours, and told. Ours
would park instead and wait for what is missing; that is not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Engine, make_url

from cli.bench.story import Call, refused, story
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from gateways.payments import PaymentProvider
from runtime.clock import clock
from runtime.errors import CannotRun
from runtime.settings import Settings
from workflows.policies import Rules

if TYPE_CHECKING:
    from dbos import StepOptions


class Dbos:
    """Carries purchases as DBOS workflows, each called by the thread that buys. Raises CannotRun without the extra."""

    def __init__(self, settings: Settings, engine: Engine, provider: PaymentProvider) -> None:
        try:
            import dbos  # here: it is an extra, and what it imports runs a program
        except ImportError:
            raise CannotRun("the package `dbos` is not installed: it is in the extra `bench`") from None
        assert settings.database_url is not None
        url = make_url(settings.database_url.get_secret_value())
        url = url.set(database=f"{url.database}_dbos")
        config = dbos.DBOSConfig(
            name="coursaga-bench",
            system_database_url=url.render_as_string(hide_password=False),
            sys_db_pool_size=settings.activity_slots,
            application_version="bench",
            log_level="WARNING",
        )
        self._engine, self._clock = engine, clock(settings)
        self._story = story(engine, provider, self._clock)
        self._dbos, self._named = dbos.DBOS, dbos.SetWorkflowID
        dbos.DBOS(config=config)

        @dbos.DBOS.workflow(name="purchase")
        def purchase(order: PurchaseOrder) -> str:
            return self._purchase(order)

        self._workflow = purchase
        dbos.DBOS.launch()

    def buy(self, order: PurchaseOrder) -> None:
        """See Peer.buy."""
        with self._named(order.workflow_id):
            self._workflow(order)

    def steps_of(self, order: PurchaseOrder) -> list[str]:
        """Return what DBOS has on record of this purchase."""
        steps = self._dbos.list_workflow_steps(order.workflow_id, load_output=False)
        return [step["function_name"] for step in steps]

    def _purchase(self, order: PurchaseOrder) -> str:
        owed: list[tuple[str, Call]] = []
        for step in self._story:
            owed.append((step.undo.__name__, step.undo))
            try:
                self._dbos.run_step(_tries(step.name), step.do, order)
            except Exception as error:
                return self._made_whole(order, owed, error)
        return "completed"

    def _made_whole(self, order: PurchaseOrder, owed: list[tuple[str, Call]], error: Exception) -> str:
        code = error.code if isinstance(error, Refused) else "TROUBLE"
        for name, undo in reversed(owed):
            self._dbos.run_step(_tries(name), undo, order)
        self._dbos.run_step(_tries("announce"), refused(self._engine, self._clock), order, code)
        return code


def _tries(name: str) -> StepOptions:
    rules = Rules()
    return {
        "name": name,
        "retries_allowed": True,
        "interval_seconds": rules.quick_pause,
        "max_attempts": rules.quick_tries,
        "backoff_rate": 2.0,
        "should_retry": lambda error: not isinstance(error, Refused),
    }
