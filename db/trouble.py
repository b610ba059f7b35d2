"""Tell trouble of the database server from a statement that it refuses."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

# sqlstate classes in which the server, not the request, is the trouble: connection, resources, shutdown,
# transaction rollback (deadlock, serialization), lock and statement timeouts, read-only standby.
_TROUBLE = ("08", "53", "57", "40")
_TROUBLE_STATES = ("55P03", "25006", "25P03", "25P04")


def is_database_trouble(err: SQLAlchemyError) -> bool:
    """Return whether the database, and not the statement, is to blame for this error."""
    if isinstance(err, PoolTimeout):
        return True
    if not isinstance(err, DBAPIError):
        return False
    state = getattr(err.orig, "sqlstate", None)
    if state is None:
        return err.connection_invalidated or isinstance(err, OperationalError | InterfaceError)
    return state.startswith(_TROUBLE) or state in _TROUBLE_STATES
