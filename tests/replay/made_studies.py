"""What must be so of a study's store, however it came about."""

from pathlib import Path

from perennial.storage.results.cells import read_cells, read_evaluated_users, read_user_figures
from perennial.storage.store import Store


def assert_counted_once(path: Path, num_cells: int, num_models: int) -> None:
    """Every cell is there, once, with the models that are kept, and nothing beside the store.

    Args:
        path: of the store.
        num_cells: in it, those of all its runs.
        num_models: chains whose fits follow on one another; each keeps its newest.
    """
    with Store.open(path) as store:
        ((cells, keys),) = store.rows("SELECT count(*), count(DISTINCT cell_key) FROM cells")
        assert cells == keys == num_cells
        ((twice,),) = store.rows(
            "SELECT count(*) FROM (SELECT cell_key, ordinal FROM figures"
            " GROUP BY ALL HAVING count(*) > 1)"
        )
        assert twice == 0
        kept = {name for (name,) in store.rows("SELECT file FROM model_files")}
        assert kept == {one.name for one in store.models_folder.iterdir()}
        assert len(kept) == num_models, "of the newest fit of each chain that follows"
    assert not path.with_name(path.name + ".study").exists()


def figures_of(store: Store, run_id: int) -> dict:
    """All of a run that must be the same wherever it was made, by strategy and periods."""
    judged, by_user = read_evaluated_users(store, run_id), read_user_figures(store, run_id)
    return {
        (cell.strategy, cell.fit_period, cell.eval_period): (
            cell.key,
            [(one.metric, one.k, one.value, one.num_users) for one in cell.figures],
            judged[cell.evaluation_key].users.tolist(),
            [one.values.tolist() for one in by_user[cell.key]],
            {key: value for key, value in cell.fit_report.items() if key != "seconds"},
        )
        for cell in read_cells(store, run_id)
    }
