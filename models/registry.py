"""The models by name. A new model is one file and one line here.

Names only, so that the command line can list them before anything heavy is imported.
"""

import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from perennial.models.settings import build
from perennial.storage.errors import UserError

if TYPE_CHECKING:
    from perennial.models.base import Recipe

MODELS: Mapping[str, str] = {
    "infinite-ae": "perennial.models.infinite_ae.recipe:InfiniteAE",
    "mvae": "perennial.models.mvae.recipe:MVAE",
    "ease": "perennial.models.ease:Ease",
    "lightgcn": "perennial.models.lightgcn.recipe:LightGCN",
    "mf": "perennial.models.mf.recipe:MF",
    "neumf": "perennial.models.neumf.recipe:NeuMF",
    "bias": "perennial.models.bias:Bias",
    "pop": "perennial.models.pop:Pop",
}
"""Name on the command line -> frozen dataclass that is the model's `Recipe`."""

DEFAULT_MODELS = ("infinite-ae", "mvae")
"""Replayed where none is named; the others are what these are compared with."""


def make_recipe(name: str, settings: Mapping[str, Any] | None = None) -> "Recipe":
    """Build the recipe of a model.

    Args:
        name: a key of `MODELS`.
        settings: fields of the recipe's dataclass that differ from its defaults; text is converted
            to the field's type.

    Raises:
        UserError: unknown model, unknown setting, or a value that does not fit.
    """
    if name not in MODELS:
        raise UserError(f"unknown model '{name}'; choose from {', '.join(sorted(MODELS))}")
    recipe_class = pkgutil.resolve_name(MODELS[name])
    return cast("Recipe", build("model", name, recipe_class, settings or {}))
