"""The API as commands call it: found by API_URL or through the running stack; its problems become readable errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, cast

import httpx2

from cli.identity import Token, token_for
from runtime.errors import CannotRun, ServerUnreachable
from runtime.settings import Settings, load_settings
from runtime.state import find

Json = dict[str, Any]

_PATIENCE = 30.0  # seconds; a database or a Temporal server that restarts is back by then


class ApiUnreachable(ServerUnreachable):
    """No API answers; the message names its address and what to do."""


class ApiRefused(CannotRun):
    """The API refused the request; the message is its problem's detail, `code` the problem's code."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.code = str(problem.get("code", f"HTTP_{status}"))
        self.exit_code = 3 if status in (429, 503) else 2 if status == 422 else 1
        detail = problem.get("detail") or problem.get("title") or "the API gave no reason"
        if status == 401:
            detail = "the API does not accept the token; set COURSAGA_TOKEN, or give --token, to one that it accepts"
        hint = "; nothing is lost, try again in a moment" if problem.get("retryable") else ""
        super().__init__(f"{self.code}: {detail}{hint}")


def open_api(actor: str | None = None, *, patient: bool = False) -> Api:
    """Return a client of the API for `actor` (see `cli.identity`). Raises ApiUnreachable, NoToken."""
    settings = load_settings()
    url = api_url(settings)
    return Api(url, token_for(settings, url, actor), patient=patient)


def api_url(settings: Settings) -> str:
    """Return API_URL, or the URL of the API of the stack that runs on COURSAGA_HOME. Raises ApiUnreachable."""
    if settings.api_url:
        return settings.api_url.rstrip("/")
    if running := find(settings.coursaga_home):
        return running.api
    raise ApiUnreachable(f"no running stack in {settings.coursaga_home}: start one with `coursaga up`, or set API_URL")


class Api:
    """An HTTP client of the API.

    If `patient`, it tries again for a while when the API is away or says "again in a moment".
    """

    def __init__(
        self, url: str, token: Token, *, patient: bool = False, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._token = token
        self._patience = _PATIENCE if patient else 0.0
        self._client = httpx2.AsyncClient(base_url=url, timeout=30.0, transport=transport)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, err, at)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """Return the answer's JSON. Raises ApiRefused, ApiUnreachable."""
        return (await self._ask("GET", path, params=params))[1]

    async def post(self, path: str, body: Json, headers: Mapping[str, str] | None = None) -> tuple[int, Json]:
        """Return the answer's status and JSON. Raises ApiRefused, ApiUnreachable."""
        return await self._ask("POST", path, json=body, headers=headers or {})

    async def put(self, path: str, body: Json) -> tuple[int, Json]:
        """Return the answer's status and JSON. Raises ApiRefused, ApiUnreachable."""
        return await self._ask("PUT", path, json=body)

    async def delete(self, path: str) -> Json:
        """Return the answer's JSON. Raises ApiRefused, ApiUnreachable."""
        return (await self._ask("DELETE", path))[1]

    async def pages(
        self, path: str, params: Mapping[str, str], key: str, cursor: str, named: str
    ) -> AsyncIterator[Any]:
        """Yield every entry of a paged list.

        A page holds entries under `key` and the next cursor under `cursor`, which is sent as the parameter `named`.
        """
        asked = dict(params)
        while True:
            page = await self.get(path, asked)
            for entry in page[key]:
                yield entry
            if page[cursor] is None:
                return
            asked[named] = page[cursor]

    async def _ask(self, method: str, path: str, **said: Any) -> tuple[int, Json]:
        give_up, pause = time.monotonic() + self._patience, 0.2
        while True:
            try:
                return await self._once(method, path, **said)
            except (ApiRefused, ApiUnreachable) as err:
                if err.exit_code != 3 or time.monotonic() + pause > give_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 3.0)

    async def _once(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **said: Any
    ) -> tuple[int, Json]:
        try:
            signed = {**(headers or {}), "Authorization": f"Bearer {self._token()}"}
            answer = await self._client.request(method, path, headers=signed, **said)
        except httpx2.TransportError as err:
            why = str(err) or type(err).__name__
            raise ApiUnreachable(
                f"no API at {self._url} ({why}): start it with `coursaga up`, or correct API_URL"
            ) from err
        content = _json(answer)
        if answer.is_success:
            return answer.status_code, content
        raise ApiRefused(answer.status_code, content)


def _json(answer: httpx2.Response) -> Json:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return cast("Json", content) if isinstance(content, dict) else {}
