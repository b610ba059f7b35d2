"""Send signed webhooks (standardwebhooks), and only to addresses that an outsider may name.

The name of the target is resolved at each try, every address it has is checked, and the connection goes to a checked
one: a name that points elsewhere a moment later does not lead inside.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import httpx2
from standardwebhooks.webhooks import Webhook

PATIENCE = 10.0  # seconds for one try in all, the name's lookup included
_CONNECT = 3.0  # for one of its addresses
# What the library counts as global and is not: IPv4 addresses, of our own network too, in the dress of IPv6 (NAT64, its
# local form, the old compatible form), site-local addresses, and the one at which Azure tells machines about themselves.
_INSIDE = tuple(
    ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "fec0::/10", "168.63.129.16/32")
)
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # in bits 32 to 63; an IPv4 address follows
_SUCCESS = range(200, 300)
# Threads of their own: the name server of a target may keep one waiting far longer than we wait for it.
_ASKING_NAMES = ThreadPoolExecutor(64, thread_name_prefix="names")

Addresses = list[IPv4Address | IPv6Address]


class TargetRefused(Exception):
    """We do not send to this address; the message says why."""


class Webhooks:
    """Sends events. `private`: also to loopback and private addresses, and without TLS (development).

    Whatever a target does, a try ends after `patience` seconds, and only the head of its answer is read.
    """

    def __init__(self, *, private: bool, patience: float = PATIENCE) -> None:
        self._private, self._patience = private, patience
        self._lookups: dict[str, asyncio.Task[Addresses]] = {}
        # No connection is kept: they are told apart by address, and one address may be the host of many names.
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(patience, connect=_CONNECT),
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none is taken from anybody
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def send(self, url: str, secret: str, event_id: str, body: bytes) -> tuple[bool, str]:
        """Try once. Return whether the target took it (2xx), and its status or why it could not be asked."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._send(url, secret, event_id, body)
        except TargetRefused as err:
            return False, f"refused: {err}"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as err:  # TimeoutError is an OSError
            return False, type(err).__name__

    async def close(self) -> None:
        """Close the connections and cancel the lookups of names that are under way."""
        for lookup in self._lookups.values():
            lookup.cancel()
        await self._client.aclose()

    async def _send(self, url: str, secret: str, event_id: str, body: bytes) -> tuple[bool, str]:
        parts = parsed(url, private=self._private)
        addresses = await self._looked_up(parts)
        host = parts.hostname or ""
        now = datetime.now(UTC)
        headers = {
            "host": parts.netloc,
            "content-type": "application/json",
            "user-agent": "coursaga",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(event_id, now, body.decode()),
        }
        failed: httpx2.HTTPError | None = None
        for address in addresses:
            there = httpx2.URL(url).copy_with(host=str(address))
            try:
                async with self._client.stream(
                    "POST", there, content=body, headers=headers, extensions={"sni_hostname": host}
                ) as answer:  # of the answer only the status is read: its body may never end
                    return answer.status_code in _SUCCESS, str(answer.status_code)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as err:  # nothing was sent: the next one may be there
                failed = err
        raise failed or TargetRefused("its host has no address")

    async def _looked_up(self, parts: SplitResult) -> Addresses:
        """Return the target's addresses. Concurrent tries share one lookup, so that a name holds one thread at most."""
        lookup = self._lookups.get(parts.netloc)
        if lookup is None:
            lookup = self._lookups[parts.netloc] = asyncio.create_task(looked_up(parts, private=self._private))
            lookup.add_done_callback(lambda done: self._looked(parts.netloc, done))
        await asyncio.wait([lookup])
        return lookup.result()

    def _looked(self, netloc: str, lookup: asyncio.Task[Addresses]) -> None:
        del self._lookups[netloc]
        if not lookup.cancelled():
            lookup.exception()  # seen, also when nobody waited for it to the end


def parsed(url: str, *, private: bool) -> SplitResult:
    """Return the parts of a target's URL. Raises TargetRefused for a URL that we may not call."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetRefused("it is no URL") from None
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise TargetRefused("it must begin with https://")
    if not parts.hostname or port == 0 or parts.username is not None or parts.fragment or not url.isascii():
        raise TargetRefused("it must name a host, without a login and without a #")
    if any(char.isspace() or not char.isprintable() for char in url) or "\\" in url:
        raise TargetRefused("it holds characters that no URL has")
    return parts


async def looked_up(parts: SplitResult, *, private: bool) -> Addresses:
    """Return the target's addresses. Raises TargetRefused if there is none or, unless `private`, one is not public."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        asked = partial(socket.getaddrinfo, parts.hostname, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(_ASKING_NAMES, asked)
    except (OSError, UnicodeError):
        raise TargetRefused("its host has no address") from None
    addresses = list(dict.fromkeys(ip_address(str(each[4][0]).partition("%")[0]) for each in found))
    if not private and any(not _public(address) for address in addresses):
        raise TargetRefused("its host is on a loopback, private or reserved address")
    return addresses


def _public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and (
        address.ipv4_mapped or address.sixtofour or address.teredo or int(address) >> 32 & 0xFFFF_FFFF in _ISATAP
    ):
        return False
    inside = any(address in network for network in _INSIDE if network.version == address.version)
    return address.is_global and not address.is_multicast and not inside
