"""The paper's Figure 1: ∞-AE against the number of users that it is fitted on, by sampler."""

from perennial.replay.study.paper.base import PaperStudy
from perennial.replay.study.paper.studies.few_rows import BY_USERS, cells, tell

STUDY = PaperStudy(
    title="Sample efficiency",
    about="∞-AE is fitted on a few rows that each sampler keeps or makes of train, and on all users"
    " beside it. How many rows does it take to be as good?",
    cells=cells,
    tell=tell,
    axis=BY_USERS,
)
