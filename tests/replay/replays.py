"""Replays of toys, and the results that must not depend on how a run came about."""

import dataclasses
import shutil

import pytest
from toys import register_toys

from perennial.replay.events import CellFinished
from perennial.replay.loop import run_replay
from perennial.storage.results.cells import read_cells, read_evaluated_users, read_user_figures
from perennial.storage.store import Store


def replay(store, config, **options):
    """Replay; return the run's number and the names of the cells that were made."""
    made = []

    def listen(event):
        if isinstance(event, CellFinished) and event.cell is not None:
            made.append(dataclasses.astuple(event.name))

    return run_replay(store, config, listener=listen, **options), made


def figures_of(store, run_id):
    """Read all of a run that must not depend on how it came about, by cell."""
    evaluated, by_user = read_evaluated_users(store, run_id), read_user_figures(store, run_id)
    return {
        (cell.strategy, cell.model, cell.seed, cell.fit_period, cell.eval_period): (
            cell.key,
            [(one.metric, one.k, one.value, one.num_users) for one in cell.figures],
            evaluated[cell.evaluation_key].users.tolist(),
            [(one.values.tolist(), repr(one.weights)) for one in by_user[cell.key]],
            {key: value for key, value in cell.fit_report.items() if key != "seconds"},
        )
        for cell in read_cells(store, run_id)
    }


def undisturbed(toy_store_file, path, config):
    """Read the figures of a replay in a copy of the toy store."""
    shutil.copy(toy_store_file, path)
    with pytest.MonkeyPatch.context() as patch, Store.open(path) as store:
        register_toys(patch)
        return figures_of(store, replay(store, config)[0])


def split_last_day(toy_log, folder):
    """Write the toy log as two files: the first four days, and the last."""
    lines = toy_log.read_text().splitlines()
    midnight = 1_000_000_000 + 4 * 86_400
    late = [line for line in lines[1:] if int(line.split(",")[2]) >= midnight]
    early, last = folder / "early.csv", folder / "last.csv"
    early.write_text("\n".join(line for line in lines if line not in late) + "\n")
    last.write_text("\n".join([lines[0], *late]) + "\n")
    return early, last
