"""Reports of studies with random figures, for the tests of their pages."""

import dataclasses
from datetime import datetime

import numpy as np
from made_runs import RUN, make_run

from perennial.replay.analysis.transfer import TransferMatrix
from perennial.replay.study.continual_report import TRANSFER, StudyReport
from perennial.storage.log.periods import PeriodSummary

STRATEGIES = ("individual", "joint", "ader", "distill-cf", "user-rns")
MODELS = ("infinite-ae", "mvae")
METRICS = (("HR", 10), ("nDCG", 10), ("HR", 100), ("PSP", 10), ("AUC", None))


def make_report(
    strategies=STRATEGIES,
    models=MODELS,
    num_periods=4,
    confirm_from=None,
    transfer=True,
    source="ml",
):
    """Make a report with two seeds; figures grow with the strategy's place and the period."""
    generator = np.random.default_rng(0)
    values = {}
    for place, strategy in enumerate(strategies):
        for model in models:
            for seed in (0, 1):
                for period in range(2, num_periods + 1):
                    level = 20.0 + 2 * place + period / 2
                    values[strategy, model, seed, period] = {
                        one: (level + generator.normal(0, 3, 12)) / (1 if one[1] else 100)
                        for one in METRICS
                    }
    config = {
        "source": source,
        "cut": "equal-count",
        "seeds": [0, 1],
        "strategies": list(strategies),
        "periods": num_periods,
        "models": [{"name": name, "settings": {"reg": 5.0}} for name in models],
        "held_out": None,
    }
    run = dataclasses.replace(RUN, config=config, versions={"perennial": "0.1.0", "jax": "0"})
    data = make_run(values, dataclasses.replace(run, started=datetime(2025, 1, 1, 2, 3)))
    periods = tuple(
        PeriodSummary(n, "ml.csv", 10**15 * n, 10**15 * n + 1, True, *[50] * 5, "", 50)
        for n in range(1, num_periods + 1)
    )
    cells = tuple(
        dataclasses.replace(
            cell, fit_report={"kept_rows": 500, "kept_interactions": 9000, "kept_model_bytes": 7}
        )
        for cell in data.cells
    )
    data = dataclasses.replace(data, periods=periods, cells=cells)
    matrices = make_matrices(strategies, models, num_periods, generator) if transfer else ()
    return StudyReport.of(data, matrices, confirm_from, num_resamples=20)


def make_matrices(strategies, models, num_periods, generator):
    """Make R that falls with the distance from the fit; the last period has no users."""
    fits, periods = np.arange(1, num_periods)[:, None], np.arange(1, num_periods + 1)[None, :]
    matrices = []
    for model in models:
        for place, strategy in enumerate(strategies):
            for metric, k in TRANSFER:
                noise = generator.normal(0, 1, periods.shape)
                values = 60.0 + place - 2 * np.abs(fits - periods) + noise
                values[:, -1] = np.nan
                chance = np.full(num_periods, 3.0)
                chance[0] = np.nan
                matrices.append(TransferMatrix(strategy, model, metric, k, values, chance))
    return tuple(matrices)
