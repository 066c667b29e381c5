"""The command line: each command parses, calls and prints."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.shell_completion import get_completion_class

from memory.samplers.registry import SAMPLERS
from models.registry import MODELS
from replay.console.parameters import (
    cache_option,
    download_options,
    file_option,
    folder_option,
    json_option,
    limit_options,
    log_options,
    memory_options,
    parse_ids,
    reading_options,
    replay_options,
    settings_option,
    store_option,
)
from replay.console.program import Program
from replay.strategies.registry import DEFAULT_STRATEGIES, STRATEGIES, STUDY_STRATEGIES
from storage.errors import UserError
from stream.sources.registry import SOURCES, describe_sources, open_source

if TYPE_CHECKING:
    from replay.opening import OpenLog

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="perennial", message="perennial %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback when a command fails.")
def main(debug: bool) -> None:
    """Replay a log of interactions: refit recommenders period by period, judge them on the next.

    `perennial replay` alone does so with an embedded synthetic stream.
    """


@main.command()
@log_options
@replay_options(MODELS, STRATEGIES, DEFAULT_STRATEGIES, "0")
@folder_option("--report", "report_folder", text="Write plots and an HTML page here.")
@json_option
@limit_options
@click.option("--fresh", is_flag=True, help="Make all figures again, those in the store too.")
@reading_options
@download_options
def replay(
    report_folder: Path | None,
    as_json: bool,
    fresh: bool,
    cache: Path | None,
    mirror: str | None,
    **asked: Any,
) -> None:
    """Cut a log into periods, refit on each, judge on the next.

    SOURCE is a file, a folder of period files, or the name of a data set (`perennial datasets
    list`). Without it the log in --store is replayed or, where there is none, an embedded
    synthetic stream. The same command again goes on where the last one stopped.
    """
    from rich.console import Console

    from replay.console.asked import asked_config
    from replay.console.live import watch_replay
    from replay.console.screen import print_summary
    from replay.loop import run_replay
    from replay.report.files import write_report
    from replay.summary import load_run, summarise

    config = asked_config(asked)
    with _open_log(asked, cache, mirror) as log:
        config = dataclasses.replace(config, source=log.source, cut=log.cut)
        with watch_replay(log.store, Console(stderr=True)) as listener:
            run_id = run_replay(log.store, config, fresh=fresh, listener=listener)
        data = load_run(log.store, run_id)
    summary = summarise(data)
    written = write_report(data, summary, report_folder) if report_folder else ()
    if as_json:
        click.echo(json.dumps(summary.to_json(), allow_nan=False))
        return
    print_summary(summary, Console())
    hint = f"perennial report --store {log.path} -o DIR"
    click.echo(f"\nreport: {written[0]}" if written else f"\nplots and a page: {hint}")


@main.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@store_option("Made where absent.")
@reading_options
def ingest(files: tuple[Path, ...], store: Path, **reading: Any) -> None:
    """Make each FILE the next period of the log in --store.

    Reads Parquet, CSV, TSV (gzip too), MovieLens .dat, RecBole .inter and ADER's period_N.txt. A
    file goes in whole or not at all; one that is there already changes nothing.
    """
    from rich.console import Console

    from replay.console.screen import describe_ingest, show_bar
    from replay.opening import open_for_writing
    from storage.ingest import IngestSettings, ingest_period

    settings = IngestSettings(**_given(reading))
    with open_for_writing(store) as opened, show_bar(Console(stderr=True)) as progress:
        for path in files:
            click.echo(describe_ingest(ingest_period(opened, path, settings, progress)))


@main.command()
@store_option("The store to look into.")
@json_option
def periods(store: Path, as_json: bool) -> None:
    """Show what is in a store, period by period."""
    from rich.console import Console

    from replay.opening import open_existing
    from replay.report.tables import render_periods
    from storage.periods import list_periods

    with open_existing(store) as opened:
        found = list_periods(opened)
    if as_json:
        click.echo(json.dumps({"periods": [dataclasses.asdict(period) for period in found]}))
    else:
        console = Console()
        console.print(render_periods(found, console.width))


@main.command()
@store_option("The store that holds the log.")
@click.option("--user", metavar="ID", help="Someone the store knows.")
@click.option(
    "--items", metavar="A,B,C", callback=parse_ids, help="What someone unknown likes, by item."
)
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option(
    "--model",
    type=click.Choice(tuple(MODELS)),
    default="infinite-ae",
    show_default=True,
    help="Which model to ask.",
)
@click.option(
    "--strategy",
    type=click.Choice(tuple(STRATEGIES)),
    default="joint",
    show_default=True,
    help="What the model is fitted on.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the fit.",
)
@settings_option
@memory_options
@limit_options
@json_option
def recommend(
    store: Path,
    user: str | None,
    items: tuple[str, ...] | None,
    k: int,
    model: str,
    strategy: str,
    seed: int,
    settings: tuple[tuple[str, str, Any], ...],
    budget: int | None,
    memory_policy: str | None,
    memory_weight: float | None,
    memory_limit: int,
    max_rows: int | None,
    as_json: bool,
) -> None:
    """Recommend to a user, or to someone who likes some items.

    The model is fitted on the newest period the first time, and kept in the store.
    """
    from rich.console import Console

    from models.registry import make_recipe
    from replay.chain import Limits
    from replay.choices import choose_models, choose_strategies
    from replay.console.asked import split_settings
    from replay.console.screen import show_status
    from replay.opening import open_existing
    from replay.published import context_of_items, context_of_user, newest_model
    from replay.published import recommend as recommend_to
    from replay.strategies.registry import make_strategy

    if (user is None) == (not items):
        raise click.UsageError("give either --user or --items")
    of_strategies, of_models = split_settings(settings)
    (chosen,) = choose_models((model,), of_models)
    asked = choose_strategies(
        (strategy,), of_strategies, budget=budget, policy=memory_policy, weight=memory_weight
    )
    recipe = make_recipe(chosen.name, chosen.settings)
    chosen_strategy = make_strategy(strategy, asked.get(strategy))
    limits = Limits(memory_limit, max_rows)
    with open_existing(store) as opened:
        # Before the fit, so that a slip of the pen costs no time.
        known = context_of_items(opened, items) if items else context_of_user(opened, user or "")
        with show_status(Console(stderr=True)) as say:
            fitted = newest_model(opened, chosen_strategy, recipe, seed, limits, say)
        found = recommend_to(opened, fitted, known, k=k)
    if as_json:
        rows = [dataclasses.asdict(one) for one in found]
        click.echo(json.dumps({"recommendations": rows}))
        return
    for place, one in enumerate(found, start=1):
        click.echo(f"{place:>3}  {one.item}")


@main.command()
@store_option("The store that holds the run.")
@click.option("--run", "run_id", type=click.IntRange(min=1), help="Its number.  [default: newest]")
@folder_option("-o", "--output", text="Write plots (PNG, SVG) and a self-contained page here.")
@json_option
def report(store: Path, run_id: int | None, output: Path | None, as_json: bool) -> None:
    """Show the figures of a replay again, or write its pictures and page."""
    from rich.console import Console

    from replay.console.screen import print_summary
    from replay.opening import open_existing
    from replay.report.files import write_report
    from replay.summary import load_run, summarise

    with open_existing(store) as opened:
        data = load_run(opened, run_id)
    summary = summarise(data)
    written = write_report(data, summary, output) if output else ()
    if as_json:
        click.echo(json.dumps(summary.to_json(), allow_nan=False))
        return
    print_summary(summary, Console())
    for path in written:
        click.echo(path)


@main.group()
def study() -> None:
    """Many replays at once, in parallel, and one report of them."""


@study.command(name="continual")
@log_options
@click.option("--source", "named", metavar="SOURCE", help="SOURCE, given as an option.")
@replay_options(MODELS, STRATEGIES, STUDY_STRATEGIES, "0,1,2")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes at a time, of one thread each.  [default: one per core, one on a GPU]",
)
@click.option(
    "--transfer/--no-transfer",
    default=True,
    show_default=True,
    help="Also fit without a tenth of the users, and ask these fits about them in every period.",
)
@click.option(
    "--confirm-from",
    type=click.IntRange(min=2),
    help="Report the evaluated periods from here on apart: those nothing was chosen on.",
)
@folder_option("-o", "--output", text="Write the pictures and the page here.")
@json_option
@limit_options
@reading_options
@download_options
def study_continual(
    named: str | None,
    workers: int | None,
    transfer: bool,
    confirm_from: int | None,
    output: Path | None,
    as_json: bool,
    cache: Path | None,
    mirror: str | None,
    **asked: Any,
) -> None:
    """Compare what strategies make of a log over its periods (Figure 5 of the paper).

    SOURCE is as for `replay`. Every strategy is followed with every model and seed. The same
    command again goes on where the last one stopped, and takes cells of a replay as they are.
    """
    from rich.console import Console

    from replay.console.asked import asked_config
    from replay.console.crew import watch_crew
    from replay.console.study import print_study
    from replay.machine import default_workers
    from replay.report.study import write_study
    from replay.study.continual import ContinualStudy, run_continual
    from replay.study.results import check_confirm_from, load_study

    if named is not None and asked["source"] is not None:
        raise click.UsageError("the source is given twice; leave one out")
    asked["source"] = named or asked["source"]
    config = asked_config(asked)
    with _open_log(asked, cache, mirror) as log:
        check_confirm_from(log.store, confirm_from)
    config = dataclasses.replace(config, source=log.source, cut=log.cut)
    plan = ContinualStudy.of(config, transfer=transfer, num_workers=workers or default_workers())
    with watch_crew(Console(stderr=True)) as watch:
        runs = run_continual(log.path, plan, watch=watch)
    found = load_study(log.path, runs, plan.transfer, confirm_from)
    written = write_study(found, output) if output else ()
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
        return
    print_study(found, Console())
    for path in written:
        click.echo(path)


@main.group()
def memory() -> None:
    """What is remembered of past periods: summaries of synthetic users."""


@memory.command(name="show")
@store_option("The store that holds the summaries.")
@json_option
def show_memory(store: Path, as_json: bool) -> None:
    """Show the summaries of a store, period by period."""
    from rich.console import Console

    from replay.console.memory import describe_devices, render_summaries
    from replay.opening import open_existing
    from replay.summaries import show_summaries

    with open_existing(store) as opened:
        shown = show_summaries(opened)
    if as_json:
        click.echo(json.dumps({"summaries": [one.to_json() for one in shown]}, allow_nan=False))
    elif not shown:
        click.echo("no summary yet; `perennial replay --strategy distill-cf` makes them")
    else:
        Console().print(render_summaries(shown))
        click.echo(describe_devices(shown))


@memory.command(name="export")
@store_option("The store that holds the summaries.")
@click.option("--period", type=click.IntRange(min=1), help="Only this period's.  [default: all]")
@click.option("--seed", type=click.IntRange(min=0), help="Only this seed's, as `show` has it.")
@file_option("-o", "--output", text="The Parquet file to write.")
def export_memory(store: Path, period: int | None, seed: int | None, output: Path) -> None:
    """Write summaries to a Parquet file, to train other models on.

    Its columns are summary, period, seed, synthetic_user, item_id and weight; the synthetic users
    of a summary are numbered in order of usefulness.
    """
    from replay.opening import open_existing
    from replay.summaries import export_summaries

    with open_existing(store) as opened:
        count = export_summaries(opened, output, period=period, seed=seed)
    click.echo(f"{output}: {count} {'summary' if count == 1 else 'summaries'}")


@memory.command(name="audit")
@store_option("The store that holds the summaries and the log.")
@click.option("--period", type=click.IntRange(min=1), help="Whose summary.  [default: the newest]")
@click.option("--seed", type=click.IntRange(min=0), help="The summary's, as `show` has it.")
@click.option(
    "--audit-seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the draws of the audit itself.",
)
@file_option("--plot", text="A picture to write, such as audit.png.", required=False)
@json_option
def audit_memory(
    store: Path,
    period: int | None,
    seed: int | None,
    audit_seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Tell how far a summary hides the users it was made of.

    Compares each synthetic user with the nearest real one, and tries to tell users the summary was
    made of from users it was not made of.
    """
    from rich.console import Console

    from replay.auditing import audit_summary
    from replay.console.audit import print_audit
    from replay.console.memory import show_distillation
    from replay.opening import open_existing
    from replay.report.audit_plot import save_audit_plot
    from replay.summaries import choose_summaries

    with open_existing(store) as opened, show_distillation(Console(stderr=True)) as listener:
        record = choose_summaries(opened, period, seed)[-1]
        found = audit_summary(opened, record, audit_seed, listener)
    if plot is not None:
        save_audit_plot(found, plot)
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
    else:
        print_audit(found, Console())


