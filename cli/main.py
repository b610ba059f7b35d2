"""The `coursaga` command. Exit codes everywhere: 0 fine, 1 failed, 2 usage, 3 a server is not reachable."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from cli.output import FINE, USAGE, harmless
from runtime.errors import CannotRun
from runtime.leaving import leave

# Loaded when they are called: `coursaga --version` need not import a database driver.
_COMMANDS = {
    "up": ("cli.up:up", "Start everything on this machine and keep it running."),
    "down": ("cli.up:down", "Stop what runs; with --wipe delete its data, too."),
    "bench": ("cli.bench.command:bench", "How fast purchases are and what they cost, beside plain calls."),
    "demo": ("cli.demo.command:demo", "Three purchases on real servers, told as they happen."),
    "import": ("cli.marketplace.command:import_marketplace", "Load a marketplace file."),
    "purchases": ("cli.operators.purchases:app", "Start purchases, see what became of them, act on those that wait."),
    "lessons": ("cli.operators.lessons:app", "See lessons one by one, give them another time or another trainer."),
    "worker": ("cli.serve:worker", "Run one more worker."),
    "api": ("cli.serve:api", "Serve the HTTP API."),
    "relay": ("cli.serve:relay", "Tell others of events: Kafka, webhooks."),
    "consume": ("cli.serve:consume", "Take events of others from Kafka."),
    "dlq": ("cli.operators.dead_letters:app", "Messages that could not be taken: see, mend, bring in again."),
    "webhooks": ("cli.operators.webhooks:app", "Who is told of events over HTTP."),
    "release": (
        "cli.release.command:release",
        "Give the work to a new build of the workers, after replaying open runs.",
    ),
    "migrate": ("cli.serve:migrate", "Bring the database to the newest schema, its roles to what they may do."),
    "token": ("cli.token:token", "Print a token for the API, for development."),
    "doctor": ("cli.doctor.command:doctor", "Say what runs, what does not, and what to do about it."),
}

app = App(
    name="coursaga",
    help="The back office of a course marketplace: a payment becomes lessons, or the student is made whole.",
    version=lambda: version("coursaga"),
)
for _name, (_target, _help) in _COMMANDS.items():
    app.command(_target, name=_name, help=_help, sort_key=_name)
app.register_install_completion_command()  # pyright: ignore[reportUnknownMemberType] -- its options are untyped


@app.meta.default
def with_token(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    token: Annotated[
        str | None, Parameter(help="Who you are to the API, on any command; better in COURSAGA_TOKEN.")
    ] = None,
) -> Any:
    """Takes --token out of any command line: it stands for COURSAGA_TOKEN."""
    if token:
        os.environ["COURSAGA_TOKEN"] = token
    return app(words, exit_on_error=False, result_action="return_value")


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        result = app.meta(exit_on_error=False, result_action="return_value")
    except CycloptsError:
        leave(USAGE)  # cyclopts has said what is wrong
    except CannotRun as error:
        sys.stderr.write(f"{harmless(str(error))}\n")
        leave(error.exit_code)
    leave(result if isinstance(result, int) else FINE)


if __name__ == "__main__":
    main()
