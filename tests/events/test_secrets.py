"""Secrets of webhook targets at rest: nobody who reads the database has them, keys rotate, what is removed is gone."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import make_engine
from db.migrate import downgrade, upgrade
from db.sealing import NoKey, Seal, SecretUnreadable
from db.webhooks import seal_secrets, secret_of
from runtime.settings import Settings
from tests import cluster
from tests.api.conftest import booted, is_problem
from tests.build import run, value
from tests.events.receiver import SECRET, receiving
from tests.events.relays import add, impatient, pool, relaying, seal, tell
from tests.roles import owner_of
from tests.tokens import make_key
from tests.waiting import eventually

__all__ = ["pool"]

HOOKS = "/api/v1/admin/webhooks"
ANSWER = "SELECT answer FROM webhook_deliveries"
PLAIN = "INSERT INTO webhook_targets (id, url, secret, created_at) VALUES (:id, :url, :secret, now())"


def everything(engine: Engine) -> str:
    """Every row of every table, as a stranger who got hold of the database would read it."""
    with owner_of(engine).connect() as connection:
        tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        return "\n".join(
            row
            for table in tables
            for row in connection.scalars(text(f'SELECT t::text FROM "{table}" AS t'))  # noqa: S608 -- names of tables
        )


async def test_a_stranger_in_the_database_finds_no_secret(
    settings: Settings, engine: Engine, pool: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    async with booted(settings.with_values(webhook_private_addresses=True)) as api:
        with receiving() as target, receiving() as other:
            asked = await api.post(HOOKS, json={"url": target.url, "secret": SECRET})
            made = (await api.post(HOOKS, json={"url": other.url})).json()
            assert asked.json()["secret"] == SECRET
            is_problem(await api.post(HOOKS, json={"url": target.url, "secret": SECRET}), 409, "TARGET_EXISTS")
            tell(engine, "purchase:1:A")
            async with relaying(pool):
                await eventually(lambda: target.took() == ["purchase:1:A"])  # it checks the signature
            seen = everything(engine) + "".join(capsys.readouterr())
            for secret in (SECRET, made["secret"]):
                assert "whsec_" not in seen
                assert secret.removeprefix("whsec_") not in seen
            assert target.url in seen, "the dump shows nothing any more"
            opened = {await secret_of(pool, each["id"], seal()) for each in (asked.json(), made)}
            assert opened == {SECRET, made["secret"]}


async def test_a_removed_target_leaves_no_secret_not_even_a_sealed_one(
    engine: Engine, pool: AsyncEngine, settings: Settings
) -> None:
    await add(pool, "goes", "http://127.0.0.1:9/goes")
    await add(pool, "stays", "http://127.0.0.1:9/stays")
    sealed = value(engine, "SELECT sealed_secret FROM webhook_targets WHERE id = 'goes'")
    assert sealed in everything(engine)
    async with booted(settings) as api:
        assert (await api.delete(f"{HOOKS}/goes")).status_code == 200
    assert sealed not in everything(engine)
    assert await secret_of(pool, "goes", seal()) is None
    assert await secret_of(pool, "stays", seal()) == SECRET


async def test_plain_secrets_of_before_sign_until_they_are_sealed_and_afterwards(
    engine: Engine, pool: AsyncEngine
) -> None:
    with receiving() as target:
        run(engine, PLAIN, id="old", url=target.url, secret=SECRET)
        assert await secret_of(pool, "old", seal()) == SECRET
        run(engine, PLAIN, id="removed", url="http://127.0.0.1:9/", secret=SECRET)
        run(engine, "UPDATE webhook_targets SET removed_at = now() WHERE id = 'removed'")  # as code of before does
        tell(engine, "purchase:1:A")
        async with relaying(pool):
            await eventually(lambda: "whsec_" not in everything(engine))
            await eventually(lambda: target.took() == ["purchase:1:A"])
            tell(engine, "purchase:2:A")
            await eventually(lambda: target.took() == ["purchase:1:A", "purchase:2:A"])
    assert value(engine, "SELECT num_nonnulls(secret, sealed_secret) FROM webhook_targets WHERE id = 'removed'") == 0


async def test_many_seal_at_once_and_lose_none(engine: Engine, pool: AsyncEngine) -> None:
    for number in range(12):
        run(engine, PLAIN, id=f"t{number}", url=f"http://127.0.0.1:9/{number}", secret=f"{SECRET}{number}")
    counts = await asyncio.gather(*(seal_secrets(pool, seal()) for _ in range(6)))
    assert sum(counts) == 12
    assert [await secret_of(pool, f"t{n}", seal()) for n in range(12)] == [f"{SECRET}{n}" for n in range(12)]
    assert await seal_secrets(pool, seal()) == 0


async def test_a_secret_that_is_removed_while_it_is_sealed_stays_gone(engine: Engine, pool: AsyncEngine) -> None:
    run(engine, PLAIN, id="old", url="http://127.0.0.1:9/", secret=SECRET)

    class Slow(Seal):
        def close(self, secret: str) -> str:
            run(engine, "UPDATE webhook_targets SET removed_at = now(), secret = NULL")
            return super().close(secret)

    assert await seal_secrets(pool, Slow([make_key()])) == 0
    assert value(engine, "SELECT num_nonnulls(secret, sealed_secret) FROM webhook_targets") == 0


async def test_keys_rotate(engine: Engine, pool: AsyncEngine) -> None:
    old, new = make_key(), make_key()
    with receiving() as target:
        await add(pool, "target", target.url)
        run(engine, "UPDATE webhook_targets SET sealed_secret = :sealed", sealed=Seal([old]).close(SECRET))
        # Everywhere the new key comes second first, so that nobody meets a secret it cannot open.
        assert await seal_secrets(pool, Seal([old, new])) == 0
        tell(engine, "purchase:1:A")
        async with relaying(pool, Seal([new, old])):
            await eventually(lambda: target.took() == ["purchase:1:A"])
            await eventually(lambda: Seal([new]).is_newest(value(engine, "SELECT sealed_secret FROM webhook_targets")))
    with pytest.raises(SecretUnreadable):
        await secret_of(pool, "target", Seal([old]))
    assert await secret_of(pool, "target", Seal([new])) == SECRET


@pytest.mark.parametrize("wrong", [Seal([make_key()]), Seal([])], ids=["another key", "no key"])
async def test_without_the_right_key_deliveries_are_held_and_go_out_once_it_is_back(
    wrong: Seal, engine: Engine, pool: AsyncEngine, settings: Settings
) -> None:
    with receiving() as target, receiving() as plain:
        await add(pool, "target", target.url)
        before = value(engine, "SELECT sealed_secret FROM webhook_targets")
        run(engine, PLAIN, id="plain", url=plain.url, secret=SECRET)
        tell(engine, "purchase:1:A", "purchase:1:B", "purchase:2:A")
        async with relaying(pool, wrong):
            await eventually(lambda: len(plain.got) == 3)  # others go on
            held = "SELECT count(*) FROM webhook_deliveries WHERE target_id = 'target' AND answer LIKE 'held: SECRET_UNREADABLE:%'"
            await eventually(lambda: value(engine, held) >= 2)  # the first of each subject; B may come after A is held
            impatient(engine)
            await eventually(lambda: value(engine, f"{held} AND next_try_at > now()") == 3)
        assert target.tries == []
        assert value(engine, "SELECT max(tries) FROM webhook_deliveries WHERE target_id = 'target'") == 0
        assert value(engine, "SELECT sealed_secret FROM webhook_targets WHERE id = 'target'") == before
        async with booted(settings) as api:
            shown = {each["id"]: each for each in (await api.get(HOOKS)).json()["webhooks"]}
        assert (shown["target"]["waiting"], shown["target"]["givenUp"]) == (3, 0)
        assert shown["target"]["lastAnswer"].startswith("held: SECRET_UNREADABLE")
        impatient(engine)
        async with relaying(pool):
            await eventually(lambda: len(target.got) == 3)
        assert sorted(target.took()) == ["purchase:1:A", "purchase:1:B", "purchase:2:A"]


async def test_a_spoilt_seal_opens_to_nothing(engine: Engine, pool: AsyncEngine) -> None:
    await add(pool, "target", "http://127.0.0.1:9/")
    for spoilt in ("", "gAAAA", "ä", SECRET, seal().close(SECRET)[:-4] + "AAA="):
        run(engine, "UPDATE webhook_targets SET sealed_secret = :spoilt", spoilt=spoilt)
        with pytest.raises(SecretUnreadable):
            await secret_of(pool, "target", seal())
        assert await seal_secrets(pool, seal()) == 0


async def test_an_api_without_a_key_stores_no_target(settings: Settings, engine: Engine) -> None:
    async with booted(settings.with_values(secrets_keys=None, webhook_private_addresses=True)) as api:
        answer = await api.post(HOOKS, json={"url": "http://127.0.0.1:9/hook"})
        is_problem(answer, 503, "SECRETS_KEYS_MISSING")
    assert value(engine, "SELECT count(*) FROM webhook_targets") == 0
    with pytest.raises(NoKey):
        Seal([]).close(SECRET)


def test_the_migration_keeps_live_secrets_and_forgets_those_of_removed_targets(postgres: str) -> None:
    with cluster.empty_database(postgres) as url:
        upgrade(url, "0021")
        engine = make_engine(url, pool_size=1)
        try:
            run(engine, PLAIN, id="live", url="https://live.test", secret=SECRET)
            run(engine, PLAIN, id="gone", url="https://gone.test", secret="whsec_gone")
            run(engine, "UPDATE webhook_targets SET removed_at = now() WHERE id = 'gone'")
            upgrade(url)
            assert value(engine, "SELECT secret FROM webhook_targets WHERE id = 'live'") == SECRET
            assert "whsec_gone" not in everything(engine)
            downgrade(url, "0021")
            assert value(engine, "SELECT secret FROM webhook_targets WHERE id = 'live'") == SECRET
        finally:
            engine.dispose()
