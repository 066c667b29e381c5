"""`recommend`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from models.registry import MODELS
from replay.console.parameters import (
    json_option,
    limit_options,
    memory_options,
    parse_ids,
    settings_option,
    store_option,
)
from replay.strategies.registry import STRATEGIES

# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.command()
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
