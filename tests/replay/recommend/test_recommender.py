"""Recommendations of the published model, and their reasons."""

import dataclasses
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_store import make_live, publish_period, write_period
from scipy.sparse import csr_array

from perennial.models.infinite_ae.explanations import Explanation
from perennial.models.registry import make_recipe
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.live.setup import configure_live
from perennial.replay.live.updater import LiveUpdater
from perennial.replay.recommend.batch import read_names, recommend_to_file
from perennial.replay.recommend.catalogue import Catalogue, UnknownName
from perennial.replay.recommend.reasons import find_reasons
from perennial.replay.recommend.recommender import RecommendationQuery, Recommender
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.matrices import read_rows
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import lookup_users, read_titles
from perennial.storage.opening import open_for_reading
from perennial.storage.results.fits import read_model
from perennial.storage.results.publications import newest_publication
from perennial.storage.store import Store

USERS = [f"u{number}" for number in range(30)]
ITEMS = [f"i{number}" for number in range(24)]


def published_model(store):
    return make_recipe("infinite-ae", {"reg": 1.0}).restore(
        *read_model(store, newest_publication(store).fit_key)
    )


def load_live(store, log, model=ModelChoice("infinite-ae", {"reg": 1.0})):  # noqa: B008
    """Publish the model of a log, and load it."""
    configure_live(store, ReplayConfig(strategies=("individual",), models=(model,)))
    ingest_period(store, log)
    list(LiveUpdater(store).catch_up())
    return Recommender.load(store)


def score_user(store, model, user):
    """Scores of all items that the model can score, and the user's own items among them."""
    last = list_periods(store)[-1].period
    rows = read_rows(store, 1, last, num_items=len(ITEMS) + 4, users=lookup_users(store, [user]))
    context = csr_array(rows.interactions[:, : model.num_items])
    (scores,) = model.score_blocks(context, 1)
    return scores[0], set(context.indices.tolist())


def seen_by(recommender, user):
    row = recommender.catalogue.histories[[recommender.catalogue.user_rows[user]]]
    return {recommender.catalogue.item_ids[item] for item in row.indices.tolist()}


def recommend_users(recommender, users, k, **options):
    """Yield each user with their items and scores, from the arrays of `rank_users`."""
    catalogue = recommender.catalogue
    for block in recommender.rank_users(users, k, **options):
        for user, items, scores in zip(block.users, block.items, block.scores, strict=True):
            ranked = zip(items.tolist(), scores.tolist(), strict=True)
            yield (
                catalogue.user_ids[user],
                [(catalogue.item_ids[item], score) for item, score in ranked if item >= 0],
            )


def test_a_user_gets_the_best_unseen_items(published_file, recommender):
    names = (recommender.period, recommender.strategy, recommender.model_name)
    assert (*names, recommender.num_items) == (2, "individual", "infinite-ae", len(ITEMS))
    with open_for_reading(published_file) as store:
        scores, seen = score_user(store, published_model(store), "u3")
        titles = read_titles(store)
    unseen = sorted((scores[item] for item in range(len(scores)) if item not in seen), reverse=True)
    for k in (3, 100):
        found = recommender.recommend(RecommendationQuery(user="u3", k=k))
        items = [recommender.catalogue.item_indices[one.item] for one in found]
        assert seen.isdisjoint(items)
        assert [one.score for one in found] == [pytest.approx(scores[item]) for item in items]
        assert [one.score for one in found] == pytest.approx(unseen[:k])
        assert [one.title for one in found] == [titles.get(one.item) for one in found]


def test_a_basket_is_a_set_of_items_and_equals_a_user_with_the_same_history(recommender):
    items = tuple(seen_by(recommender, "u3"))
    of_user = recommender.recommend(RecommendationQuery(user="u3", k=9))
    assert recommender.recommend(RecommendationQuery(items=items, k=9)) == of_user
    repeated = RecommendationQuery(items=(*reversed(items), items[0]), k=9)
    assert recommender.recommend(repeated) == of_user


