"""What each process may do in the database: one role per process, with what its statements need and nothing more.

None of these roles owns a table, so none can change one, drop a trigger or truncate: only the role that migrates can.
Only the owner may use a table that is not named here, and a test fails. Numbers of identity columns need no privilege,
nor do foreign keys and the triggers that write: these act as the owner of the tables.

`coursaga migrate` brings the database to exactly this, for those of the roles that exist (deploy/postgres/roles.sh
makes them). Where none exists, as in development, one role does everything.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text

API, WORKER, RELAY, CONSUMER = ROLES = ("coursaga_api", "coursaga_worker", "coursaga_relay", "coursaga_consumer")
NOTHING, READ = "", "SELECT"


class May(NamedTuple):
    """What each process may do with a table, as GRANT says it.

    UPDATE of the key column alone is granted to lock rows, for which PostgreSQL wants the right to change one column;
    foreign keys keep a key that something refers to from being changed.
    """

    api: str
    worker: str
    relay: str
    consumer: str


GRANTS: dict[str, May] = {
    "alembic_version": May(api=READ, worker=NOTHING, relay=NOTHING, consumer=NOTHING),
    "allocations": May(
        api="SELECT, INSERT, UPDATE (status, cancelled_at)",
        worker=(
            "SELECT, INSERT, UPDATE (purchase_id, trainer_id, status, metadata, won, lost, decided_by, "
            "created_at, approved_at, cancelled_at)"
        ),
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "bulk_requests": May(
        api="SELECT, INSERT, UPDATE (actor, reason, asked_at, covers, second_actor, confirmed_at)",
        worker=NOTHING,
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "bundle_subjects": May(api=READ, worker=READ, relay=NOTHING, consumer=NOTHING),
    "calendar_links": May(
        api="SELECT, INSERT, UPDATE (token_hash, made_by, made_at), DELETE",
        worker=NOTHING,
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "cart_items": May(api="SELECT, INSERT, DELETE", worker="SELECT, DELETE", relay=NOTHING, consumer=NOTHING),
    "catalogue_items": May(api=READ, worker=READ, relay=NOTHING, consumer=READ),
    "coin_balances": May(api=READ, worker=READ, relay=NOTHING, consumer=NOTHING),
    "coin_movements": May(api="SELECT, INSERT", worker="SELECT, INSERT", relay=NOTHING, consumer=NOTHING),
    "dead_letter_acts": May(api="SELECT, INSERT", worker=NOTHING, relay=NOTHING, consumer=NOTHING),
    "dead_letters": May(
        api="SELECT, UPDATE (fixed_payload, replayed_at, code, detail)",
        worker="SELECT (id, payload, headers, replayed_at), UPDATE (payload, message_key, fixed_payload, headers)",
        relay=NOTHING,
        consumer="SELECT (digest), INSERT, UPDATE (topic_says)",
    ),
    "enrollments": May(
        api=READ,
        worker="SELECT, INSERT, UPDATE (expires_on, ended_at, expired)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "holidays": May(api=READ, worker=READ, relay=NOTHING, consumer=NOTHING),
    "idempotency_keys": May(
        api="SELECT, INSERT, UPDATE (taken_until, answer), DELETE",
        worker="SELECT (actor, operation, key, created_at), DELETE",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "learning_versions": May(api=NOTHING, worker="SELECT, INSERT, UPDATE (version)", relay=NOTHING, consumer=NOTHING),
    "mock_test_attempts": May(
        api="SELECT, UPDATE (id)",
        worker="SELECT, INSERT, UPDATE (voided_at)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "operator_acts": May(api=READ, worker="SELECT, INSERT", relay=NOTHING, consumer=NOTHING),
    "operator_decisions": May(api=READ, worker="SELECT, INSERT", relay=NOTHING, consumer=READ),
    "outbox": May(api=READ, worker="SELECT, INSERT, DELETE", relay="SELECT, UPDATE (published_at)", consumer=NOTHING),
    "ownerships": May(api=NOTHING, worker="SELECT, INSERT, UPDATE (revoked_at)", relay=NOTHING, consumer=NOTHING),
    "payment_lines": May(
        api="SELECT, INSERT",
        worker="SELECT, UPDATE (given_back_minor)",
        relay=NOTHING,
        consumer=READ,
    ),
    "payments": May(
        api="SELECT, INSERT, UPDATE (status)",
        worker="SELECT, UPDATE (status)",
        relay=NOTHING,
        consumer="SELECT, UPDATE (status)",
    ),
    "purchase_progress": May(api=READ, worker=NOTHING, relay=NOTHING, consumer=NOTHING),
    "purchase_requests": May(api="SELECT, INSERT", worker=READ, relay=NOTHING, consumer=NOTHING),
    "purchase_starts": May(
        api="SELECT, INSERT, UPDATE (attempt, event_metadata, started_at, ending, code, refunded, ended_at)",
        worker="SELECT, UPDATE (ending, code, refunded, ended_at, decisions)",
        relay=NOTHING,
        consumer="SELECT, INSERT, UPDATE (attempt, event_metadata, started_at, ending, code, refunded, ended_at)",
    ),
    "purchase_steps": May(api=READ, worker="SELECT, INSERT, UPDATE (state, at)", relay=NOTHING, consumer=READ),
    "purchase_subjects": May(api=NOTHING, worker="SELECT, INSERT", relay=NOTHING, consumer=NOTHING),
    "purchases": May(api=NOTHING, worker=NOTHING, relay=NOTHING, consumer=NOTHING),
    "refund_debts": May(
        api=NOTHING,
        worker="SELECT, INSERT, UPDATE (settled_at_minor)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "refunds": May(
        api=READ,
        worker="SELECT, INSERT, UPDATE (status, provider_id, settled_at)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "refused_matchings": May(
        api=READ,
        worker="SELECT, INSERT, UPDATE (code, message, lost, decided_by, refused_at)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "refused_messages": May(
        api=NOTHING,
        worker=NOTHING,
        relay=NOTHING,
        consumer="SELECT, INSERT, UPDATE (digest, tries, code, detail, settled), DELETE",
    ),
    "request_keys": May(
        api="SELECT, INSERT, UPDATE (answered)",
        worker="SELECT (door, scope, key, used_at), DELETE",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "sessions": May(
        api=READ,
        worker="SELECT, INSERT, UPDATE (starts_at, ends_at, local_start, zone, status, clock, asked_start)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "slot_history": May(api=READ, worker=NOTHING, relay=NOTHING, consumer=NOTHING),
    "student_course_purchases": May(
        api=READ,
        worker=(
            "SELECT, INSERT, UPDATE (status, session_count, session_count_source, metadata, metadata_sources, "
            "warnings, series_start, expires_on, completed_at, voided_at, superseded_by, expired_at)"
        ),
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "students": May(
        api="SELECT (id, timezone, latitude, longitude), INSERT (id, name), UPDATE (timezone, latitude, longitude)",
        worker="SELECT (id, timezone, latitude, longitude), UPDATE (id)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "taken_events": May(
        api="SELECT, INSERT, UPDATE (handled_at)",
        worker=NOTHING,
        relay=NOTHING,
        consumer="SELECT, INSERT, UPDATE (handled_at)",
    ),
    "test_attempt_sessions": May(api="SELECT, INSERT", worker="SELECT (test_card_id)", relay=NOTHING, consumer=NOTHING),
    "test_attempts": May(api="SELECT, UPDATE (state, started_at)", worker=NOTHING, relay=NOTHING, consumer=NOTHING),
    "trainer_availability": May(api="SELECT, INSERT, DELETE", worker=READ, relay=NOTHING, consumer=NOTHING),
    "trainer_blocked_days": May(api="SELECT, INSERT, DELETE", worker=READ, relay=NOTHING, consumer=NOTHING),
    "trainer_courses": May(api="SELECT, INSERT, DELETE", worker=READ, relay=NOTHING, consumer=NOTHING),
    "trainer_slots": May(
        api="SELECT, INSERT, UPDATE (status)",
        worker="SELECT, INSERT, UPDATE (trainer_id, during, local_start, zone, status, clock, asked_start)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "trainers": May(
        api="SELECT, INSERT, UPDATE (name, timezone, latitude, longitude, radius_km, max_group_size)",
        worker="SELECT, UPDATE (last_assigned_at, load, load_since, load_until)",
        relay=NOTHING,
        consumer=NOTHING,
    ),
    "webhook_deliveries": May(
        api=READ,
        worker="SELECT (target_id, event_id, delivered_at, given_up_at), DELETE",
        relay="SELECT, INSERT, UPDATE (tries, next_try_at, answer, delivered_at, given_up_at)",
        consumer=NOTHING,
    ),
    "webhook_targets": May(
        api="SELECT (id, url, event_types, created_at, removed_at), INSERT, UPDATE (removed_at, secret, sealed_secret)",
        worker=NOTHING,
        relay="SELECT, UPDATE (secret, sealed_secret)",
        consumer=NOTHING,
    ),
}

# The functions of our own, without those of extensions.
_FUNCTIONS = text("""
SELECT oid::regprocedure::text FROM pg_proc AS function WHERE pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = function.oid AND deptype = 'e')
""")
_THERE = text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles) ORDER BY array_position(:roles, rolname)")


def grant(connection: Connection) -> list[str]:
    """Give every role that exists exactly the privileges of GRANTS and return these roles. It is part of the caller's
    transaction, which must be the owner's: others fail with 42501 (insufficient_privilege)."""
    roles = list(connection.scalars(_THERE, {"roles": list(ROLES)}))
    if not roles:
        return roles
    everyone = ", ".join(roles)
    database = connection.scalars(text("SELECT quote_ident(current_database())")).one()
    said = [
        f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, {everyone}",
        f"GRANT CONNECT ON DATABASE {database} TO {everyone}",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"REVOKE ALL ON SCHEMA public FROM {everyone}",
        f"GRANT USAGE ON SCHEMA public TO {everyone}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, {everyone}",
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, {everyone}",
        *(f"REVOKE ALL ON FUNCTION {each} FROM PUBLIC, {everyone}" for each in connection.scalars(_FUNCTIONS)),
    ]
    for table, may in GRANTS.items():
        for role, privileges in zip(ROLES, may, strict=True):
            if privileges and role in roles:
                said.append(f"GRANT {privileges} ON {table} TO {role}")
    connection.exec_driver_sql(";\n".join(said))
    return roles