@main.command(name="distill")
@click.argument("source")
@file_option("-o", "--output", text="The Parquet file to write.")
@click.option(
    "--users",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Synthetic users to make.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all draws."
)
@click.option(
    "--method",
    type=click.Choice(("sparse", "paper")),
    default="sparse",
    show_default=True,
    help="Learn sparse weights, or the authors' Gumbel-sampled prior.",
)
@click.option(
    "--max-items",
    type=click.IntRange(min=0),
    help="Most items of a synthetic user; 0 for any.  [default: 200, any with paper]",
)
@click.option(
    "--export",
    type=click.Choice(("soft", "hard")),
    default="soft",
    show_default=True,
    help="Keep weights in (0, 1], or make them 1.",
)
@click.option(
    "--steps", type=click.IntRange(min=1), help="Steps at most.  [default: 100, 500 with paper]"
)
@json_option
@reading_options
@download_options
def distill_source(
    source: str,
    output: Path,
    users: int,
    seed: int,
    method: Literal["sparse", "paper"],
    max_items: int | None,
    export: Literal["soft", "hard"],
    steps: int | None,
    as_json: bool,
    cache: Path | None,
    mirror: str | None,
    **reading: Any,
) -> None:
    """Distil a whole log, whatever its periods, into a few synthetic users.

    SOURCE is as for `replay`. The columns of the file are synthetic_user, item_id and weight. A
    tenth of the interactions is held out to judge by. Ctrl-C keeps the best so far.
    """
    from rich.console import Console

    from replay.console.memory import show_distillation
    from replay.console.screen import show_bar
    from replay.distilling import DistillRequest, distill_to_file

    request = DistillRequest(source, users, seed, method, max_items, export, steps, _given(reading))
    console = Console(stderr=True)
    with show_bar(console) as progress:
        log = open_source(source, cache=cache or _cache(), mirror=mirror, progress=progress)
    with show_distillation(console) as listener:
        report = distill_to_file(log, request, output, listener)
    if as_json:
        click.echo(json.dumps(report, allow_nan=False))
        return
    click.echo(
        f"{output}: {report['synthetic_users']} synthetic users, {report['non_zeros']:,} weights"
        + (", cut short" if report["interrupted"] else "")
    )


