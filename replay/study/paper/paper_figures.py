"""Published figures: the paper's Table 1, and the authors' code on the same split."""

from collections.abc import Mapping

Figure = tuple[str, int | None]
"""A metric and its cut-off."""

SHOWN: tuple[Figure, ...] = (
    ("HR", 10),
    ("HR", 100),
    ("nDCG", 10),
    ("nDCG", 100),
    ("PSP", 10),
    ("AUC", None),
)
"""The figures of the paper's tables."""

DISTILLED = "distill-cf"
"""∞-AE on the 500 synthetic users of DISTILL-CF, among the rows of the table."""

_GIVEN: tuple[Figure, ...] = (("HR", 10), ("nDCG", 10), ("nDCG", 100), ("PSP", 10))


def _rows(rows: Mapping[str, tuple[float, ...]]) -> dict[str, dict[Figure, float]]:
    return {name: dict(zip(_GIVEN, row, strict=True)) for name, row in rows.items()}


PAPER: Mapping[str, Mapping[str, Mapping[Figure, float]]] = {
    "ml-1m": _rows(
        {
            "pop": (13.07, 13.84, 19.49, 1.10),
            "bias": (12.93, 13.74, 19.13, 1.07),
            "mf": (24.63, 25.65, 35.62, 2.41),
            "neumf": (23.25, 24.44, 33.93, 2.26),
            "lightgcn": (27.43, 28.85, 38.29, 2.72),
            "ease": (28.54, 29.88, 40.16, 3.06),
            "mvae": (21.70, 22.14, 33.82, 2.42),
            "infinite-ae": (31.51, 32.82, 42.53, 3.22),
            DISTILLED: (31.16, 32.52, 41.29, 3.15),
        }
    ),
    "amazon-magazine": _rows(
        {
            "pop": (14.35, 8.42, 19.38, 6.85),
            "bias": (14.36, 8.33, 19.31, 6.73),
            "mf": (18.36, 13.10, 21.76, 9.24),
            "neumf": (18.35, 13.60, 21.13, 9.00),
            "lightgcn": (27.12, 22.57, 29.92, 13.20),
            "ease": (26.31, 22.84, 28.27, 12.96),
            "mvae": (17.94, 12.18, 19.46, 8.81),
            "infinite-ae": (27.09, 23.06, 30.75, 13.22),
            DISTILLED: (28.27, 23.81, 31.75, 13.76),
        }
    ),
}
"""Data set -> row of Table 1 (arXiv 2206.02626) -> its figures, in per cent."""


def published_figure(paper: str | None, row: str, figure: Figure) -> float | None:
    """Return the paper's figure for a row of its table, a model or `distill-cf`; `None` without."""
    if paper is None:
        return None
    return PAPER[paper].get(row, {}).get(figure)


def difference_percent(ours: float, published: float) -> float:
    """Return our figure less the published one, in per cent of that."""
    return 100.0 * (ours / published - 1.0)
