"""Check the texts that callers send: whether PostgreSQL can store them, and whether an act is signed properly."""

from __future__ import annotations

# Offered where an act is described; refused when sent as they are.
SAMPLE_ACTOR, SAMPLE_REASON = "your name", "why you do it"
LONGEST_REASON = 2000
_LONGEST = {"actor": 255, "reason": LONGEST_REASON, "request_key": 255}


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL's text and jsonb can hold the text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def storable(text: str, most: int = LONGEST_REASON) -> str:
    """Return the first `most` characters, what cannot be stored replaced: for text that must be accepted."""
    return "".join(letter if is_storable(letter) else "\ufffd" for letter in text[:most])


def signature_faults(**signed: object) -> list[str]:
    """Return what is wrong with an act's `actor`, `reason` and `request_key`, one sentence each.

    Empty when all is well.
    """
    faults: list[str] = []
    for name, said in signed.items():
        if not isinstance(said, str) or not said.strip():
            faults.append(f"say {name}")
        elif said.strip().lower() in (SAMPLE_ACTOR, SAMPLE_REASON):
            faults.append(f"say {name}: this is only the sample")
        elif not is_storable(said):
            faults.append(f"{name} holds a character that cannot be stored (NUL, half a surrogate pair)")
        elif len(said) > _LONGEST[name]:
            faults.append(f"{name} is longer than {_LONGEST[name]} characters")
    return faults
