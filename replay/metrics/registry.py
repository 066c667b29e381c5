"""The metrics by name. A new metric is one file and one line here."""

import pkgutil
from collections.abc import Mapping
from typing import cast

from replay.metrics.protocol import Metric
from storage.errors import UserError

METRICS: Mapping[str, str] = {
    "HR": "replay.metrics.hit_rate:HitRate",
    "nDCG": "replay.metrics.ndcg:NDCG",
    "PSP": "replay.metrics.psp:PSP",
    "PSPn": "replay.metrics.pspn:PSPn",
    "AUC": "replay.metrics.auc:AUC",
    "AUCu": "replay.metrics.aucu:AUCu",
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
