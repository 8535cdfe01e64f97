"""The `bas-edge` command: finds the verb, runs it, and turns errors into exit codes.

A verb is a module of this package with one function, `command`, that typer reads its
options from. It is imported only when it is asked for, and itself imports torch,
ONNX Runtime and PyAV inside the function, so `--help` and a typing error cost little.

Exit codes: 0, the `exit_code` of the `BasEdgeError` (2 too for a wrong option), 130 for
Ctrl-C. Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import errno
import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from bas_edge import __version__
from bas_edge.cli.output import print_json
from bas_edge.errors import BasEdgeError, InputError

__all__ = ["VERBS", "app", "main"]

VERBS = {  # in the order of the work, and of `--help`; verb → module
    "train": "train",
    "import-checkpoint": "import_checkpoint",
    "seeds": "seeds",
    "train-segmenter": "train_segmenter",
    "export": "export",
    "build-engine": "build_engine",
    "run": "run",
    "segment": "segment",
    "serve": "serve",
    "evaluate": "evaluate",
    "analyse": "analyse",
    "compare": "compare",
    "benchmark": "benchmark",
    "inspect": "inspect",
    "doctor": "doctor",
    "demo": "demo",
}

INTERRUPTED = 130
# What a machine does to a correct program: reported like a user error, not as a bug.
MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
# click's own base class, wherever this version of typer keeps click.
UsageError: Any = typer.BadParameter.__base__


class _Interrupted(Exception):  # noqa: N818  (Ctrl-C is no error)
    """Ctrl-C inside a verb, with what the verb had to say about it."""


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Keep the words of a KeyboardInterrupt, which typer would replace by its own."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        try:
            command(**options)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted(str(interrupt) or "Interrupted.") from None

    return run


class VerbGroup(TyperGroup):
    """A group of commands that are imported when first asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (click's signature)
        """Names of all verbs, in the order that help shows them."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  (as above)
        """The command of one verb, or None where there is no such verb."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"bas_edge.cli.{VERBS[cmd_name]}")
        single = typer.Typer(add_completion=False)
        single.command(name=cmd_name)(_interruptible(module.command))
        return typer.main.get_command(single)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Split the verb from its arguments; a misspelt verb gets a suggestion."""
        if args[0] not in VERBS:
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            raise InputError(
                f"There is no verb '{args[0]}'.",
                hint=f"Did you mean '{near[0]}'?"
                if near
                else f"The verbs are: {', '.join(VERBS)}.",
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=VerbGroup,
    help="Train an object localizer from image labels alone, and run it on images and video.",
    epilog="Start with: bas-edge demo. Every verb takes --json and --help.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"bas-edge {__version__}")
        raise typer.Exit


@app.callback()
def _options_before_the_verb(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `bas-edge` command line and return its exit code.

    Args:
        argv: The arguments after the program's name; None takes them from `sys.argv`.
    """
    args = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    as_json = "--json" in args
    try:
        command = typer.main.get_command(app)
        code = command.main(args, prog_name="bas-edge", standalone_mode=False)
    except BasEdgeError as error:
        return _report(str(error), error.hint, error.exit_code, as_json)
    except UsageError as error:
        return _report(_usage_message(error), _usage_hint(error), InputError.exit_code, as_json)
    except _Interrupted as interrupt:
        return _report(str(interrupt), None, INTERRUPTED, as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        return _report(f"{what}.", None, BasEdgeError.exit_code, as_json)
    if code == INTERRUPTED:
        return _report("Interrupted.", None, INTERRUPTED, as_json)
    return int(code or 0)


def _report(message: str, hint: str | None, exit_code: int, as_json: bool) -> int:
    """Say what went wrong on stderr and, with --json, as the last line of stdout."""
    print(f"bas-edge: {message}", file=sys.stderr)
    if hint:
        print(f"  hint: {hint}", file=sys.stderr)
    if as_json:
        print_json({"error": message, "hint": hint, "exit_code": exit_code})
    return exit_code


def _usage_message(error: Any) -> str:
    # An unknown option keeps its bare sentence: the suggestion is our hint.
    message = str(error.message if hasattr(error, "possibilities") else error.format_message())
    message = message.replace("Value error, ", "")  # pydantic's words, in newer versions of typer
    return message if message.endswith((".", "?")) else f"{message}."


def _usage_hint(error: Any) -> str:
    path = error.ctx.command_path if error.ctx else "bas-edge"
    if hasattr(error, "possibilities") and error.ctx:
        options = [name for param in error.ctx.command.get_params(error.ctx) for name in param.opts]
        near = difflib.get_close_matches(error.option_name, options, n=1)
        if near:
            return f"Did you mean {near[0]}?"
    return f"{path} --help"
