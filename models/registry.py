"""The models by name. A new model is one file and one line here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perennial.storage.base import build
from perennial.storage.registry import Registry

if TYPE_CHECKING:
    from perennial.models.base import Recipe

MODELS: "Registry[type[Recipe]]" = Registry(
    "model",
    {
        "infinite-ae": "perennial.models.infinite_ae.recipe:InfiniteAE",
        "mvae": "perennial.models.mvae.recipe:MVAE",
        "ease": "perennial.models.ease:Ease",
        "lightgcn": "perennial.models.lightgcn.recipe:LightGCN",
        "mf": "perennial.models.mf.recipe:MF",
        "neumf": "perennial.models.neumf.recipe:NeuMF",
        "bias": "perennial.models.bias:Bias",
        "pop": "perennial.models.pop:Pop",
    },
    group="perennial.models",
)
"""Name on the command line -> frozen dataclass that is the model's `Recipe`."""

DEFAULT_MODELS = ("infinite-ae", "mvae")
"""Models of a replay for which none is named."""


def make_recipe(name: str, settings: Mapping[str, Any] | None = None) -> "Recipe":
    """Build the recipe of a model.

    `settings` are fields of the recipe's dataclass that differ from its defaults; text is converted
    to the type of the field.

    Raises:
        UserError: unknown model, unknown setting, or a value that does not fit.
    """
    recipe: Recipe = build("model", name, MODELS.load(name), settings or {}, "fit")
    return recipe