@given(
    who=st.sampled_from(USERS) | st.lists(st.sampled_from(ITEMS), min_size=1, max_size=8),
    exclude=st.lists(st.sampled_from([*ITEMS, "no such item"]), max_size=12),
    exclude_seen=st.booleans(),
    k=st.integers(1, 40),
)
def test_only_allowed_items_and_best_first(recommender, who, exclude, exclude_seen, k):
    about = {"user": who} if isinstance(who, str) else {"items": tuple(who)}
    query = RecommendationQuery(k=k, exclude=tuple(exclude), exclude_seen=exclude_seen, **about)
    found = recommender.recommend(query)
    seen = seen_by(recommender, who) if isinstance(who, str) else set(who)
    left = set(ITEMS) - set(exclude) - (seen if exclude_seen else set())
    items = [one.item for one in found]
    assert len(items) == len(set(items)) == min(k, len(left))
    assert set(items) <= left
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    everything = recommender.recommend(dataclasses.replace(query, k=40))
    assert everything[: len(found)] == found


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_many_users_get_what_each_gets_alone(recommender, exclude_seen):
    options = {"exclude": ("i7", "i8"), "exclude_seen": exclude_seen}
    found = list(recommend_users(recommender, USERS, 5, **options))
    assert [user for user, _ in found] == USERS
    for user, items_of_user in found:
        alone = recommender.recommend(RecommendationQuery(user=user, k=5, **options))
        assert items_of_user == [(one.item, pytest.approx(one.score, rel=1e-5)) for one in alone]


def test_a_user_that_is_loaded_alone_gets_the_same(published_file, recommender):
    query = RecommendationQuery(user="u3")
    with open_for_reading(published_file) as store:
        alone = Recommender.load(store, ["u3", "nobody"])
    assert alone.recommend(query) == recommender.recommend(query)
    with pytest.raises(UnknownName):
        alone.recommend(RecommendationQuery(user="nobody"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (RecommendationQuery(), "either a user or items"),
        (RecommendationQuery(user="u1", items=("i1",)), "either a user or items"),
        (RecommendationQuery(user="u1", k=0), "at least 1"),
        (RecommendationQuery(user="nobody"), "user 'nobody' is not in the store; check"),
        (RecommendationQuery(items=("i1", "x", "y")), "unknown items x, y: not in the store"),
        (RecommendationQuery(items=("x",)), "unknown item x: not in"),
    ],
)
def test_queries_that_make_no_sense(recommender, query, message):
    with pytest.raises(UserError, match=message) as failed:
        recommender.recommend(query)
    assert "\n" not in str(failed.value)
    if "nobody" in message:
        assert isinstance(failed.value, UnknownName)
        assert failed.value.names == ("nobody",)


def test_many_users_fail_before_the_first_result(recommender):
    with pytest.raises(UnknownName, match="users 'x', 'y' are not in"):
        next(recommender.rank_users(["u1", "x", "y"]))
    with pytest.raises(UserError, match="at least 1"):
        next(recommender.rank_users(["u1"], 0))


class TestLoading:
    def test_nothing_is_live_or_published_or_there(self, tmp_path):
        path = tmp_path / "s.duckdb"
        with Store.open(path) as store:
            with pytest.raises(UserError, match="holds no interactions"):
                Catalogue.load(store)
            ingest_period(store, write_period(tmp_path / "1.csv", 1))
            with pytest.raises(UserError, match="perennial init"):
                Recommender.load(store)
        path = make_live(tmp_path / "live.duckdb")
        words = "no published model yet; `perennial ingest`"
        with Store.open(path) as store, pytest.raises(UserError, match=words):
            Recommender.load(store)
        publish_period(path, 1)
        shutil.rmtree(tmp_path / "live.duckdb.models")
        words = "`perennial update` makes it again"
        with open_for_reading(path) as store, pytest.raises(UserError, match=words):
            Recommender.load(store)

    def test_integers_come_back_as_integers(self, tmp_path):
        log = tmp_path / "log.csv"
        log.write_text("user_id,item_id\n1,10\n1,20\n2,10\n2,30\n3,30\n")
        with Store.open(tmp_path / "s.duckdb") as store:
            recommender = load_live(store, log)
        of_integer, of_text, of_items = (
            recommender.recommend(RecommendationQuery(k=3, **context))
            for context in ({"user": 1}, {"user": "1.0"}, {"items": (10, "20.0")})
        )
        assert [one.item for one in of_integer] == [30]
        assert of_integer == of_text == of_items
        assert dict(recommend_users(recommender, ["2"], 1))[2][0][0] == 20


