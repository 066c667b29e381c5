"""The paper's Figure 1: ∞-AE against the number of users that it is fitted on, by sampler."""

from replay.study.paper.few_rows import BY_USERS, cells, tell
from replay.study.paper.protocol import PaperStudy

STUDY = PaperStudy(
    title="Sample efficiency",
    about="∞-AE is fitted on a few rows that each sampler keeps or makes of train, and on all users"
    " beside it. How many rows does it take to be as good?",
    cells=cells,
    tell=tell,
    axis=BY_USERS,
)
