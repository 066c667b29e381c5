"""From the options of a study on the paper's split to its cells, and its tables on the terminal."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from models.settings import build
from replay.choices import choose_models
from replay.report.paper_tables import (
    choices_table,
    costs_table,
    figures_table,
    published_table,
    shares_table,
)
from replay.report.tables import render_table
from replay.study.paper.cell import DISTILL
from replay.study.paper.found import Found
from replay.study.paper.protocol import Asked
from stream.noise import Noise


def asked_study(options: Mapping[str, Any], num_users: int, say: Callable[[str], None]) -> Asked:
    """The cells that the options ask for.

    Args:
        options: of the command.
        num_users: that the split has; nobody can sample more.
        say: told of what is done otherwise than asked.

    Raises:
        UserError: settings that make no model or no summary.
    """
    of_models = [one for one in options["settings"] if one[0] != DISTILL]
    distillation = {name: value for which, name, value in options["settings"] if which == DISTILL}
    if distillation:
        from memory.settings import DistillSettings

        build("sampler", DISTILL, DistillSettings, distillation)
    users = tuple(sorted({min(count, num_users) for count in options["users"]}))
    over = [count for count in options["users"] if count > num_users]
    if over:
        asked = ", ".join(f"{count:,}" for count in over)
        say(f"--users {asked}: the split has {num_users:,} users, so that many are taken instead")
    return Asked(
        models=choose_models(options["models"], of_models),
        samplers=options["samplers"],
        users=users,
        seeds=tuple(dict.fromkeys(options["seeds"])),
        distillation=distillation,
        noises=tuple(
            Noise(percent, options.get("noise_kind", "swap"))
            for percent in sorted({*options.get("noises", ()), 0.0})
        ),
    )


def print_paper_study(found: Found, console: Console) -> None:
    """The tables of a study and what they say."""
    for make in (figures_table, published_table, shares_table, choices_table, costs_table):
        table = make(found)
        if table is not None:
            console.print(render_table(table, console.width))
            console.print()
    for sentence in found.study.tell(found.groups):
        console.print(sentence, markup=False, highlight=False)