def test_what_came_after_the_model_counts_where_it_knows_it(tmp_path):
    """A later period is in the context; its new items are dropped and cannot be recommended."""
    path = make_live(tmp_path / "s.duckdb")
    publish_period(path, 1)
    with Store.open(path) as store:
        before = Recommender.load(store)
        ingest_period(store, write_period(tmp_path / "2.csv", 2))
        after = Recommender.load(store)
        scores, seen = score_user(store, published_model(store), "u4")
    assert after.num_items == before.num_items < len(after.catalogue.item_ids)
    assert seen_by(before, "u4") < seen_by(after, "u4")
    found = after.recommend(RecommendationQuery(user="u4", k=50))
    items = [after.catalogue.item_indices[one.item] for one in found]
    assert set(items) == set(range(after.num_items)) - seen
    assert [one.score for one in found] == pytest.approx(-np.sort(-scores[items]))
    new = set(after.catalogue.item_ids[after.num_items :])
    assert new
    assert new.isdisjoint(one.item for one in found)
    unknown_user = RecommendationQuery(items=tuple(new), k=3)
    assert after.recommend(unknown_user)


class TestWhy:
    def test_the_rows_that_contribute_most_without_names_of_users(self, recommender):
        query = RecommendationQuery(user="u3", k=5, why=True)
        found = recommender.recommend(query)
        plain = recommender.recommend(dataclasses.replace(query, why=False))
        assert [dataclasses.replace(one, reasons=()) for one in found] == list(plain)
        seen = seen_by(recommender, "u3")
        for one in found:
            assert 1 <= len(one.reasons) <= 3
            assert [reason.row for reason in one.reasons] == list(range(1, len(one.reasons) + 1))
            added = [reason.contribution for reason in one.reasons]
            assert added == sorted(added, reverse=True)
            assert sum(reason.share for reason in one.reasons) <= 1 + 1e-6
            for reason in one.reasons:
                assert (reason.kind, 0 < reason.share <= 1) == ("newest", True)
                assert {shared.item for shared in reason.shared} <= seen
                assert len(reason.shared) == min(3, reason.num_shared)
                assert not set(map(str, USERS)) & set(map(str, dataclasses.astuple(reason)))

    def test_common_items_come_rarest_first_with_their_titles(self, recommender):
        known = recommender.catalogue
        width = len(known.item_ids)
        dense = np.zeros((3, width), np.float32)
        dense[0, [1, 2, 3, 4]] = dense[1, [1, 2]] = dense[2, 1] = 1
        context = np.zeros((1, width), np.float32)
        context[0, [1, 2, 4, 7]] = 1
        explanation = Explanation(
            contributions=np.array([[0.5, -0.2, 0.3], [-1.0, -0.1, 0.0]]),
            similarity=np.array([0.9, 0.2, 0.4]),
            rows=csr_array(dense),
            replayed=np.array([True, False, False]),
        )
        first, second = find_reasons(explanation, csr_array(context), known, on_newest=False)
        assert second == (), "nothing speaks for it"
        assert [(one.kind, one.num_shared) for one in first] == [("remembered", 3), ("user", 1)]
        assert [one.share for one in first] == [pytest.approx(0.625), pytest.approx(0.375)]
        names = [known.item_ids[item] for item in (4, 2, 1)]
        assert [(one.item, one.title) for one in first[0].shared] == [
            (name, known.titles.get(name)) for name in names
        ]
        unknown = dataclasses.replace(explanation, replayed=None)
        reported = find_reasons(unknown, csr_array(context), known, on_newest=True)
        assert {one.kind for one in reported[0]} == {"unknown"}

    def test_a_whole_log_is_not_the_newest_period(self, tmp_path, published_file):
        with open_for_reading(published_file) as store:
            known = Catalogue.load(store)
            model = published_model(store)
            recommender = Recommender.from_model(store, model, "joint", "infinite-ae", known)
        (one,) = recommender.recommend(RecommendationQuery(user="u1", k=1, why=True))
        assert {reason.kind for reason in one.reasons} == {"user"}

    def test_mvae_cannot_explain(self, tmp_path):
        model = ModelChoice("mvae", {"hidden": 4, "latent": 2, "max_updates": 2, "check_every": 2})
        with Store.open(tmp_path / "s.duckdb") as store:
            recommender = load_live(store, write_period(tmp_path / "1.csv", 1), model)
        assert recommender.recommend(RecommendationQuery(user="u1"))
        with pytest.raises(UserError, match=r"mvae cannot explain.*; only infinite-ae can"):
            recommender.recommend(RecommendationQuery(user="u1", why=True))


