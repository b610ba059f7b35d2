"""The worker process: wiring only. `python -m worker` serves the task queue until SIGTERM or SIGINT.

Exit codes: 0 stopped as asked, 1 a setting is wrong, 3 a server is not reachable.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Engine
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.access import AccessActivities
from activities.acts import ActActivities
from activities.cart import CartActivities
from activities.closed_days import StrandedActivities
from activities.coins import CoinActivities
from activities.enrollment import EnrollmentActivities
from activities.error_mapping import Boundary
from activities.lesson_changes import LessonChangeActivities
from activities.payment import PaymentActivities
from activities.pruning import PruningActivities
from activities.purchase import PurchaseActivities
from activities.sessions import SessionActivities
from activities.slot_holds import HoldActivities
from activities.test_cards import CardActivities
from activities.trainer import TrainerActivities
from db.engine import make_engine
from gateways.payments import HttpPaymentProvider, PaymentProvider
from gateways.task_queue import deployment_of
from runtime.build import build_id
from runtime.clock import clock
from runtime.errors import ServerUnreachable
from runtime.heartbeat import SECONDS, beat
from runtime.leaving import leave
from runtime.process import run
from runtime.schedules import keep_sweeping
from runtime.settings import Settings
from runtime.stopping import asked_to_stop, rest
from runtime.temporal import connect, metered
from workflows.policies import Rules
from workflows.served import WORKFLOWS

log = structlog.stdlib.get_logger()


def activities_of(
    engine: Engine,
    provider: PaymentProvider,
    now: Callable[[], datetime],
    *,
    auto_approve: bool,
    keep_for: timedelta,
) -> list[Callable[..., Any]]:
    """Return every activity that a worker runs, wired to its database, its provider and its clock."""
    payment = PaymentActivities(engine, provider, now)
    purchase = PurchaseActivities(engine, now)
    coins = CoinActivities(engine, now)
    enrollment = EnrollmentActivities(engine, now)
    trainer = TrainerActivities(engine, now, auto_approve)
    sessions = SessionActivities(engine, now)
    cards = CardActivities(engine, now)
    cart = CartActivities(engine, now)
    acts = ActActivities(engine, now)
    access = AccessActivities(engine, now)
    stranded = StrandedActivities(engine, now)
    return [
        payment.confirm_payment,
        payment.refund_payment,
        purchase.create_purchase,
        purchase.void_purchase,
        purchase.announce,
        coins.redeem_coins,
        coins.recredit_coins,
        enrollment.enroll,
        enrollment.unenroll,
        trainer.assign_trainer,
        trainer.release_trainer,
        trainer.approve_allocation,
        trainer.cancel_allocation,
        sessions.create_sessions,
        sessions.cancel_sessions,
        cards.issue_test_cards,
        cards.void_test_cards,
        cart.clear_cart,
        cart.rule_out_completion,
        acts.decide,
        acts.record_act,
        access.end_access,
        access.extend_access,
        HoldActivities(engine, now).release_hold,
        LessonChangeActivities(engine, now).change_lessons,
        stranded.find_stranded_lessons,
        stranded.move_stranded_lessons,
        PruningActivities(engine, now, keep_for).prune,
    ]


def make_worker(client: Client, settings: Settings, engine: Engine, provider: PaymentProvider) -> Worker:
    """Build a worker of the purchases' queue.

    Activities and local ones have `activity_slots` threads each, so that a provider that hangs holds up no local one, and
    that many database connections together. Workflows run without the sandbox unless it is asked for, as the tests do:
    what it would find a replay finds before a release.
    """
    slots = settings.activity_slots
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=WORKFLOWS,
        activities=activities_of(
            engine,
            provider,
            clock(settings),
            auto_approve=settings.auto_approve_allocations,
            keep_for=settings.keep_for,
        ),
        workflow_runner=SandboxedWorkflowRunner() if settings.workflow_sandbox else UnsandboxedWorkflowRunner(),
        activity_executor=ThreadPoolExecutor(2 * slots, thread_name_prefix="activity"),
        max_concurrent_activities=slots,
        # Each workflow task has at most one local activity under way: none waits for a thread.
        max_concurrent_local_activities=slots,
        max_concurrent_workflow_tasks=max(slots, 2),  # the SDK wants two, one of them for a cached run
        interceptors=[Boundary()],
        # Longer than one try of a step, so that SIGTERM lets running tries end.
        graceful_shutdown_timeout=timedelta(seconds=Rules().attempt + 2),
        deployment_config=deployment_config(settings),
    )


def deployment_config(settings: Settings) -> WorkerDeploymentConfig:
    """Return this build. With WORKER_VERSIONING it gets work once it is current, then runs of earlier builds, too."""
    versioned = bool(settings.worker_versioning)
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_of(settings.task_queue), build_id()),
        use_worker_versioning=versioned,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE if versioned else VersioningBehavior.UNSPECIFIED,
    )


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let the running tries end."""
    stop = asked_to_stop()
    if not settings.database_url or not settings.provider_url:
        raise ServerUnreachable(
            "a worker needs DATABASE_URL and PROVIDER_URL, and no stack runs (start everything with `coursaga up`)"
        )
    metrics = metered(settings.worker_metrics_address) if settings.worker_metrics_address else None
    client = await connect(settings, runtime=metrics)
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=settings.activity_slots, planned_once=True)
    with HttpPaymentProvider(settings.provider_url, timeout=Rules().attempt - 2) as provider:
        gc.freeze()  # what is loaded by now stays: no collection has to look at it
        async with make_worker(client, settings, engine, provider):
            await keep_sweeping(client, settings.task_queue)
            versioned = bool(settings.worker_versioning)
            log.info("worker_serves", task_queue=settings.task_queue, build=build_id(), versioned=versioned)
            while not stop.is_set():
                beat(settings.heartbeat_folder, "worker")
                await rest(stop, SECONDS)
            log.info("worker_stops")
    engine.dispose()


def main() -> int:
    """Run the worker process and return its exit code."""
    return run("worker", serve)


if __name__ == "__main__":
    leave(main())
