import numpy as np
import pyarrow.parquet as pq
import pytest

from perennial.models.base import FitOptions, TrainingRows
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.replay.evaluate import evaluate
from perennial.replay.metrics.registry import make_metric
from perennial.storage.errors import UserError
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.history import History
from perennial.stream.loading import ingest_files
from perennial.stream.next_period import ProtocolSettings, build_evaluation
from perennial.stream.sources.base import LogFiles
from perennial.stream.sources.registry import SOURCES, open_source
from perennial.stream.sources.synthetic import write
from perennial.stream.sources.synthetic_generator import SyntheticSettings, generate

STILL = {"season_strength": 0.0, "drift": 0.0, "old_items": 1.0, "lasting_items": 1.0}
SMALL = SyntheticSettings(num_users=120, num_items=90, first_visit=15.0, later_visit=8.0)


@pytest.fixture(scope="module")
def log():
    return generate(SyntheticSettings(), seed=0)


@pytest.fixture(scope="module")
def periods(log):
    boundaries = make_cut("equal-count")(log.times)
    return 1 + np.searchsorted(boundaries, log.times, side="right")


def same(one, other):
    return all(map(np.array_equal, vars(one).values(), vars(other).values()))


def test_a_seed_is_a_log():
    assert same(generate(SMALL, 3), generate(SMALL, 3))
    assert not same(generate(SMALL, 3), generate(SMALL, 4))


def test_the_size_is_as_described(log):
    assert SOURCES.load("synthetic").info.size.startswith(
        f"{len(log.times):,} rows, 2,000 users, 1,000 items"
    )
    assert set(log.users.tolist()) == set(range(1, 2001))
    assert set(log.items.tolist()) == set(range(1, 1001))


def test_it_is_a_stream_of_distinct_events(log):
    assert np.all(np.diff(log.times) >= 0)
    assert len(set(zip(log.users.tolist(), log.items.tolist(), strict=True))) == len(log.times)
    by_user = np.lexsort((log.times, log.users))
    same_user = np.diff(log.users[by_user]) == 0
    assert np.all(np.diff(log.times[by_user])[same_user] > 0), "a user does one thing at a time"


def test_popularity_is_far_from_even(log):
    counts = np.sort(np.bincount(log.items)[1:])[::-1]
    assert 0.3 < counts[:100].sum() / counts.sum() < 0.5


def test_users_come_back_but_not_all(log, periods):
    shares = []
    for period in range(2, 18):
        now, before = np.unique(log.users[periods == period]), log.users[periods < period]
        shares.append(np.isin(now, before).mean())
    # Nobody can return in the beginning; from the fourth period on there are enough who may.
    assert min(shares) > 0.1
    assert all(0.2 < share < 0.65 for share in shares[2:])


def test_users_act_in_bursts(log):
    by_user = np.lexsort((log.times, log.users))
    same_user = np.diff(log.users[by_user]) == 0
    gaps = np.diff(log.times[by_user])[same_user]
    assert np.quantile(gaps, 0.9) < 3600
    assert 0.01 < np.mean(gaps > 86_400) < 0.1


def test_items_arrive_and_leave_throughout(log, periods):
    by_item = np.argsort(log.items, kind="stable")
    splits = np.searchsorted(log.items[by_item], np.arange(1, 1001))
    first = np.minimum.reduceat(periods[by_item], splits)
    last = np.maximum.reduceat(periods[by_item], splits)
    assert np.all(np.bincount(first, minlength=18)[2:16] >= 1)
    assert 100 < np.sum(first > 3) < 300
    assert 100 < np.sum(last < 15) < 300


def likeness(**changes):
    """Correlations between tenths of the span of how large a share of its events an item has."""
    log = generate(SyntheticSettings(**(STILL | changes)), 0)
    tenth = (log.times - log.times[0]) * 10 // (log.times[-1] - log.times[0] + 1)
    counts = np.array(
        [np.bincount(log.items[tenth == part], minlength=1001)[1:] for part in range(10)]
    )
    known = counts.sum(axis=0) > 100
    shares = counts[:, known] / counts[:, known].sum(axis=0)
    return np.corrcoef(shares)


def test_tastes_come_back():
    alike = likeness(season_strength=4.0, season_spread=0.0, season_length=(0.4, 0.4))
    # Half a season apart tastes differ, a whole season apart they are the same again.
    assert alike[2, 4] < 0.0
    assert alike[2, 6] > 0.5


def test_tastes_drift():
    def fading(drift):
        """Return by how much neighbouring tenths are more alike than distant ones."""
        alike = likeness(drift=drift)
        return alike[0, 1] + alike[8, 9] - alike[0, 9] - alike[1, 8]

    assert fading(2.0) > 0.4
    assert abs(fading(0.0)) < 0.15


def test_the_file_is_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        write(generate(SMALL, 7), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert pq.read_schema(tmp_path / "a").names == ["user_id", "item_id", "timestamp"]


def test_it_is_generated_once(tmp_path):
    calls = []
    first, again = (
        open_source("synthetic", cache=tmp_path, progress=lambda *call: calls.append(call[0]))
        for _ in range(2)
    )
    assert first == again
    assert calls == ["generating the synthetic stream"]
    assert first.paths[0].is_relative_to(tmp_path)
    assert pq.read_metadata(first.paths[0]).num_rows == 121_712


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        open_source("synthetic", cache=tmp_path / "file")


@pytest.mark.slow
def test_forgetting_costs_something_on_users_who_return(tmp_path):
    """∞-AE on everything so far beats ∞-AE on the newest period, over five seeds."""
    metrics = (make_metric("HR"), make_metric("nDCG"))
    names = [(metric.name, k) for metric in metrics for k in metric.cutoffs]
    gains = np.zeros((5, len(names)))
    for seed in range(5):
        path = tmp_path / f"{seed}.parquet"
        write(generate(SyntheticSettings(), seed), path)
        with Store.open(":memory:") as store:
            ingest_files(store, LogFiles("log", (path,), IngestSettings()), make_cut("equal-count"))
            for period in (5, 10, 15):
                asked = build_evaluation(store, period, ProtocolSettings("returning"), seed)
                for first, sign in ((1, 1.0), (period, -1.0)):
                    rows = TrainingRows.of_users(History(store, period).rows(first))
                    model = InfiniteAE(regs=(1.0, 5.0, 20.0)).fit(rows, FitOptions(seed=seed))
                    results = evaluate(model, asked, metrics)
                    gains[seed] += [sign * result.values.values.mean() / 3 for result in results]
    # No better λ lies outside this grid: validation takes 1 or 5 of the whole one.
    errors = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
    for name, gain, error in zip(names, gains.mean(axis=0), errors, strict=True):
        assert gain > 2 * error, f"{name}: {gain:.2f} ± {error:.2f}"