class TestBatch:
    def test_a_file_with_ranks_scores_and_titles(self, recommender, tmp_path):
        path, reported = tmp_path / "recs.parquet", []
        report = recommend_to_file(
            recommender, ["u2", "nobody", "u1"], path, k=4, progress=lambda *at: reported.append(at)
        )
        assert asdict(report) == {"users": 2, "unknown": 1, "rows": 8}
        table = pq.read_table(path)
        assert table.schema.names == ["user_id", "rank", "item_id", "score", "title"]
        assert table["user_id"].to_pylist() == ["u2"] * 4 + ["u1"] * 4
        assert table["rank"].to_pylist() == [1, 2, 3, 4] * 2
        alone = recommender.recommend(RecommendationQuery(user="u2", k=4))
        assert table["item_id"].to_pylist()[:4] == [one.item for one in alone]
        assert table["title"].to_pylist()[:4] == [one.title for one in alone]
        assert reported[-1] == ("recommending", 2, 2)
        assert [one.name for one in tmp_path.iterdir()] == ["recs.parquet"]

    def test_no_titles_no_column_and_no_items_no_rows(self, recommender, tmp_path):
        catalogue = dataclasses.replace(recommender.catalogue, titles={})
        untitled = dataclasses.replace(recommender, catalogue=catalogue)
        path = tmp_path / "r.parquet"
        recommend_to_file(untitled, ["u2"], path)
        assert "title" not in pq.read_table(path).schema.names
        assert recommend_to_file(recommender, ["u1"], path, exclude=ITEMS).rows == 0
        assert pq.read_table(path).schema.field("rank").type == pa.int32()

    def test_nobody_is_known(self, recommender, tmp_path):
        with pytest.raises(UnknownName, match="none of the 2 users is in"):
            recommend_to_file(recommender, ["x", "y"], tmp_path / "recs.parquet")
        with pytest.raises(UserError, match="no users given"):
            recommend_to_file(recommender, [], tmp_path / "recs.parquet")
        assert list(tmp_path.iterdir()) == []

    def test_names_are_read_one_a_line(self, tmp_path):
        path = tmp_path / "users.txt"
        path.write_bytes("\ufeffu1\r\n\n u 2 \nu1\nü3".encode())
        assert read_names(path) == ("u1", "u 2", "ü3")

    @pytest.mark.parametrize("content", [None, b"\xff\xfeu\x001\x00"])
    def test_an_unreadable_file(self, tmp_path, content):
        path = tmp_path / "users.txt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=r"users\.txt: "):
            read_names(path)
