"""README's "Buy something", as it stands there: its commands are taken out of the text and run by a shell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.stack import up
from tests.waiting import in_time

ROOT = Path(__file__).parents[2]


def commands_of(section: str) -> str:
    """What the code blocks of this section of README say, one after the other."""
    found = re.search(rf"^## {section}$(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {section!r} any more"
    return "".join(re.findall(r"^```\n(.*?)^```$", found[1], re.MULTILINE | re.DOTALL))


def test_what_the_readme_says_buys_ten_lessons(tmp_path: Path) -> None:
    said = commands_of("Buy something")
    assert "coursaga import" in said
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in (".venv", "cli"):
        (clone / name).symlink_to(ROOT / name)
    home = clone / ".coursaga"
    with up(home) as stack:
        # The text says the port that is the default; here curl is led to the one that was free.
        port = stack.said["api"].rpartition(":")[2]
        (tmp_path / ".curlrc").write_text(f'connect-to = "127.0.0.1:8000:127.0.0.1:{port}"\n')
        reader = {name: value for name, value in stack.env.items() if name != "COURSAGA_HOME"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", said],
            env={**reader, "CURL_HOME": str(tmp_path)},
            cwd=clone,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        bought = in_time(lambda: stack.json("purchases", "list")[0], lambda seen: seen["ending"] != "running")
        assert (bought["ending"], bought["code"]) == ("completed", None)
        assert (bought["studentId"], bought["sessions"], bought["firstLocal"]) == (
            "student-eve",
            10,
            "2030-01-07T18:00",
        )
        assert f"purchase:{bought['paymentId']}:1" in done.stdout
