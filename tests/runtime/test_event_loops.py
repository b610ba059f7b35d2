"""Every process of ours runs on uvloop."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOOP = """
import asyncio, os, signal
async def serve(*_):
    print(type(asyncio.get_running_loop()).__module__)
"""
ENDS = """
async def app(scope, receive, send):
    await serve()
    os.kill(os.getpid(), signal.SIGTERM)
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
"""
PROCESSES = {
    "worker": "import worker as it\nit.serve = serve",
    "relay": "import relay as it\nit._until_asked = serve",
    "consumer": "import consumer as it\nit._until_asked = serve",
    "api": f"import api.app as it\n{ENDS}\nit.create_app = lambda _: app",
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_runs_on_uvloop(process: str, tmp_path: os.PathLike[str]) -> None:
    environment = {
        **os.environ, "COURSAGA_HOME": str(tmp_path), "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "TEMPORAL_ADDRESS": "127.0.0.1:1", "API_PORT": "0", "DEV_AUTH": "true",
    }  # fmt: skip
    code = f"{LOOP}\n{PROCESSES[process]}\nit.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["uvloop"], done.stderr
