"""What an address says of the machine it leads to."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def host_of(url: str) -> str:
    """The host it names; empty when it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def on_this_machine(url: str) -> bool:
    """Whether it leads here: by loopback or by a socket file."""
    host = host_of(url)
    if host in ("", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
