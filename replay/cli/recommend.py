"""`recommend`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perennial.models.registry import MODELS
from perennial.replay.cli.errors import echo
from perennial.replay.cli.options import LimitOptions, SettingOptions, options
from perennial.replay.cli.parameters import (
    NATURAL,
    POSITIVE,
    NameChoice,
    given,
    json_option,
    parse_ids,
    store_option,
    table_option,
)
from perennial.replay.strategies.registry import STRATEGIES
from perennial.storage.base import escape_controls
from perennial.storage.opening import open_existing, require_store

if TYPE_CHECKING:
    from perennial.replay.recommend.reasons import Reason
    from perennial.replay.recommend.recommender import (
        RecommendationQuery,
        RecommendedItem,
        Recommender,
    )
    from perennial.storage.objects.bucket import Place


def items_to_json(
    items: "Sequence[RecommendedItem]", model: "Recommender", *, published: bool, why: bool
) -> dict[str, Any]:
    """Return the output of `recommend --json`, with the model if it is `published`."""
    from perennial.storage.reading.identifier_forms import to_json_identifier

    listed = [
        {"item": to_json_identifier(one.item), "score": one.score, "title": one.title}
        | ({"reasons": [_reason_to_json(reason) for reason in one.reasons]} if why else {})
        for one in items
    ]
    if not published:
        return {"recommendations": listed}
    about = {
        "period": model.period,
        "published": model.published.isoformat() + "+00:00",
        "model": model.model_name,
        "strategy": model.strategy,
    }
    return about | {"recommendations": listed}


def _reason_to_json(reason: "Reason") -> dict[str, Any]:
    from perennial.storage.reading.identifier_forms import to_json_identifier

    shared = [asdict(one) | {"item": to_json_identifier(one.item)} for one in reason.shared]
    return asdict(reason) | {"shared": shared}


def describe_items(items: "Sequence[RecommendedItem]", period: int) -> Iterator[str]:
    """Yield a line for each item and its reasons; `period` is the newest in the fit."""
    names = [escape_controls(str(one.item)) for one in items]
    titled = (name for name, one in zip(names, items, strict=True) if one.title is not None)
    width = max(map(len, titled), default=0)
    for place, (name, one) in enumerate(zip(names, items, strict=True), start=1):
        title = "" if one.title is None else f"  {one.title}"
        yield f"{place:>3}  {name:{width}}{title}"
        for reason in one.reasons:
            yield f"       {_describe(reason, period)}"


def _describe(reason: "Reason", period: int) -> str:
    who = {
        "remembered": "a remembered user",
        "newest": f"a user of period {period}",
        "user": "a user of the log",
        "unknown": "a row of the training",
    }[reason.kind]
    line = f"{reason.share:.0%} by {who}, similarity {reason.similarity:.2f}"
    if not reason.shared:
        return f"{line}, nothing in common"
    names = ", ".join(str(one.item if one.title is None else one.title) for one in reason.shared)
    more = reason.num_shared - len(reason.shared)
    return f"{line}; both have {names}" + (f" and {more:,} more" if more else "")


# Heavy imports are in the functions that need them, so that `--help` is fast.

_FITTING = (
    *("model", "strategy", "seed", "settings"),
    *("budget", "memory_policy", "memory_weight", "history"),
    *("memory_limit", "max_rows", "min_user_events"),
)
"""Parameters of a fit: with any of them the published model is not used."""


@click.command()
@store_option("The store that holds the log.", must_exist=False)
@click.option("--user", metavar="ID", help="A user in the store.")
@click.option(
    "--items", metavar="A,B,C", callback=parse_ids, help="Items that an unknown user likes."
)
@click.option(
    "--users-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Many users, one a line; their recommendations go to -o.",
)
@table_option(required=False)
@click.option("--k", type=POSITIVE, default=10, help="How many.")
@click.option("--exclude", metavar="A,B", callback=parse_ids, help="Items to leave out.")
@click.option(
    "--exclude-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Items to leave out, one a line.",
)
@click.option("--keep-seen", is_flag=True, help="Recommend also items that the user has had.")
@click.option("--why", is_flag=True, help="Show the training rows that raise each item's score.")
@click.option(
    "--model",
    type=NameChoice(tuple(MODELS)),
    default="infinite-ae",
    help="Which model to fit.  [default: infinite-ae, unless the live one answers]",
    show_default=False,
)
@click.option(
    "--strategy",
    type=NameChoice(tuple(STRATEGIES)),
    default="joint",
    help="What the model is fitted on.  [default: joint, unless the live one answers]",
    show_default=False,
)
@click.option(
    "--seed",
    type=NATURAL,
    default=0,
    help="Seed of the fit.  [default: 0, unless the live one answers]",
    show_default=False,
)
@options(settings=SettingOptions, limits=LimitOptions)
@json_option
@click.pass_context
def recommend(
    context: click.Context,
    /,
    store: Path,
    user: str | None,
    items: tuple[str, ...] | None,
    users_file: Path | None,
    output: "Place | None",
    k: int,
    exclude: tuple[str, ...] | None,
    exclude_file: Path | None,
    keep_seen: bool,
    why: bool,
    model: str,
    strategy: str,
    seed: int,
    settings: SettingOptions,
    limits: LimitOptions,
    as_json: bool,
) -> None:
    """Recommend to a user, or to someone who likes some items.

    Where `perennial init` fixed a live model, the published one answers and nothing is fitted. With
    an option that chooses what to fit, and where nothing is live, the model is fitted on the newest
    period the first time, and kept in the store.
    """
    if [user is None, not items, users_file is None].count(False) != 1:
        raise click.UsageError("give either --user or --items, or many with --users-file", context)
    require_store(store)
    if (users_file is None) != (output is None):
        raise click.UsageError("--users-file and -o go together", context)
    if users_file is not None and why:
        raise click.UsageError("--why goes with --user or --items", context)

    from perennial.replay.recommend.batch import read_names
    from perennial.replay.recommend.fitting import load_published
    from perennial.replay.recommend.recommender import RecommendationQuery

    users = (user,) if user is not None else read_names(users_file) if users_file else ()
    excluded = (exclude or ()) + (read_names(exclude_file) if exclude_file else ())
    query = RecommendationQuery(user, items or (), k, excluded, not keep_seen, why)
    live = None if given(*_FITTING) else load_published(store, users)
    if live is None:
        first_query = None if users_file else query
        recommender = _fit(store, users, first_query, model, strategy, seed, settings, limits)
    else:
        recommender = live
    if output is not None:
        _recommend_to_file(recommender, users, query, output, as_json)
        return
    recommended = recommender.recommend(query)
    if as_json:
        printed = items_to_json(recommended, recommender, published=live is not None, why=why)
        click.echo(json.dumps(printed, allow_nan=False))
        return
    for line in describe_items(recommended, recommender.period):
        echo(line)


def _fit(
    store: Path,
    users: "Sequence[str]",
    query: "RecommendationQuery | None",
    model: str,
    strategy: str,
    seed: int,
    settings: SettingOptions,
    limits: LimitOptions,
) -> "Recommender":
    """Fit a model on the newest period, or read the fit that the store has."""
    from perennial.replay.chain import Limits
    from perennial.replay.cli.progress import show_status
    from perennial.replay.recommend.fitting import newest_recommender
    from perennial.replay.strategies.registry import make_strategy

    (chosen,), of_strategy = settings.choose((model,), (strategy,))
    made = make_strategy(strategy, of_strategy.get(strategy))
    fit_limits = Limits(limits.memory_limit, limits.max_rows, limits.min_user_events)
    with open_existing(store) as opened, show_status() as progress:
        return newest_recommender(
            opened,
            made,
            chosen.recipe,
            seed,
            fit_limits,
            users=users,
            query=query,
            progress=progress,
        )


def _recommend_to_file(
    recommender: "Recommender",
    users: "Sequence[str]",
    query: "RecommendationQuery",
    output: "Place",
    as_json: bool,
) -> None:
    from perennial.replay.cli.progress import show_bar
    from perennial.replay.recommend.batch import recommend_to_file

    with show_bar() as progress:
        report = recommend_to_file(
            recommender,
            users,
            output,
            k=query.k,
            exclude=query.exclude,
            exclude_seen=query.exclude_seen,
            progress=progress,
        )
    if report.unknown:
        of_them = "user is" if report.unknown == 1 else "users are"
        echo(f"{report.unknown:,} {of_them} not in the store, and left out", err=True)
    if as_json:
        click.echo(json.dumps({"output": str(output), **asdict(report)}))
        return
    echo(f"{output}: {report.rows:,} recommendations for {report.users:,} users")
