"""Replays of toys, and the results that must not depend on how a run came about."""

import dataclasses
import shutil

import pytest
from toys import register_toys

from perennial.replay.analysis.run import load_run
from perennial.replay.analysis.summary import summarise
from perennial.replay.events import CellFinished
from perennial.replay.loop import run_replay
from perennial.storage.store import Store


def replay(store, config, **options):
    """Replay; return the run's number and the names of the cells that were made."""
    made = []

    def listen(event):
        if isinstance(event, CellFinished) and event.cell is not None:
            made.append(dataclasses.astuple(event.name))

    return run_replay(store, config, listener=listen, **options), made


def numbers(store, run_id):
    """Results that must not depend on how a run came about."""
    data = load_run(store, run_id)
    summary = summarise(data, num_resamples=20).to_json()
    users = {
        (cell.strategy, cell.model, cell.seed, cell.fit_period, one.metric, one.k): (
            data.evaluated_users[cell.evaluation_key].users.tolist(),
            one.values.tolist(),
            None if one.weights is None else one.weights.tolist(),
        )
        for cell in data.cells
        for one in data.user_figures[cell.key]
    }
    return summary["results"], summary["means"], users


def undisturbed(toy_store_file, path, config, read):
    """Read the results of a replay in a copy of the toy store."""
    shutil.copy(toy_store_file, path)
    with pytest.MonkeyPatch.context() as patch, Store.open(path) as store:
        register_toys(patch)
        return read(store, replay(store, config)[0])


def split_last_day(toy_log, folder):
    """Write the toy log as two files: the first four days, and the last."""
    lines = toy_log.read_text().splitlines()
    midnight = 1_000_000_000 + 4 * 86_400
    late = [line for line in lines[1:] if int(line.split(",")[2]) >= midnight]
    early, last = folder / "early.csv", folder / "last.csv"
    early.write_text("\n".join(line for line in lines if line not in late) + "\n")
    last.write_text("\n".join([lines[0], *late]) + "\n")
    return early, last
