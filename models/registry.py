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
    """Build the recipe of a model with fields of its dataclass that differ from the defaults.

    Text is converted to the type of the field. An unknown model or setting, and a value that does
    not fit, are a `UserError`.
    """
    recipe: Recipe = build("model", name, MODELS.load(name), settings or {}, "fit")
    return recipe
