"""Checks of `coursaga doctor` on processes: this interpreter, the API, the relay, the payment provider."""

from __future__ import annotations

import platform
import sys
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from cli.doctor.check import FINE, NOT_RUNNING, UNREACHABLE, WRONG, Check
from runtime.child_processes import identity
from runtime.settings import Settings
from runtime.state import find


def python() -> Check:
    """Report the interpreter; it is always fine, as the package installs on Python 3.11 and later only."""
    return Check("python", FINE, f"{platform.python_version()}, {sys.executable}")


def api(settings: Settings) -> Check:
    """Check that the API is ready: at API_URL, or where the stack of this home has it."""
    running = find(settings.coursaga_home)
    url = settings.api_url or (running.api if running else None)
    if url is None:
        return Check("api", UNREACHABLE, "no API", NOT_RUNNING.format("API_URL"))
    try:
        with urlopen(f"{url.rstrip('/')}/readyz", timeout=5):
            return Check("api", FINE, f"{url} is ready")
    except HTTPError as error:
        return Check(
            "api", WRONG, f"{url} answers {error.code}", "see the other checks: it names what it lacks at /readyz"
        )
    except (URLError, OSError, ValueError) as error:
        return Check(
            "api", UNREACHABLE, f"{url} does not answer ({type(error).__name__})", "start it with `coursaga api`"
        )


def relay(settings: Settings) -> Check:
    """Check that the relay of this home's stack lives; whether any relay sends events is seen by the outbox's check."""
    running = find(settings.coursaga_home)
    pid = running.pids.get("relay") if running else None
    if pid is None:
        return Check("relay", FINE, "none of this home's stack; the outbox says whether one tells events")
    if identity(pid) is None:
        return Check(
            "relay",
            WRONG,
            f"process {pid} is gone",
            "stop the stack and start it again: `coursaga down`, `coursaga up`",
        )
    return Check("relay", FINE, f"process {pid}")


def provider(settings: Settings) -> Check:
    """Check that the payment provider answers at all."""
    if settings.provider_url is None:
        return Check("payment provider", UNREACHABLE, "no provider", NOT_RUNNING.format("PROVIDER_URL"))
    try:
        with urlopen(settings.provider_url, timeout=5):
            pass
    except HTTPError:
        pass  # an answer, whatever it says of this path
    except (URLError, OSError) as error:
        says = f"{settings.provider_url}: {error}"
        return Check("payment provider", UNREACHABLE, says, "start it, or correct PROVIDER_URL")
    return Check("payment provider", FINE, settings.provider_url)
