"""The paper's Figure 2: models that were not distilled for, on the rows that were."""

from perennial.replay.study.paper.base import PaperStudy
from perennial.replay.study.paper.studies.few_rows import BY_USERS, cells, tell

STUDY = PaperStudy(
    title="Transfer to other models",
    about="Synthetic users are learnt with ∞-AE. Here other models are fitted on them, and on the"
    " users that each sampler keeps: the rows of the study of sample efficiency.",
    cells=cells,
    tell=tell,
    axis=BY_USERS,
)
