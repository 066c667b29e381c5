"""Lines and errors of commands: no control characters, a traceback only with `--debug`."""

import errno
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any, Protocol

import click

from perennial.storage.base import escape_controls
from perennial.storage.errors import UserError

_MACHINE_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
)
"""Errors that no program can help: full, read-only, forbidden or broken disks."""

INTERRUPTED = 130
"""Exit code that shells give to a command that Ctrl-C ended."""


class Program(click.Group):
    """The outermost group; it has a flag `debug`.

    Exit codes: 0, 1 if a command failed, 2 if its options were not understood, 130 if it was
    interrupted.
    """

    def main(self, args: Sequence[str] | None = None, *others: Any, **kwargs: Any) -> Any:
        """Run a command, print its error, exit; without `args` it is this process's command."""
        if args is None and "_PERENNIAL_COMPLETE" not in os.environ:
            START_LINE.start()
        try:
            code = super().main(args, *others, **kwargs | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            context = error.ctx if isinstance(error, click.UsageError) else None
            hint = f" (see {context.command_path} --help)" if context else ""
            _print_error(_plain(error).format_message() + hint)
            code = error.exit_code
        except click.Abort:
            _print_error("interrupted; the same command resumes from here")
            code = INTERRUPTED
        if code == INTERRUPTED and args is None:
            # Native threads that still compute crash while the interpreter shuts down. Everything
            # that must be closed is closed by now.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and turn its exceptions into click's."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            if isinstance(error, RuntimeError) and str(error) == "Query interrupted":
                # DuckDB's error for Ctrl-C during a query.
                raise click.Abort from error
            if ctx.params["debug"]:
                click.echo(escape_controls(traceback.format_exc(), keep="\n"), err=True)
            raise click.ClickException(_explain(error)) from error


def echo(line: object = "", *, err: bool = False) -> None:
    """Print one line of text, whose control characters are made visible; `err`: on stderr."""
    echo_as_is(escape_controls(str(line)), err=err)


def echo_as_is(line: str, *, err: bool = False) -> None:
    """Print one line of text on stdout or stderr, and draw progress below it."""
    START_LINE.cancel()
    for one in DRAWN:
        one.stop()
    click.echo(line, err=err)
    for one in DRAWN:
        one.start()


class Drawing(Protocol):
    """Progress that is drawn at the bottom of the terminal."""

    def start(self) -> None:
        """Draw it."""

    def stop(self) -> None:
        """Remove it from the screen."""


DRAWN: list[Drawing] = []
"""The progress that is on the screen now."""


START_LINE = threading.Timer(1.0, click.echo, ("loading libraries …",), {"err": True})
"""Line on stderr of a command that has printed nothing for a second."""
START_LINE.daemon = True


def _explain(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; mend that, and give the same command again"
    return (
        f"{type(error).__name__}: {error}; that should not happen, "
        "`perennial --debug` and the same command show where it does"
    )


def _plain(error: click.ClickException) -> click.ClickException:
    """Return an error with plain words for what is no number or out of its range."""
    if not isinstance(error, click.BadParameter) or error.param is None:
        return error
    kind = error.param.type
    if not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return error
    wanted = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    if isinstance(kind, click.IntRange | click.FloatRange):
        if kind.max is not None:
            wanted += f" from {kind.min:g} to {kind.max:g}"
        else:
            wanted += f" above {kind.min:g}" if kind.min_open else f" from {kind.min:g} on"
    return click.BadParameter(f"give {wanted}", error.ctx, error.param)


def _print_error(message: str) -> None:
    echo(f"error: {' '.join(message.split())}", err=True)
