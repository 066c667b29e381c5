"""The audit compares with the users in the log, and makes a summary as the stored one was."""

import io

import pytest
from live_chains import CHAINS
from rich.console import Console
from toys import distill, register_plugins

from perennial.memory.distill.reservoir import extend_summary
from perennial.replay.cli.tables import print_audit
from perennial.replay.live.ingest import bring_up_to_date
from perennial.replay.live.setup import configure_live
from perennial.replay.privacy_audit import audit_summary
from perennial.storage.errors import UserError
from perennial.storage.log.rewrite import drop_events
from perennial.storage.results.summaries import list_summaries


@pytest.fixture
def summarised(store, request, monkeypatch):
    """A live store of one of the chains, brought up to date."""
    register_plugins(monkeypatch)
    monkeypatch.setattr("perennial.memory.distill_memory.distill", distill)
    configure_live(store, CHAINS[request.param])
    list(bring_up_to_date(store, None))
    return store


@pytest.fixture
def distilled(monkeypatch):
    """Make the audit's own summaries quickly; the rows that each was made of."""
    rows = []

    def record(given, settings, seed, listener):
        rows.append(given)
        return distill(given, settings, seed)

    def extend(before, given, *others):
        rows.append(given)
        return extend_summary(before, given, *others)

    monkeypatch.setattr("perennial.replay.privacy_audit.distill", record)
    monkeypatch.setattr("perennial.replay.privacy_audit.extend_summary", extend)
    return rows


@pytest.mark.parametrize(
    ("summarised", "dropped", "steps"),
    [("rolling", 0, 4), ("rolling", 2, 2), ("rolling", 3, 1), ("whole", 0, 1), ("whole", 2, 1)],
    indirect=["summarised"],
)
def test_it_says_whom_it_compared_with(summarised, distilled, dropped, steps):
    record = list_summaries(summarised)[-1]
    assert (record.first_period, record.period) == (1, 4)
    if dropped:
        drop_events(summarised, dropped)
    audit = audit_summary(summarised, record, 0, lambda *_: None)
    ((held,),) = summarised.rows(
        """SELECT count(DISTINCT user_index) FROM interactions WHERE rowid < (
            SELECT first_row FROM periods WHERE period = 5)"""
    )
    assert audit.first_compared == dropped + 1
    assert audit.users == audit.users_given == held
    assert len(distilled) == steps
    screen = io.StringIO()
    print_audit(audit, Console(file=screen, width=1000))
    assert ("is dropped: the other users" in screen.getvalue()) == bool(dropped)
    assert ("period by period" in screen.getvalue()) == audit.is_rolling
    assert audit.is_rolling == ("rolling" in summarised.rows("SELECT config FROM live")[0][0])
    assert audit.to_json()["first_compared_period"] == dropped + 1


@pytest.mark.parametrize("summarised", ["rolling"], indirect=True)
def test_it_refuses_where_nobody_is_left(summarised, distilled):
    record = list_summaries(summarised)[-1]
    drop_events(summarised, 4)
    with pytest.raises(UserError, match=r"the log of periods 1–4 is dropped"):
        audit_summary(summarised, record, 0, lambda *_: None)
    assert distilled == []
