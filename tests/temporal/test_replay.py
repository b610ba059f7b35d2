"""The replay gate: running purchases survive a deployment, and the gate itself is tested by breaking the workflow."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from domain.refusals import REFUSALS, Fate
from tests.temporal.record import FOLDER
from tests.temporal.replay import broken_by_this_code
from tests.temporal.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]

# Edits a colleague might make without a second thought. Each would break purchases that are under way.
BREAKING_EDITS = {
    "a step dropped": ("purchase.py", "            await saga.run(ENROLL)\n", ""),
    "two steps swapped": (
        "purchase.py",
        "await saga.run(APPROVE_ALLOCATION)\n                await saga.run(CREATE_SESSIONS)",
        "await saga.run(CREATE_SESSIONS)\n                await saga.run(APPROVE_ALLOCATION)",
    ),
    "a step added": (
        "purchase.py",
        "        await saga.run(CLEAR_CART)\n",
        "        await saga.run(ENROLL)\n        await saga.run(CLEAR_CART)\n",
    ),
    "a new timer": (
        "purchase.py",
        "        if confirmed := await saga.run(CONFIRM_PAYMENT):\n",
        "        await workflow.sleep(1)\n        if confirmed := await saga.run(CONFIRM_PAYMENT):\n",
    ),
    "an activity renamed": (
        "steps.py",
        "Step(EnrollmentActivities.enroll, ",
        "Step(CartActivities.clear_cart, ",
    ),
    "the workflow renamed": ("purchase.py", 'name="PurchaseWorkflow"', 'name="BuyWorkflow"'),
    "a decision by chance": (
        "purchase.py",
        "        purchase = await saga.run(CREATE_PURCHASE)\n",
        "        import random\n        random.random()\n        purchase = await saga.run(CREATE_PURCHASE)\n",
    ),
    "undos in the order of the steps": ("saga.py", "in self.undos[::-1]", "in self.undos[:]"),
    "lessons before cards": (
        "purchase.py",
        'if purchase.fulfilment == "test_cards":',
        'if purchase.fulfilment == "ownership":',
    ),
    "an undo forgotten": (
        "saga.py",
        "self.undos = [step for step in table if not",
        "self.undos = [step for step in table[1:] if not",
    ),
    "no news of a parked purchase": ("until_done.py", "        await self._notify_once(failure)\n", ""),
    "a local try more": (
        "policies.py",
        "return self.lane == LOCAL and self.quick_tries > 1",
        "return self.quick_tries > 1",
    ),
    "parked without a timer": ("until_done.py", "timeout=timeout, timeout_summary=summary", "timeout=None"),
}


async def test_every_recorded_history_is_told_the_same_way() -> None:
    assert await broken_by_this_code(FOLDER) == {}


def test_every_branch_and_every_reason_to_park_is_recorded() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(SCENARIOS)
    assert len(SCENARIOS) >= 30
    parks = {code for code, refusal in REFUSALS.items() if refusal.fate is Fate.PARK}
    assert {name.removeprefix("parked-") for name in SCENARIOS if name.startswith("parked-")} == parks


@pytest.mark.parametrize("edit", BREAKING_EDITS)
async def test_a_breaking_edit_is_caught(edit: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "workflows", tmp_path / "workflows", ignore=shutil.ignore_patterns("__pycache__"))
    name, before, after = BREAKING_EDITS[edit]
    file = tmp_path / "workflows" / name
    source = file.read_text()
    assert source.count(before) >= 1, "the edit no longer fits the code"
    file.write_text(source.replace(before, after, 1))
    replaying = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.temporal.replay",
        str(FOLDER),
        cwd=tmp_path,  # whose workflows come first
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await replaying.communicate()
    assert replaying.returncode == 1, err.decode()
    assert out.decode().strip(), err.decode()
    assert str(tmp_path) in err.decode()
