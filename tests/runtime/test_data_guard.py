"""The three stores of a home belong together: one without the others is refused, with the way out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.embedded.data_guard import DataGuard, DataMismatch

NAMES = ("postgres", "temporal", "provider")


def parts(home: Path, *names: str) -> dict[str, Path]:
    return {name: home / name / "data" for name in names or NAMES}


def made(home: Path) -> DataGuard:
    """A stack that has been up once."""
    together = DataGuard(home, parts(home))
    together.claim()
    for data in parts(home).values():
        data.touch()
    together.settle()
    return together


def test_a_first_start_makes_all_parts_belong_together(tmp_path: Path):
    DataGuard(tmp_path, parts(tmp_path)).claim()
    ids = {(tmp_path / name / "stack-id").read_text() for name in NAMES}
    assert len(ids) == 1


def test_a_later_start_finds_them_together(tmp_path: Path):
    made(tmp_path)
    DataGuard(tmp_path, parts(tmp_path)).claim()


def test_a_start_killed_before_all_parts_had_data_may_go_on(tmp_path: Path):
    DataGuard(tmp_path, parts(tmp_path)).claim()
    parts(tmp_path)["postgres"].touch()
    DataGuard(tmp_path, parts(tmp_path)).claim()


def test_a_start_killed_while_marking_may_go_on(tmp_path: Path):
    DataGuard(tmp_path, parts(tmp_path, "postgres")).claim()
    DataGuard(tmp_path, parts(tmp_path)).claim()
    assert len({(tmp_path / name / "stack-id").read_text() for name in NAMES}) == 1


@pytest.mark.parametrize("lost", NAMES)
def test_a_part_that_was_deleted_is_named_with_the_way_out(tmp_path: Path, lost: str):
    made(tmp_path)
    shutil.rmtree(tmp_path / lost)
    with pytest.raises(DataMismatch, match=rf"data of {lost} is missing.*coursaga down --wipe"):
        DataGuard(tmp_path, parts(tmp_path)).claim()


@pytest.mark.parametrize("lost", NAMES)
def test_data_that_was_deleted_inside_its_folder_is_missed_too(tmp_path: Path, lost: str):
    made(tmp_path)
    parts(tmp_path)[lost].unlink()
    with pytest.raises(DataMismatch, match=lost):
        DataGuard(tmp_path, parts(tmp_path)).claim()


def test_a_part_of_another_stack_is_refused(tmp_path: Path):
    for name in ("one", "two"):
        made(tmp_path / name)
    shutil.rmtree(tmp_path / "one" / "temporal")
    shutil.copytree(tmp_path / "two" / "temporal", tmp_path / "one" / "temporal")
    with pytest.raises(DataMismatch, match="different stacks"):
        DataGuard(tmp_path / "one", parts(tmp_path / "one")).claim()


def test_a_part_that_becomes_embedded_later_does_not_belong_to_the_others(tmp_path: Path):
    only = parts(tmp_path, "temporal")
    DataGuard(tmp_path, only).claim()
    only["temporal"].touch()
    with pytest.raises(DataMismatch, match="postgres and provider"):
        DataGuard(tmp_path, parts(tmp_path)).claim()
