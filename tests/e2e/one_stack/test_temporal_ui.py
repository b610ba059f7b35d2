"""Support has nothing but Temporal UI: what a parked purchase shows in a real browser, and what can be done there.

Rows 17 and 85. What was seen is kept in `.artifacts/temporal-ui`, a picture per page and one per test.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, FrameLocator, Locator, Page, async_playwright, expect
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client

from db.engine import make_engine
from domain.ids import purchase_id_of
from domain.refusals import REFUSALS
from runtime.temporal import connect_to
from tests.e2e.browser import locate
from tests.e2e.world import World, course, market, payment, teachers
from tests.invariants import violations, violations_of_runs
from tests.samples import filled
from tests.waiting import in_time

PICTURES = Path(__file__).parents[3] / ".artifacts" / "temporal-ui"
ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000.0  # milliseconds; a page that is there is seen at once
PARKED, CANCELLED, DONE = "ui-parked", "ui-cancelled", "ui-done"
COURSE, TAUGHT = "course-lyre", "course-shawm"
NO_TRAINER = REFUSALS["NO_TRAINER_AVAILABLE"]

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def world(stack_of_all: World) -> World:
    """Two purchases parked for want of a trainer, and one that is completed."""
    paid = [*(payment(name, COURSE) for name in (PARKED, CANCELLED)), payment(DONE, TAUGHT)]
    sold = [course(COURSE, title="Lyre for *all*"), course(TAUGHT)]
    stack_of_all.load(market(paid, courses=sold, trainers=teachers(TAUGHT, 1)))
    stack_of_all.start(PARKED, CANCELLED, DONE)
    stack_of_all.wait(DONE, "completed")
    for name in (PARKED, CANCELLED):
        stack_of_all.wait(name, "attention", "NO_TRAINER_AVAILABLE")
    return stack_of_all


@pytest_asyncio.fixture(scope="module")
async def temporal_client(world: World) -> Client:
    return await connect_to(world.stack.said["temporalAddress"], "default")


@pytest_asyncio.fixture(scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BrowserContext]:
    """Chromium with an empty profile. Raises NoBrowser, with what to do, where there is none."""
    program = locate()
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=program,
            args=ARGS,
            viewport={"width": 1500, "height": 1400},
            timezone_id="UTC",
        )
        context.set_default_timeout(PATIENCE)
        yield context
        await context.close()


@pytest_asyncio.fixture
async def page(browser: BrowserContext, request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    """A tab; its last sight is kept, also when the test failed."""
    tab = await browser.new_page()
    yield tab
    await picture(tab, request.node.name)
    await tab.close()


async def picture(page: Page, name: str) -> None:
    await page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


async def open_purchase(page: Page, world: World, name: str, tab: str = "") -> None:
    named = quote(f"purchase:{name}:1", safe="")
    await page.goto(f"{world.stack.said['temporalUi']}/namespaces/default/workflows/{named}")
    await expect(page.get_by_role("heading", name=f"purchase:{name}:1")).to_be_visible()
    if tab:
        await page.get_by_role("tab", name=tab).click()


def shown(page: Page, part: str) -> FrameLocator:
    """Markdown as Temporal UI shows it: summary, details or current-details."""
    return page.frame_locator(f"#user-metadata-{part}")


async def json_shown(page: Page) -> Any:
    """The one document of a tab that shows JSON."""
    lines = page.locator(".cm-content[aria-readonly=true] .cm-line")
    await expect(lines.last).to_have_text("}")
    return json.loads("\n".join(await lines.all_inner_texts()))


async def choose(page: Page, action: str) -> Locator:
    """An entry of More Actions; the dialog it opens."""
    await page.get_by_role("button", name="More Actions").click()
    await page.get_by_role("menuitem", name=action).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    return dialog


async def offered(page: Page, action: str) -> dict[str, str]:
    """The messages a dialog lists, each with the description a human reads below its name."""
    dialog = await choose(page, action)
    kind = action.split()[-1].lower()
    await dialog.get_by_test_id(f"{kind}-select-button").click()
    await expect(dialog.get_by_role("option").first).to_be_visible()
    await picture(page, f"messages-{kind}")
    texts = [text.split("\n") for text in await dialog.get_by_role("option").all_inner_texts()]
    return {name: " ".join(described) for name, *described in texts if name != "Custom"}


def act_on_record(world: World, name: str, key: str) -> dict[str, Any]:
    """The audit row of this request, once it is written."""

    def found() -> list[dict[str, Any]]:
        acts = world.api.get(f"/api/v1/admin/purchases/purchase:{name}:1/acts").json()["acts"]
        return [act for act in acts if act["requestKey"] == key]

    return in_time(found)[0]


async def test_is_in_the_list_of_what_needs_attention(page: Page, world: World) -> None:
    await page.goto(f"{world.stack.said['temporalUi']}/namespaces/default/workflows?query=NeedsAttention%3Dtrue")
    for name in (PARKED, CANCELLED):
        await expect(page.get_by_role("link", name=f"purchase:{name}:1")).to_be_visible()


async def test_its_story_says_what_was_bought_why_it_waits_and_what_comes_next(page: Page, world: World) -> None:
    seen = world.wait(PARKED, "attention", NO_TRAINER.code)
    await open_purchase(page, world, PARKED, "User Metadata")

    await expect(shown(page, "summary").locator("body")).to_contain_text(f"{PARKED} line 1: course {COURSE}")
    bought = shown(page, "details").locator("body")
    await expect(bought).to_contain_text("Paid for: Lyre for *all*, the course course-lyre; 50.00 USD")
    await expect(bought).to_contain_text(f"student student-{PARKED}")
    await expect(bought).to_contain_text(f"coursaga purchases case {purchase_id_of(f'purchase:{PARKED}:1')}")

    story = shown(page, "current-details")
    await expect(story.get_by_role("heading", name=f"Needs attention: {NO_TRAINER.code}")).to_be_visible()
    for line in (
        "Stage: assign_trainer",
        "Bought: 10 lessons (by purchaseTier) of course-lyre",
        f"since: {seen['since'][:19]}",
        f"next try by itself: {seen['nextRetry'][:19]}",
        f"what to do: {NO_TRAINER.next_action}",
        "docs/runbook.md, NO_TRAINER_AVAILABLE",
        "enroll (2",
    ):
        await expect(story.get_by_role("listitem").filter(has_text=line)).to_have_count(1)
    for verb in ("assign_trainer", "retry_now", "amend", "skip_step", "cancel"):
        await expect(story.get_by_role("listitem").filter(has_text=f"{verb}: ")).to_have_count(1)


async def test_shows_its_search_attributes_and_nothing_personal(page: Page, world: World) -> None:
    await open_purchase(page, world, PARKED, "Search Attributes")
    await expect(page.locator(".cm-content").filter(has_text="NeedsAttention")).to_be_visible()
    attributes = await json_shown(page)
    since = attributes.pop("AttentionSince")
    assert since
    ours = {name: value for name, value in attributes.items() if not name.startswith(("Temporal", "BuildIds"))}
    assert ours == {
        "NeedsAttention": True,
        "AttentionReason": "NO_TRAINER_AVAILABLE",
        "PurchaseStage": "assign_trainer",
        "StudentId": f"student-{PARKED}",
        "ItemId": COURSE,
        "PaymentId": PARKED,
        "Origin": "checkout",
    }
    history = await page.request.get(
        f"{world.stack.said['temporalUi']}/api/v1/namespaces/default/workflows/purchase:{PARKED}:1/history"
    )
    assert history.ok
    assert not [word for word in ("Zander", "example.test", "51.5") if word in await history.text()]


async def test_the_timeline_names_the_steps_and_what_it_waits_for(page: Page, world: World) -> None:
    await open_purchase(page, world, PARKED)
    for text in (
        "confirm_payment",
        "create_purchase",
        "enroll",
        "Hold all N slots of the best trainer who is free for every one of them",
        "assign_trainer: NO_TRAINER_AVAILABLE",
    ):
        await expect(page.get_by_text(text).first).to_be_visible()


async def test_a_completed_purchase_tells_its_whole_story(page: Page, world: World) -> None:
    steps = ("confirm_payment", "create_purchase", "enroll", "assign_trainer", "create_sessions", "clear_cart")
    await open_purchase(page, world, DONE)
    for step in steps:
        await expect(page.get_by_text(step).first).to_be_visible()
    await open_purchase(page, world, DONE, "User Metadata")
    story = shown(page, "current-details")
    for line in ("Stage: completed", f"Bought: 10 lessons (by purchaseTier) of {TAUGHT}"):
        await expect(story.get_by_role("listitem").filter(has_text=line)).to_have_count(1)
    for step in (*steps, "approve_allocation"):  # approved with the hold
        await expect(story.get_by_role("listitem").filter(has_text=f"{step} (2")).to_have_count(1)
    await open_purchase(page, world, DONE, "Search Attributes")
    await expect(page.locator(".cm-content").filter(has_text="PurchaseStage")).to_be_visible()
    attributes = await json_shown(page)
    assert (attributes["PurchaseStage"], attributes["TrainerId"]) == ("completed", f"{TAUGHT}-0")


async def test_offers_every_message_with_its_description(page: Page, world: World, temporal_client: Client) -> None:
    handle = temporal_client.get_workflow_handle(f"purchase:{PARKED}:1")
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    told = metadata.definition
    await open_purchase(page, world, PARKED)
    updates = await offered(page, "Send an Update")
    assert updates == {one.name: one.description for one in told.update_definitions}
    assert set(updates) == {
        "amend", "approve_allocation", "assign_trainer", "cancel", "create_sessions", "retry_now", "settle_refund",
        "skip_step", "withdraw",
    }  # fmt: skip
    await page.reload()
    assert await offered(page, "Send a Signal") == {
        "create_sessions_manually": "The same as create_sessions, for Temporal UI: needs no input, ignores bad input.",
        "wake": "The system's: what it waits for may be mended, try again now. Leaves no act.",
    }
    assert all(updates.values())


async def test_what_the_story_offers_is_sent_once_who_and_why_are_filled_in(page: Page, world: World) -> None:
    await open_purchase(page, world, PARKED, "User Metadata")
    offer = shown(page, "current-details").get_by_role("listitem").filter(has_text="retry_now: ").locator("code")
    data = json.dumps(filled(json.loads(await offer.inner_text())))
    dialog = await choose(page, "Send an Update")
    await dialog.get_by_test_id("update-select-button").click()
    await dialog.get_by_role("option", name="retry_now").click()
    editor = dialog.get_by_role("textbox").last
    await editor.fill(data)
    await editor.blur()  # the editor lays the JSON out anew when it is left, which moves the button
    await expect(dialog.locator(".cm-line").last).to_have_text("}")
    await dialog.get_by_test_id("confirm-modal-button").click()
    await expect(dialog).to_be_hidden()
    act = act_on_record(world, PARKED, json.loads(data)["request_key"])
    assert (act["actor"], act["verb"], act["reason"]) == ("ann", "retry_now", "the student called")
    assert act["outcome"] == "tried again, and refused again: NO_TRAINER_AVAILABLE"


async def test_its_own_cancel_makes_the_student_whole_once(page: Page, world: World, temporal_client: Client) -> None:
    await open_purchase(page, world, CANCELLED)
    dialog = await choose(page, "Request Cancellation")
    await dialog.get_by_test_id("confirm-modal-button").click()
    await expect(page.get_by_text("Canceled", exact=True).first).to_be_visible()
    row = world.wait(CANCELLED, "cancelled")
    assert row["refunded"]
    provider = str(world.provider.base_url)
    asked = [one for one in world.provider.get("/_ledger").json() if one["operation"] == "refund"]
    assert [one["status"] for one in asked if one["paymentId"] == CANCELLED] == [200]
    assert PARKED not in {one["paymentId"] for one in asked}
    engine = make_engine(world.stack.said["databaseUrl"], pool_size=2)
    assert violations(engine, provider) == []
    assert await violations_of_runs(engine, temporal_client) == []
    engine.dispose()
