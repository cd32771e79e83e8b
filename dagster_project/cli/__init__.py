"""The command line, `selective-autonomy`. One file a group of commands, each light to import.

`--help` stays well under half a second because a command imports what it needs when it runs, not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from selective_autonomy.errors import SelectiveAutonomyError

# Name of each group of commands -> the module that has it as `app`. A new group is one line here.
GROUPS = {
    "traces": "dagster_project.cli.traces",
    "pipeline": "dagster_project.cli.pipeline",
    "evaluate": "dagster_project.cli.evaluate",
    "release": "dagster_project.cli.release",
    "bench": "dagster_project.cli.bench",
}


# Single commands, each a function of `dagster_project.cli.loop`.
COMMANDS = ("demo", "corpus", "up", "readme")


class PlainErrors(TyperGroup):
    """What goes wrong on purpose is one clear line and exit code 1; anything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SelectiveAutonomyError as err:
            typer.secho(f"{err.code}: {err}", fg=typer.colors.RED, err=True)
            raise typer.Exit(1) from err


app = typer.Typer(
    name="selective-autonomy",
    cls=PlainErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Hand support-desk work to a language model only where that is proven safe.",
)


@app.callback()
def _main() -> None:
    """Nothing happens without a command."""


for _name, _module in GROUPS.items():
    app.add_typer(import_module(_module).app, name=_name)
for _name in COMMANDS:
    app.command(_name)(getattr(import_module("dagster_project.cli.loop"), _name))
