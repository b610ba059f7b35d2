"""Tell from a URL which host it names, and whether that is this machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def host_of(url: str) -> str:
    """Return the host that the URL names; empty when it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def on_this_machine(url: str) -> bool:
    """Return whether the URL leads to this machine: by loopback or by a socket file."""
    host = host_of(url)
    if host in ("", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
