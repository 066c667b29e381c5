"""`recommend`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from perennial.models.registry import MODELS
from perennial.replay.cli.options import (
    file_option,
    json_option,
    limit_options,
    memory_options,
    parse_ids,
    settings_option,
    store_option,
)
from perennial.replay.strategies.registry import STRATEGIES

if TYPE_CHECKING:
    from perennial.replay.recommend.reasons import Reason
    from perennial.replay.recommend.recommender import RecommendedItem, Recommender


def answers_to_json(
    found: "Sequence[RecommendedItem]", model: "Recommender", *, published: bool, why: bool
) -> dict[str, Any]:
    """What `recommend --json` prints.

    Args:
        found: the answers.
        model: that gave them.
        published: whether it is the live one, of which it is told then.
        why: whether reasons were asked for.
    """
    listed = [
        {"item": one.item, "score": one.score, "title": one.title}
        | ({"reasons": [asdict(reason) for reason in one.reasons]} if why else {})
        for one in found
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


def describe_answers(found: "Sequence[RecommendedItem]", period: int) -> Iterator[str]:
    """A line per item, best first, and the reasons below it.

    Args:
        found: the answers.
        period: the newest one that the model has seen.
    """
    width = max((len(str(one.item)) for one in found if one.title is not None), default=0)
    for place, one in enumerate(found, start=1):
        title = "" if one.title is None else f"  {one.title}"
        yield f"{place:>3}  {one.item!s:{width}}{title}"
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


# What is heavy is imported by the command that needs it, so that `--help` is quick.

_FITTING = (
    *("model", "strategy", "seed", "settings", "budget", "memory_policy", "memory_weight"),
    *("memory_limit", "max_rows"),
)
"""Parameters that say what to fit: whoever gives one does not want the published model."""


@click.command()
@store_option("The store that holds the log.")
@click.option("--user", metavar="ID", help="Someone the store knows.")
@click.option(
    "--items", metavar="A,B,C", callback=parse_ids, help="What someone unknown likes, by item."
)
@click.option(
    "--users-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Many users, one a line; their recommendations go to -o.",
)
@file_option("-o", "--output", text="The Parquet file to write for --users-file.", required=False)
@click.option("--k", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option("--exclude", metavar="A,B", callback=parse_ids, help="Items to leave out.")
@click.option(
    "--exclude-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Items to leave out, one a line.",
)
@click.option("--keep-seen", is_flag=True, help="Recommend also what they have had.")
@click.option("--why", is_flag=True, help="Say which training rows speak for each item.")
@click.option(
    "--model",
    type=click.Choice(tuple(MODELS)),
    default="infinite-ae",
    help="Which model to fit.  [default: infinite-ae, unless the live one answers]",
)
@click.option(
    "--strategy",
    type=click.Choice(tuple(STRATEGIES)),
    default="joint",
    help="What the model is fitted on.  [default: joint, unless the live one answers]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Of the fit.  [default: 0, unless the live one answers]",
)
@settings_option
@memory_options
@limit_options
@json_option
@click.pass_context
def recommend(
    context: click.Context,
    /,
    store: Path,
    user: str | None,
    items: tuple[str, ...] | None,
    users_file: Path | None,
    output: Path | None,
    k: int,
    exclude: tuple[str, ...] | None,
    exclude_file: Path | None,
    keep_seen: bool,
    why: bool,
    as_json: bool,
    **fitting: Any,
) -> None:
    """Recommend to a user, or to someone who likes some items.

    Where `perennial init` fixed a live model, the published one answers and nothing is fitted. With
    an option that says what to fit, and where nothing is live, the model is fitted on the newest
    period the first time, and kept in the store.
    """
    if [user is None, not items, users_file is None].count(False) != 1:
        raise click.UsageError("give either --user or --items, or many with --users-file", context)
    if (users_file is None) != (output is None):
        raise click.UsageError("--users-file and -o go together", context)
    if users_file is not None and why:
        raise click.UsageError("--why goes with --user or --items", context)

    from perennial.replay.recommend.batch import read_names
    from perennial.replay.recommend.recommender import RecommendationQuery

    users = (user,) if user is not None else read_names(users_file) if users_file else ()
    excluded = (exclude or ()) + (read_names(exclude_file) if exclude_file else ())
    question = RecommendationQuery(user, items or (), k, excluded, not keep_seen, why)
    asked_to_fit = any(
        context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _FITTING
    )
    live = None if asked_to_fit else _live_answers(store, users)
    answers = live or _fitted_answers(store, users, None if users_file else question, fitting)
    if output is not None:
        _answer_all(answers, users, question, output, as_json)
        return
    found = answers.recommend(question)
    if as_json:
        told = answers_to_json(found, answers, published=live is not None, why=why)
        click.echo(json.dumps(told, allow_nan=False))
        return
    for line in describe_answers(found, answers.period):
        click.echo(line)


def _live_answers(
    store: Path, users: "Sequence[str]", *, last_try: bool = False
) -> "Recommender | None":
    """The published model of a live store, which is read only."""
    from perennial.replay.recommend.recommender import Recommender
    from perennial.storage.errors import UserError
    from perennial.storage.opening import open_for_reading
    from perennial.storage.results.publications import read_live

    with open_for_reading(store) as opened:
        if read_live(opened) is None:
            return None
        try:
            return Recommender.load(opened, users)
        except UserError:
            if last_try:
                raise
    # A writer that published meanwhile has swept the model away; the new one is there by now.
    return _live_answers(store, users, last_try=True)


def _fitted_answers(
    store: Path, users: "Sequence[str]", question: Any, fitting: dict[str, Any]
) -> "Recommender":
    """A model that is fitted now, or was the last time."""
    from rich.console import Console

    from perennial.models.registry import make_recipe
    from perennial.replay.chain import Limits
    from perennial.replay.cli.progress import show_status
    from perennial.replay.cli.requests import split_settings
    from perennial.replay.config import choose_models, choose_strategies
    from perennial.replay.recommend.catalogue import Catalogue
    from perennial.replay.recommend.fitting import newest_model
    from perennial.replay.recommend.recommender import Recommender
    from perennial.replay.strategies.registry import make_strategy
    from perennial.storage.opening import open_existing

    of_strategies, of_models = split_settings(fitting["settings"])
    (chosen,) = choose_models((fitting["model"],), of_models)
    asked = choose_strategies(
        (fitting["strategy"],),
        of_strategies,
        budget=fitting["budget"],
        policy=fitting["memory_policy"],
        weight=fitting["memory_weight"],
    )
    recipe = make_recipe(chosen.name, chosen.settings)
    strategy = make_strategy(fitting["strategy"], asked.get(fitting["strategy"]))
    limits = Limits(fitting["memory_limit"], fitting["max_rows"])
    with open_existing(store) as opened:
        known = Catalogue.load(opened, users)
        if question is not None:
            # Before the fit, so that a slip of the pen costs no time.
            known.context(question.user, question.items)
        with show_status(Console(stderr=True)) as say:
            model = newest_model(opened, strategy, recipe, fitting["seed"], limits, say)
        return Recommender.from_model(opened, model, strategy.name, recipe.name, known)


def _answer_all(
    answers: "Recommender", users: "Sequence[str]", question: Any, output: Path, as_json: bool
) -> None:
    """Recommend to many, into a file."""
    from rich.console import Console

    from perennial.replay.cli.progress import show_bar
    from perennial.replay.recommend.batch import recommend_to_file

    with show_bar(Console(stderr=True)) as progress:
        report = recommend_to_file(
            answers,
            users,
            output,
            k=question.k,
            exclude=question.exclude,
            exclude_seen=question.exclude_seen,
            progress=progress,
        )
    if report.unknown:
        of_them = "user is" if report.unknown == 1 else "users are"
        click.echo(f"{report.unknown:,} {of_them} not in the store, and left out", err=True)
    if as_json:
        click.echo(json.dumps({"output": str(output), **report.to_json()}))
        return
    click.echo(f"{output}: {report.rows:,} recommendations for {report.users:,} users")
