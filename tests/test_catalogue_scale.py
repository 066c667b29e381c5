"""A small sample of the benchmark of large catalogues."""

import numpy as np
import pytest

from benchmarks.catalogue_scale import main, make_period, measure, parse


def test_a_period_is_seeded_and_nearly_all_items_occur():
    one, other = (make_period(300, 1000, 12, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.rows.interactions.indices, other.rows.interactions.indices)
    assert not one.rows.interactions.multiply(one.targets).nnz
    assert np.diff(one.targets.indptr).max() == 1
    met = one.rows.interactions + one.targets
    assert len(np.unique(met.indices)) > 900
    counts = np.sort(np.bincount(met.indices, minlength=1000))
    assert counts[-50:].sum() > 3 * counts[:500].sum() / 2


def test_one_size_is_measured_and_recommended_from():
    options = ["--users", "120", "--per-user", "8", "--synthetic", "8", "--steps", "2"]
    found = measure(300, parse([*options, "--asked", "40"]))
    assert found["synthetic"] == 8
    assert found["users_used"] <= 120
    assert found["step"] > 0
    assert found["products"] > 0
    assert 0 <= found["hit_rate"] <= 100


def test_the_command_shows_its_tables_and_what_mvae_says(monkeypatch, tmp_path, capsys):
    found = dict.fromkeys(
        (
            *("seconds", "start", "step", "products", "recommending", "peak", "interactions"),
            *("items_met", "users_used", "synthetic", "steps", "best_step", "validation"),
            *("hit_rate", "popular", "processor"),
        ),
        2.0,
    )
    monkeypatch.setattr("benchmarks.catalogue_scale.run_child", lambda *_: found)
    plot, results = tmp_path / "plot.png", tmp_path / "results.json"
    main(["--items", "2000000", "--results", str(results)])
    capsys.readouterr()
    main(["--items", "1000", "--results", str(results), "--plot", str(plot)])
    printed = capsys.readouterr().out
    assert "2,000,000" in printed
    assert "1,000" in printed
    assert "mvae needs" in printed
    with pytest.raises(SystemExit):
        main(["--items", "1000", "--steps", "7", "--results", str(results)])
    assert plot.read_bytes().startswith(b"\x89PNG")