@main.command(name="sample")
@click.argument("source")
@click.option(
    "--sampler",
    type=click.Choice(tuple(SAMPLERS)),
    default="user-rns",
    show_default=True,
    help="Who is kept.",
)
@file_option("-o", "--output", text="The Parquet file to write.")
@click.option(
    "--users",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Users to keep at most.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all draws."
)
@reading_options
@json_option
@download_options
def sample_log(
    source: str,
    sampler: str,
    output: Path,
    users: int,
    seed: int,
    as_json: bool,
    cache: Path | None,
    mirror: str | None,
    **reading: Any,
) -> None:
    """Keep a few real users of a whole log: the baselines of `distill`.

    SOURCE is as for `replay`. The columns of the file are user_id and item_id.
    """
    from rich.console import Console

    from replay.console.screen import show_bar
    from replay.sampling import SampleRequest, sample_to_file

    with show_bar(Console(stderr=True)) as progress:
        log = open_source(source, cache=cache or _cache(), mirror=mirror, progress=progress)
    found = sample_to_file(log, SampleRequest(sampler, users, seed, _given(reading)), output)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False))
        return
    click.echo(
        f"{output}: {found['users']:,} of {found['users_given']:,} users, "
        f"{found['interactions']:,} of {found['interactions_given']:,} interactions"
    )


