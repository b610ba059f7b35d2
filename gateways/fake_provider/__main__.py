"""`python -m gateways.fake_provider --db FILE [--host H] [--port P] [--port-file F]` prints a line when it listens."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

import uvicorn

from .app import make_app


def main() -> None:
    """Serve until SIGINT or SIGTERM. Port 0 picks a free one; the port file appears whole, once it is listening."""
    parser = argparse.ArgumentParser(prog="gateways.fake_provider")
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path)
    chosen = parser.parse_args()

    app = make_app(chosen.db)
    # Bound here, not by uvicorn: the port is known, and calls queue, before the first line is printed.
    # IPPROTO_TCP by name: without it asyncio leaves Nagle's algorithm on, which costs 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((chosen.host, chosen.port))
    listener.listen(256)
    port = listener.getsockname()[1]
    if chosen.port_file:
        draft = chosen.port_file.with_suffix(".new")
        draft.write_text(f"{port}\n")
        os.replace(draft, chosen.port_file)
    sys.stdout.write(f"listening on http://{chosen.host}:{port}\n")
    sys.stdout.flush()
    # Hanging answers are planned faults: a stop does not wait for them.
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
