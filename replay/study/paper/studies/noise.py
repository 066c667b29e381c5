"""The paper's Figures 3 and 4: models on rows that were kept or made of a noisy log."""

from collections.abc import Sequence
from dataclasses import replace

from perennial.replay.study.paper.base import Axis, PaperStudy, StudyOptions
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.groups import HEADLINE, Group


def cells(options: StudyOptions) -> tuple[StudyCell, ...]:
    """Return every model on all users and on the rows of every sampler, at each noise."""
    rows = (TrainingSet(), *options.few())
    return options.cross([replace(one, noise=noise) for one in rows for noise in options.noises])


def describe(groups: Sequence[Group]) -> list[str]:
    """Give the change by the highest noise for each model on each kind of rows."""
    most = max((group.noise for group in groups), default=0.0)
    sentences = []
    for model in dict.fromkeys(group.model for group in groups):
        parts = []
        for name in dict.fromkeys(group.rows_name for group in groups if group.model == model):
            mine = {
                group.noise: group.mean(HEADLINE)
                for group in groups
                if (group.model, group.rows_name) == (model, name)
            }
            clean, noisy = mine.get(0.0), mine.get(most)
            if most and clean and noisy is not None:
                change = f"{100 * (noisy / clean - 1):+.1f}%".replace("-", "−")
                parts.append(f"{change} on {name}")
        if parts:
            sentences.append(f"{most:g}% noise changes the HR@10 of {model} by {', '.join(parts)}.")
    return sentences


STUDY = PaperStudy(
    title="Noise",
    about="A part of the users' interactions is replaced by random ones, in train alone. Rows are"
    " sampled or distilled from that, and models fitted and validated on it; the test and its"
    " contexts are clean.",
    cells=cells,
    describe=describe,
    axis=Axis(
        label="noise (%)",
        place=lambda group: group.noise,
        line=lambda group: group.rows_name,
        name=lambda percent: f"{percent:g}%",
    ),
)