@main.group()
def datasets() -> None:
    """Data sets that have a name."""


@datasets.command(name="list")
@cache_option
def list_datasets(cache: Path | None) -> None:
    """List the data sets that `replay` knows by name."""
    from rich.console import Console

    from replay.console.screen import print_sources

    print_sources(describe_sources(cache or _cache()), Console())


@datasets.command(name="download")
@click.argument("name", type=click.Choice(tuple(SOURCES)))
@download_options
def download_dataset(name: str, cache: Path | None, mirror: str | None) -> None:
    """Fetch a data set into the cache, verify its checksum, and print where its files are.

    A download that broke off goes on where it stopped.
    """
    from rich.console import Console

    from replay.console.screen import show_bar

    with show_bar(Console(stderr=True)) as progress:
        log = open_source(name, cache=cache or _cache(), mirror=mirror, progress=progress)
    for path in log.paths:
        click.echo(path)


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


@contextmanager
def _open_log(asked: dict[str, Any], cache: Path | None, mirror: str | None) -> Iterator["OpenLog"]:
    """The log that `log_options` ask for, in its store; says on stderr what was read and where."""
    from rich.console import Console

    from replay.console.asked import asked_log
    from replay.console.screen import describe_ingest, show_bar
    from replay.opening import open_log

    with ExitStack() as stack:
        with show_bar(Console(stderr=True)) as progress:
            opening = open_log(
                asked_log(asked), cache=cache or _cache(), mirror=mirror, progress=progress
            )
            log = stack.enter_context(opening)
        for ingested in log.reports:
            click.echo(describe_ingest(ingested), err=True)
        click.echo(f"log and results: {log.path}", err=True)
        yield log


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("perennial")


if __name__ == "__main__":
    main()
