"""The metrics by name. A new metric is one file and one line here."""

from typing import TYPE_CHECKING

from perennial.storage.registry import Registry

if TYPE_CHECKING:
    from perennial.replay.metrics.base import Metric

METRICS: "Registry[type[Metric]]" = Registry(
    "metric",
    {
        "HR": "perennial.replay.metrics.hits:HitRate",
        "nDCG": "perennial.replay.metrics.hits:NDCG",
        "PSP": "perennial.replay.metrics.psp:PSP",
        "PSPn": "perennial.replay.metrics.psp:PSPn",
        "AUC": "perennial.replay.metrics.auc:AUC",
        "AUCu": "perennial.replay.metrics.auc:AUCu",
    },
    group="perennial.metrics",
)
"""Name in reports -> class that is the `Metric`."""


def make_metric(name: str) -> "Metric":
    """Build a metric at its usual cut-offs; raise `UserError` if it is unknown."""
    return METRICS.load(name)()


def default_metrics() -> "tuple[Metric, ...]":
    """Build all registered metrics, in the order of reports."""
    return tuple(make_metric(name) for name in METRICS)
