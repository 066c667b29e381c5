"""The metrics by name. A new metric is one file and one line here."""

import pkgutil
from collections.abc import Mapping
from typing import cast

from perennial.replay.metrics.base import Metric
from perennial.storage.errors import UserError

METRICS: Mapping[str, str] = {
    "HR": "perennial.replay.metrics.hit_rate:HitRate",
    "nDCG": "perennial.replay.metrics.ndcg:NDCG",
    "PSP": "perennial.replay.metrics.psp:PSP",
    "PSPn": "perennial.replay.metrics.psp:PSPn",
    "AUC": "perennial.replay.metrics.auc:AUC",
    "AUCu": "perennial.replay.metrics.auc:AUCu",
}
"""Name in reports -> class that is the `Metric`."""


def make_metric(name: str) -> Metric:
    """Build a metric at its usual cut-offs.

    Raises:
        UserError: unknown metric.
    """
    if name not in METRICS:
        raise UserError(f"unknown metric '{name}'; choose from {', '.join(METRICS)}")
    return cast(Metric, pkgutil.resolve_name(METRICS[name])())


def default_metrics() -> tuple[Metric, ...]:
    """All registered metrics, in the order of reports."""
    return tuple(make_metric(name) for name in METRICS)
