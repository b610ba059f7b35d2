"""`.env.example` is what people copy: it names every setting, once, with its default, and explains it."""

from __future__ import annotations

from pathlib import Path

from runtime.settings import Settings

EXAMPLE = Path(__file__).parent.parent.parent / ".env.example"


def lines() -> list[str]:
    return EXAMPLE.read_text().splitlines()


def variables() -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines() if "=" in line and not line.startswith("#"))


def test_names_every_setting_and_no_other():
    assert sorted(variables()) == sorted(name.upper() for name in Settings.model_fields)


def test_names_each_setting_once():
    names = [line.split("=", 1)[0] for line in lines() if "=" in line and not line.startswith("#")]
    assert len(names) == len(set(names))


def test_shows_the_defaults():
    shown = {name.lower(): value for name, value in variables().items() if value}
    wanted = {name: field.get_default() for name, field in Settings.model_fields.items()}
    read = Settings.model_validate(shown)
    default = Settings.model_construct(**wanted)
    for name in Settings.model_fields:
        left, right = getattr(read, name), getattr(default, name)
        assert (left.name == right.name) if name == "coursaga_home" else (left == right), name


def test_comments_on_each_group():
    previous = ""
    for line in lines():
        if line and not line.startswith("#"):
            assert previous, f"nothing explains {line}"
        previous = line
