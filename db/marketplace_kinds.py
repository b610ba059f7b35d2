"""How each kind of a marketplace file is read from and written to the tables; `db.marketplace` runs these.

Every statement takes all documents of a kind at once, as `:documents` (JSON) or `:keys` (text[]).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """The SQL that reads and writes documents of a kind. `parts` fill other tables, on an update after `clear`."""

    name: str
    read: str
    insert: str
    parts: tuple[str, ...] = ()
    update: str = ""
    clear: tuple[str, ...] = ()
    updatable: frozenset[str] = frozenset()


_STUDENTS = Kind(
    "students",
    read="""
        SELECT id AS key, jsonb_build_object('name', name, 'email', email, 'coins', coins_opening, 'profile',
            CASE WHEN num_nonnulls(timezone, latitude, longitude) > 0 THEN jsonb_build_object(
                'timezone', timezone, 'latitude', latitude, 'longitude', longitude) END) AS document
        FROM students WHERE id = ANY(:keys)""",
    insert="""
        INSERT INTO students (id, name, email, coins_opening, timezone, latitude, longitude)
        SELECT key, name, email, coins, profile ->> 'timezone',
            (profile ->> 'latitude')::float8, (profile ->> 'longitude')::float8
        FROM jsonb_to_recordset(CAST(:documents AS jsonb))
            AS file (key text, name text, email text, coins integer, profile jsonb)
        ON CONFLICT (id) DO NOTHING RETURNING id AS key""",
    update="""
        UPDATE students SET timezone = profile ->> 'timezone',
            latitude = (profile ->> 'latitude')::float8, longitude = (profile ->> 'longitude')::float8
        FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file (key text, profile jsonb) WHERE id = key""",
    updatable=frozenset({"profile"}),
)

_CATALOGUE = Kind(
    "catalogue",
    read="""
        SELECT item_type || '/' || id AS key, jsonb_build_object('itemType', item_type, 'id', id, 'title', title,
            'priceMinor', price_minor, 'currency', currency, 'fulfilment', fulfilment, 'open', open, 'subjects',
            CASE WHEN item_type = 'bundle' THEN coalesce((SELECT jsonb_agg(subject_id ORDER BY subject_id COLLATE "C")
                FROM bundle_subjects WHERE bundle_id = id), '[]') END) AS document
        FROM catalogue_items WHERE item_type || '/' || id = ANY(:keys)""",
    insert="""
        INSERT INTO catalogue_items (item_type, id, title, price_minor, currency, fulfilment, open)
        SELECT "itemType", id, title, "priceMinor", currency, fulfilment, open
        FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file ("itemType" text, id text, title text,
            "priceMinor" bigint, currency text, fulfilment text, open boolean)
        ON CONFLICT (item_type, id) DO NOTHING RETURNING item_type || '/' || id AS key""",
    parts=(
        """
        INSERT INTO bundle_subjects (bundle_id, subject_id)
        SELECT file.id, subject FROM jsonb_to_recordset(CAST(:documents AS jsonb))
            AS file (id text, "itemType" text, subjects jsonb), jsonb_array_elements_text(subjects) AS subject
        WHERE "itemType" = 'bundle' ON CONFLICT (bundle_id, subject_id) DO NOTHING""",
    ),
    update="""
        UPDATE catalogue_items AS item SET title = file.title, price_minor = file."priceMinor",
            currency = file.currency, fulfilment = file.fulfilment, open = file.open
        FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file ("itemType" text, id text, title text,
            "priceMinor" bigint, currency text, fulfilment text, open boolean)
        WHERE item.item_type = file."itemType" AND item.id = file.id""",
    clear=(
        """
        DELETE FROM bundle_subjects USING jsonb_to_recordset(CAST(:documents AS jsonb))
            AS file (id text, "itemType" text) WHERE "itemType" = 'bundle' AND bundle_id = file.id""",
    ),
    updatable=frozenset({"title", "priceMinor", "currency", "fulfilment", "open", "subjects"}),
)

_TRAINERS = Kind(
    "trainers",
    read="""
        SELECT id AS key, jsonb_build_object('name', name, 'timezone', timezone, 'latitude', latitude,
            'longitude', longitude, 'radiusKm', radius_km, 'maxGroupSize', max_group_size,
            'courses', coalesce((SELECT jsonb_agg(course_id ORDER BY course_id COLLATE "C")
                FROM trainer_courses WHERE trainer_id = id), '[]'),
            'availability', coalesce((SELECT jsonb_agg(jsonb_build_object(
                    'weekday', weekday, 'from', starts::text, 'to', ends::text) ORDER BY weekday, starts)
                FROM trainer_availability WHERE trainer_id = id), '[]'),
            'blockedDays', coalesce((SELECT jsonb_agg(day ORDER BY day)
                FROM trainer_blocked_days WHERE trainer_id = id), '[]')) AS document
        FROM trainers WHERE id = ANY(:keys)""",
    insert="""
        INSERT INTO trainers (id, name, timezone, latitude, longitude, radius_km, max_group_size)
        SELECT key, name, timezone, latitude, longitude, "radiusKm", "maxGroupSize"
        FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file (key text, name text, timezone text,
            latitude float8, longitude float8, "radiusKm" float8, "maxGroupSize" integer)
        ON CONFLICT (id) DO NOTHING RETURNING id AS key""",
    parts=(
        """
        INSERT INTO trainer_courses (trainer_id, course_id)
        SELECT key, course FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file (key text, courses jsonb),
            jsonb_array_elements_text(courses) AS course""",
        """
        INSERT INTO trainer_availability (trainer_id, weekday, starts, ends)
        SELECT key, weekday, "from", "to"
        FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file (key text, availability jsonb),
            jsonb_to_recordset(availability) AS hours (weekday integer, "from" time, "to" time)""",
        """
        INSERT INTO trainer_blocked_days (trainer_id, day)
        SELECT key, day::date FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file (key text, "blockedDays" jsonb),
            jsonb_array_elements_text("blockedDays") AS day""",
    ),
    # Locked in the order of their ids, as whoever changes slots of several trainers locks them.
    update="""
        WITH locked AS MATERIALIZED (SELECT id FROM trainers WHERE id = ANY(:keys) ORDER BY id FOR NO KEY UPDATE)
        UPDATE trainers AS trainer SET name = file.name, timezone = file.timezone, latitude = file.latitude,
            longitude = file.longitude, radius_km = file."radiusKm", max_group_size = file."maxGroupSize"
        FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file (key text, name text, timezone text,
            latitude float8, longitude float8, "radiusKm" float8, "maxGroupSize" integer), locked
        WHERE trainer.id = file.key AND locked.id = trainer.id""",
    clear=(
        "DELETE FROM trainer_courses WHERE trainer_id = ANY(:keys)",
        "DELETE FROM trainer_availability WHERE trainer_id = ANY(:keys)",
        "DELETE FROM trainer_blocked_days WHERE trainer_id = ANY(:keys)",
    ),
    updatable=frozenset(
        {"name", "timezone", "latitude", "longitude", "radiusKm", "maxGroupSize", "courses", "availability"}
        | {"blockedDays"}
    ),
)

_HOLIDAYS = Kind(
    "holidays",
    read="SELECT day::text AS key, '{}'::jsonb AS document FROM holidays WHERE day::text = ANY(:keys)",
    insert="""
        INSERT INTO holidays (day) SELECT unnest(CAST(:keys AS text[]))::date
        ON CONFLICT (day) DO NOTHING RETURNING day::text AS key""",
)

# A cart lives on after the import: what a started purchase took out of it is not put back by a second import.
_CART_ITEMS = Kind(
    "cartItems",
    read="""
        SELECT id AS key, jsonb_build_object('studentId', student_id, 'itemType', item_type, 'itemId', item_id)
            AS document FROM cart_items WHERE id = ANY(:keys)""",
    insert="""
        INSERT INTO cart_items (id, student_id, item_type, item_id)
        SELECT key, "studentId", "itemType", "itemId" FROM jsonb_to_recordset(CAST(:documents AS jsonb))
            AS file (key text, "studentId" text, "itemType" text, "itemId" text)
        WHERE NOT EXISTS (
            SELECT FROM purchase_starts AS start JOIN payment_lines AS line USING (payment_id, line)
            WHERE start.student_id = "studentId" AND (line.metadata ->> 'processingItemId' = key
                OR (line.item_type, line.item_id) = ("itemType", "itemId")))
        ON CONFLICT (id) DO NOTHING RETURNING id AS key""",
)

_PAYMENTS = Kind(
    "payments",
    read="""
        SELECT id AS key, jsonb_build_object('studentId', student_id, 'status', status, 'amountMinor', amount_minor,
            'currency', currency, 'createdAt',
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'lines', (SELECT jsonb_agg(jsonb_build_object('line', line, 'itemType', item_type, 'itemId', item_id,
                    'amountMinor', line.amount_minor, 'coins', coins, 'metadata', metadata) ORDER BY line)
                FROM payment_lines AS line WHERE payment_id = id)) AS document
        FROM payments WHERE id = ANY(:keys)""",
    insert="""
        INSERT INTO payments (id, student_id, status, amount_minor, currency, created_at)
        SELECT key, "studentId", status, "amountMinor", currency, coalesce("createdAt", :now)
        FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file (key text, "studentId" text, status text,
            "amountMinor" bigint, currency text, "createdAt" timestamptz)
        ON CONFLICT (id) DO NOTHING RETURNING id AS key""",
    parts=(
        """
        INSERT INTO payment_lines (payment_id, line, item_type, item_id, amount_minor, coins, metadata)
        SELECT key, line, "itemType", "itemId", "amountMinor", coins, metadata
        FROM jsonb_to_recordset(CAST(:documents AS jsonb)) AS file (key text, lines jsonb),
            jsonb_to_recordset(lines) AS line (line integer, "itemType" text, "itemId" text, "amountMinor" bigint,
                coins bigint, metadata jsonb)""",
    ),
)

KINDS = (_STUDENTS, _CATALOGUE, _TRAINERS, _HOLIDAYS, _CART_ITEMS, _PAYMENTS)
