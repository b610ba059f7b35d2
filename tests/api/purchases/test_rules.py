"""The settings of a door are the rules its purchases run by."""

from __future__ import annotations

from datetime import timedelta

from application.wiring import rules_of
from runtime.settings import Settings


def test_every_rule_that_is_a_setting_reaches_the_purchase() -> None:
    rules = rules_of(
        Settings(
            gate_deadline=timedelta(hours=1),
            repair_deadline=timedelta(hours=2),
            payment_pending_deadline=timedelta(hours=3),
            attention_escalate_after=timedelta(hours=4),
            two_person_limit=100_00,
        )
    )
    assert (rules.gate_deadline, rules.repair_deadline, rules.pending_deadline) == (3600, 7200, 10800)
    assert (rules.escalate_after, rules.two_person_limit) == (14400, 100_00)


def test_without_a_setting_no_deadline_ends_a_repair_and_one_person_is_enough() -> None:
    rules = rules_of(Settings())
    assert (rules.repair_deadline, rules.two_person_limit, rules.escalate_after) == (0, 0, 24 * 3600)
