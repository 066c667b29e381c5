"""How commands fail: with one line on stderr, and a traceback only where it is asked for."""

import errno
import os
import sys
import traceback
from typing import Any

import click

from perennial.storage.errors import UserError

_MACHINE_FAULTS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
)
"""What no program can do anything about: full, read-only, forbidden or broken disks."""

INTERRUPTED = 130
"""The exit code that shells give to what Ctrl-C ended."""


class Program(click.Group):
    """The outermost group; it has a flag `debug`.

    Exit codes: 0, 1 where a command failed, 2 where it was not understood, 130 where it was
    interrupted.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Be the whole program: as `main`, but end at once where it was interrupted.

        Native threads that still compute for what was given up crash in the interpreter's orderly
        end; what had to be closed is closed by then.
        """
        try:
            return super().__call__(*args, **kwargs)
        except SystemExit as leaving:
            if leaving.code == INTERRUPTED:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(INTERRUPTED)
            raise

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, print errors, leave."""
        try:
            code = super().main(*args, **kwargs | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.UsageError as error:
            hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
            _print_error(error.format_message() + hint)
            code = error.exit_code
        except click.ClickException as error:
            _print_error(error.format_message())
            code = error.exit_code
        except click.Abort:
            _print_error("interrupted; the same command goes on from here")
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it raises becomes one line."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:
            if _is_interruption(error):
                raise click.Abort from error
            if ctx.params["debug"]:
                traceback.print_exc()
            raise click.ClickException(_explain(error)) from error


def _is_interruption(error: Exception) -> bool:
    """Whether this is how DuckDB tells that Ctrl-C met it in a query."""
    return isinstance(error, RuntimeError) and str(error) == "Query interrupted"


def _explain(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _MACHINE_FAULTS:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; mend that, and give the same command again"
    return (
        f"{type(error).__name__}: {error}; that should not happen, "
        "`perennial --debug` and the same command show where it does"
    )


def _print_error(message: str) -> None:
    click.echo(f"error: {' '.join(message.split())}", err=True)
