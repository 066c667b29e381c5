"""A key is equal where all that a cell follows from is, and nowhere else."""

import dataclasses

import pytest
from paper_toys import make_context

from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.base import StudyOptions, suited
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.worker import PaperRequest
from perennial.storage.errors import UserError

CELL = StudyCell(
    TrainingSet("distill-cf", 50, {"num_steps": 5}), ModelChoice("mvae", {"latent": 4}), 1
)


@pytest.fixture
def context(tmp_path):
    return make_context(tmp_path / "split.parquet", tmp_path)


def test_where_things_lie_is_not_in_a_key(context, tmp_path):
    elsewhere = make_context(tmp_path / "other.parquet", tmp_path / "other")
    assert elsewhere.cell_key(CELL) == context.cell_key(CELL)
    assert elsewhere.rows_key(CELL.rows, 1) == context.rows_key(CELL.rows, 1)


def test_everything_else_is(context):
    change = dataclasses.replace
    cells = [
        CELL,
        change(CELL, seed=2),
        change(CELL, model=ModelChoice("mvae", {"latent": 5})),
        change(CELL, model=ModelChoice("infinite-ae")),
        change(CELL, rows=change(CELL.rows, users=51)),
        change(CELL, rows=change(CELL.rows, settings={"num_steps": 6})),
        change(CELL, rows=TrainingSet("user-rns", 50)),
        change(CELL, rows=TrainingSet()),
    ]
    contexts = [
        context,
        change(context, content="1" * 64),
        change(context, keep_repeats=True),
        change(context, versions={"code": "newer"}),
    ]
    keys = [one.cell_key(cell) for one in contexts for cell in cells]
    assert len(set(keys)) == len(keys)


def test_settings_that_are_the_defaults_change_nothing(context):
    plain = StudyCell(TrainingSet("user-rns", 50), ModelChoice("mvae"), 0)
    named = dataclasses.replace(plain, model=ModelChoice("mvae", {"latent": 200}))
    assert context.cell_key(plain) == context.cell_key(named)


def test_rows_are_the_same_whatever_model_and_questions(context):
    other = dataclasses.replace(context, keep_repeats=True)
    assert context.rows_key(CELL.rows, 1) == other.rows_key(CELL.rows, 1)


def test_a_request_survives_its_line(context):
    request = PaperRequest(context, CELL.rows, CELL.seed, CELL.model)
    assert PaperRequest.from_line(request.to_line()) == request
    assert "\n" not in request.to_line()


def test_a_setting_that_distillation_has_not_is_refused():
    with pytest.raises(UserError, match="sampler 'distill-cf' has no setting 'nonsense'"):
        TrainingSet("distill-cf", 50, {"nonsense": 1}).distillation()


class TestAsked:
    def test_few_rows_get_a_grid_of_their_own(self):
        few = suited(ModelChoice("infinite-ae"), TrainingSet("user-rns", 50))
        assert min(few.settings["regs"]) < 1.0
        assert suited(ModelChoice("infinite-ae"), TrainingSet()).settings == {}
        for given in ({"regs": (3.0,)}, {"reg": 2.0}):
            assert (
                suited(ModelChoice("infinite-ae", given), TrainingSet("user-rns", 50)).settings
                == given
            )
        assert suited(ModelChoice("mvae"), TrainingSet("user-rns", 50)).settings == {}

    def test_cells_are_all_that_was_asked_for(self):
        asked = StudyOptions(
            models=(ModelChoice("mvae"), ModelChoice("infinite-ae")),
            samplers=("distill-cf", "user-rns"),
            users=(25, 50),
            seeds=(0, 1),
            distillation={"num_steps": 3},
        )
        cells = asked.cross((*asked.whole(), *asked.few()))
        assert len({cell.name for cell in cells}) == len(cells) == 2 * 5 * 2
        settings = {cell.rows.sampler: cell.rows.settings for cell in cells}
        assert settings == {"all-users": {}, "distill-cf": {"num_steps": 3}, "user-rns": {}}
