"""Keys of cells, their requests, and the cells of a study's options."""

from dataclasses import replace

import pytest
from paper_toys import make_context

from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.base import StudyOptions, suited
from perennial.replay.study.paper.cells import StudyCell, TrainingSet

SAMPLED = TrainingSet("user-rns", 50)
CELL = StudyCell(
    TrainingSet("distill-cf", 50, {"num_steps": 5}), ModelChoice("mvae", {"latent": 4}), 1
)


@pytest.fixture
def context(tmp_path):
    return make_context(tmp_path / "split.parquet", tmp_path)


def test_paths_are_in_no_key(context, tmp_path):
    elsewhere = make_context(tmp_path / "other.parquet", tmp_path / "other")
    assert elsewhere.cell_key(CELL) == context.cell_key(CELL)
    assert elsewhere.rows_key(CELL.rows, 1) == context.rows_key(CELL.rows, 1)


def test_everything_else_is_in_the_key(context):
    cells = [
        CELL,
        replace(CELL, seed=2),
        replace(CELL, model=ModelChoice("mvae", {"latent": 5})),
        replace(CELL, model=ModelChoice("infinite-ae")),
        replace(CELL, rows=replace(CELL.rows, users=51)),
        replace(CELL, rows=replace(CELL.rows, settings={"num_steps": 6})),
        replace(CELL, rows=SAMPLED),
        replace(CELL, rows=TrainingSet()),
    ]
    contexts = [
        context,
        replace(context, content="1" * 64),
        replace(context, keep_repeats=True),
        replace(context, versions={"code": "newer"}),
    ]
    keys = [one.cell_key(cell) for one in contexts for cell in cells]
    assert len(set(keys)) == len(keys)


def test_default_settings_and_evaluations_do_not_change_keys(context):
    other = replace(context, keep_repeats=True)
    assert context.rows_key(CELL.rows, 1) == other.rows_key(CELL.rows, 1)
    plain = StudyCell(SAMPLED, ModelChoice("mvae"), 0)
    named = replace(plain, model=ModelChoice("mvae", {"latent": 200}))
    assert context.cell_key(plain) == context.cell_key(named)


def test_few_rows_have_their_own_grid():
    assert min(suited(ModelChoice("infinite-ae"), SAMPLED).settings["regs"]) < 1.0
    assert suited(ModelChoice("infinite-ae"), TrainingSet()).settings == {}
    assert suited(ModelChoice("mvae"), SAMPLED).settings == {}
    for given in ({"regs": (3.0,)}, {"reg": 2.0}):
        assert suited(ModelChoice("infinite-ae", given), SAMPLED).settings == given


def test_cells_of_options():
    options = StudyOptions(
        models=(ModelChoice("mvae"), ModelChoice("infinite-ae")),
        samplers=("distill-cf", "user-rns"),
        users=(25, 50),
        seeds=(0, 1),
        distillation={"num_steps": 3},
    )
    cells = options.cross((TrainingSet(), *options.few()))
    assert len({cell.name for cell in cells}) == len(cells) == 2 * 5 * 2
    settings = {cell.rows.sampler: cell.rows.settings for cell in cells}
    assert settings == {"all-users": {}, "distill-cf": {"num_steps": 3}, "user-rns": {}}
