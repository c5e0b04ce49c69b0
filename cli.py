"""The command line: ``memreel`` and its exit status; the commands are in `memreel.commands`.

Exit status: 0 done, 1 the run failed, 2 the user's input or configuration is wrong (one line, no traceback), 130
interrupted (Ctrl-C), 143 terminated (SIGTERM).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from memreel.commands.batch import batch
from memreel.commands.bench import bench
from memreel.commands.check import check
from memreel.commands.doctor import doctor
from memreel.commands.film import film, plan
from memreel.commands.fork import fork, history, resume
from memreel.commands.live import live, push
from memreel.commands.making import INTERRUPTED, TERMINATED
from memreel.commands.report import report
from memreel.commands.run import run
from memreel.commands.show import show
from memreel.commands.terminal import one_line, say
from memreel.errors import MemreelError

UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="memreel",
    help="Long videos whose people and things stay themselves: an agent, an entity memory, a streaming video model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    try:
        status = app(args=None if arguments is None else list(arguments), prog_name="memreel", standalone_mode=False)
    except UsageError as error:
        text = error.format_message()  # type: ignore[attr-defined]
        if text:  # without one, the help has just been printed
            say(f"memreel: {text} (try memreel --help)")
        return 2
    except MemreelError as error:
        say(f"memreel: {one_line(error)}")
        return error.exit_status
    except KeyboardInterrupt:
        status = INTERRUPTED
    if status in (INTERRUPTED, TERMINATED):
        say(f"memreel: {'interrupted' if status == INTERRUPTED else 'terminated'}")
    return status if isinstance(status, int) else 0


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"memreel {version('memreel')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for command in (run, batch, live, push, resume, fork, history, plan, film, show, check, report, doctor):
    app.command()(command)
app.add_typer(bench, name="bench", no_args_is_help=True)


if __name__ == "__main__":
    raise SystemExit(main())
