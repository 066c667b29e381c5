"""The paper's Figure 2: other models on the synthetic users that were learnt with ∞-AE."""

from perennial.replay.study.paper.base import PaperStudy
from perennial.replay.study.paper.studies.sample_efficiency import BY_USERS, cells, describe

STUDY = PaperStudy(
    title="Transfer to other models",
    about="Synthetic users are learnt with ∞-AE. Here other models are fitted on them, and on the"
    " users that each sampler keeps: the rows of the study of sample efficiency.",
    cells=cells,
    describe=describe,
    axis=BY_USERS,
)
