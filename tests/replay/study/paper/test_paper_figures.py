import pytest
from paper_toys import make_record, make_results

from perennial.replay.study.paper.paper_figures import (
    PAPER,
    SHOWN,
    difference_percent,
    published_figure,
)
from perennial.replay.study.paper.registry import find_study


def test_both_data_sets_have_every_row_of_the_table():
    rows = {"pop", "bias", "mf", "neumf", "lightgcn", "ease", "mvae", "infinite-ae", "distill-cf"}
    for table in PAPER.values():
        assert set(table) == rows
        for row in table.values():
            assert list(row) == [("HR", 10), ("nDCG", 10), ("nDCG", 100), ("PSP", 10)]


def test_figures_of_the_paper():
    assert published_figure("ml-1m", "infinite-ae", ("nDCG", 100)) == 42.53
    assert published_figure("amazon-magazine", "distill-cf", ("PSP", 10)) == 13.76
    assert published_figure("ml-1m", "ease", ("AUC", None)) is None
    assert published_figure("ml-1m", "popularity", ("HR", 10)) is None
    assert published_figure(None, "ease", ("HR", 10)) is None


def test_differences_in_the_table_checked_by_hand():
    assert difference_percent(30.0, 25.0) == pytest.approx(20.0)
    assert difference_percent(20.0, 25.0) == pytest.approx(-20.0)
    records = [make_record(model="mvae", seed=seed, HR=22.70) for seed in (0, 1)] + [
        make_record("distill-cf", 500, "infinite-ae", HR=31.16)
    ]
    results = make_results("table1", find_study("table1"), records)
    lines = {(one["model"], one["metric"], one["k"]): one for one in results.rows()}
    assert set(SHOWN) == {(metric, k) for _, metric, k in lines}
    mvae = lines["mvae", "HR", 10]
    # (22.70 + 23.70) / 2 = 23.20, and 23.20 / 21.70 = 1.069124.
    assert (mvae["mean"], mvae["published"]) == (pytest.approx(23.20), 21.70)
    assert mvae["difference_percent"] == pytest.approx(6.9124, abs=1e-4)
    # The standard deviation of two values one apart is √½; over √2 that is a half.
    assert (mvae["stderr"], mvae["user_stderr"]) == (pytest.approx(0.5), pytest.approx(0.25))
    assert lines["infinite-ae", "HR", 10]["difference_percent"] == pytest.approx(0.0)
    assert lines["infinite-ae", "HR", 10]["stderr"] is None
    assert lines["mvae", "AUC", None]["published"] is None


def test_other_data_sets_and_numbers_of_users_have_no_published_figures():
    study = find_study("table1")
    results = make_results("table1", study, [make_record()], paper=None)
    assert not results.has_published
    assert {one["published"] for one in results.rows()} == {None}
    assert results.to_table().schema.field("published").type == "double"
    records = [make_record("distill-cf", 200, "infinite-ae"), make_record("user-rns", 500)]
    assert not make_results("table1", study, records).has_published
