"""The command line: the list of commands."""

import os

import click
from click.shell_completion import get_completion_class

from perennial.replay.cli.errors import Program
from perennial.replay.cli.live import forget, ingest, init, update, watch
from perennial.replay.cli.memory import memory
from perennial.replay.cli.recommend import recommend
from perennial.replay.cli.replay import replay, report
from perennial.replay.cli.serve import serve
from perennial.replay.cli.sources import cache, datasets, distill_source, sample_log
from perennial.replay.cli.store import periods, runs, status, titles
from perennial.replay.cli.study import study
from perennial.storage.compile_cache import compile_variables
from perennial.storage.errors import UserError


@click.group(
    cls=Program, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(package_name="perennial", message="perennial %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback when a command fails.")
def main(debug: bool) -> None:
    """Replay a log of interactions: refit recommenders period by period, evaluate them on the next.

    `perennial replay` alone does so with an embedded synthetic stream.
    """
    os.environ |= compile_variables(os.environ)


@main.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print a script that completes commands and options.

    bash and zsh: write it to a file and source that from ~/.bashrc or ~/.zshrc. fish: write it to
    ~/.config/fish/completions/perennial.fish.
    """
    complete = get_completion_class(shell)
    if complete is None:
        raise UserError(f"no completion for {shell}; choose bash, zsh or fish")
    click.echo(complete(main, {}, "perennial", "_PERENNIAL_COMPLETE").source())


for _command in (
    replay,
    init,
    ingest,
    update,
    status,
    watch,
    forget,
    periods,
    titles,
    recommend,
    serve,
    report,
    runs,
    study,
    memory,
    distill_source,
    sample_log,
    datasets,
    cache,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
