"""What the published model answers, and why."""

import dataclasses
import shutil

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
from perennial.replay.logs import open_for_reading
from perennial.replay.recommend.answers import RecommendationQuery, Recommender, UnknownName
from perennial.replay.recommend.batch import read_names, recommend_to_file
from perennial.replay.recommend.catalogue import Catalogue
from perennial.replay.recommend.fitting import recommend_items, recommend_user
from perennial.replay.recommend.reasons import find_reasons
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.vocabulary import read_titles
from perennial.storage.results.fits import read_model
from perennial.storage.results.publications import newest_publication
from perennial.storage.store import Store

USERS = [f"u{number}" for number in range(30)]
ITEMS = [f"i{number}" for number in range(24)]


def published_model(store):
    return make_recipe("infinite-ae", {"reg": 1.0}).restore(
        *read_model(store, newest_publication(store).fit_key)
    )


def had_by(answers, user):
    row = answers.known.histories[[answers.known.user_rows[user]]]
    return {answers.known.item_ids[item] for item in row.indices.tolist()}


def test_it_says_of_whom_it_is(answers):
    assert (answers.period, answers.strategy, answers.model_name) == (
        2,
        "individual",
        "infinite-ae",
    )
    assert answers.num_users == len(USERS)
    assert answers.num_items == len(ITEMS)


def test_a_user_and_a_basket_get_what_the_model_recommends(published_file, answers):
    with open_for_reading(published_file) as store:
        model = published_model(store)
        for k in (3, 100):
            for_user = recommend_user(store, model, "u3", k=k)
            for_items = recommend_items(store, model, ["i5", "i9"], k=k)
            found = [answers.answer(RecommendationQuery(user="u3", k=k))]
            found.append(answers.answer(RecommendationQuery(items=("i5", "i9"), k=k)))
            for ours, expected in zip(found, (for_user, for_items), strict=True):
                assert [(one.item, one.score) for one in ours] == [
                    (one.item, one.score) for one in expected
                ]


def test_titles_come_where_they_are_known(published_file, answers):
    with open_for_reading(published_file) as store:
        titles = read_titles(store)
    for one in answers.answer(RecommendationQuery(user="u0", k=24)):
        assert one.title == titles.get(one.item)


@given(
    who=st.sampled_from(USERS) | st.lists(st.sampled_from(ITEMS), min_size=1, max_size=8),
    exclude=st.lists(st.sampled_from([*ITEMS, "no such item"]), max_size=12),
    exclude_seen=st.booleans(),
    k=st.integers(1, 40),
)
def test_only_what_is_wanted_and_best_first(answers, who, exclude, exclude_seen, k):
    about = {"user": who} if isinstance(who, str) else {"items": tuple(who)}
    question = RecommendationQuery(k=k, exclude=tuple(exclude), exclude_seen=exclude_seen, **about)
    found = answers.answer(question)
    had = had_by(answers, who) if isinstance(who, str) else set(who)
    left = set(ITEMS) - set(exclude) - (had if exclude_seen else set())
    items = [one.item for one in found]
    assert len(items) == len(set(items)) == min(k, len(left))
    assert set(items) <= left
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    everything = answers.answer(dataclasses.replace(question, k=40))
    assert everything[: len(found)] == found


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_many_users_get_what_each_gets(answers, exclude_seen):
    wishes = {"exclude": ("i7", "i8"), "exclude_seen": exclude_seen}
    found = list(answers.answer_users(USERS, 5, **wishes))
    assert [user for user, _ in found] == USERS
    for user, given_to in found:
        alone = answers.answer(RecommendationQuery(user=user, k=5, **wishes))
        assert [one.item for one in given_to] == [one.item for one in alone]
        np.testing.assert_allclose(
            [one.score for one in given_to], [one.score for one in alone], rtol=1e-5
        )


def test_a_user_that_is_loaded_alone_gets_the_same(published_file, answers):
    with open_for_reading(published_file) as store:
        alone = Recommender.load(store, ["u3", "nobody"])
    assert alone.answer(RecommendationQuery(user="u3")) == answers.answer(
        RecommendationQuery(user="u3")
    )
    assert alone.num_users == len(USERS)
    with pytest.raises(UnknownName):
        alone.answer(RecommendationQuery(user="nobody"))


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (RecommendationQuery(), "either a user or items"),
        (RecommendationQuery(user="u1", items=("i1",)), "either a user or items"),
        (RecommendationQuery(user="u1", k=0), "at least 1"),
        (RecommendationQuery(user="nobody"), "user 'nobody' is not in the store; check"),
        (RecommendationQuery(items=("i1", "x", "y")), "unknown items x, y: not in the store"),
        (RecommendationQuery(items=("x",)), "unknown item x: not in"),
    ],
)
def test_questions_that_make_no_sense(answers, question, message):
    with pytest.raises(UserError, match=message) as failed:
        answers.answer(question)
    assert "\n" not in str(failed.value)
    if "nobody" in message:
        assert isinstance(failed.value, UnknownName)
        assert failed.value.names == ("nobody",)


def test_many_users_fail_before_the_first_answer(answers):
    with pytest.raises(UnknownName, match="users 'x', 'y' are not in"):
        next(answers.answer_users(["u1", "x", "y"]))
    with pytest.raises(UserError, match="at least 1"):
        next(answers.answer_users(["u1"], 0))


class TestLoading:
    def test_nothing_is_live(self, tmp_path):
        with Store.open(tmp_path / "s.duckdb") as store:
            ingest_period(store, write_period(tmp_path / "1.csv", 1))
            with pytest.raises(UserError, match="perennial init"):
                Recommender.load(store)

    def test_nothing_is_published(self, tmp_path):
        path, words = make_live(tmp_path / "s.duckdb"), "no published model yet; `perennial ingest`"
        with Store.open(path) as store, pytest.raises(UserError, match=words):
            Recommender.load(store)

    def test_the_file_is_lost(self, tmp_path):
        path = make_live(tmp_path / "s.duckdb")
        publish_period(path, 1)
        shutil.rmtree(tmp_path / "s.duckdb.models")
        words = "`perennial update` makes it again"
        with open_for_reading(path) as store, pytest.raises(UserError, match=words):
            Recommender.load(store)

    def test_an_empty_log(self, tmp_path):
        words = "holds no interactions"
        with Store.open(tmp_path / "s.duckdb") as store, pytest.raises(UserError, match=words):
            Catalogue.load(store)

    def test_integers_come_back_as_integers(self, tmp_path):
        log = tmp_path / "log.csv"
        log.write_text("user_id,item_id\n1,10\n1,20\n2,10\n2,30\n3,30\n")
        with Store.open(tmp_path / "s.duckdb") as store:
            configure_live(
                store,
                ReplayConfig(
                    strategies=("individual",), models=(ModelChoice("infinite-ae", {"reg": 1.0}),)
                ),
            )
            ingest_period(store, log)
            list(LiveUpdater(store).catch_up())
            answers = Recommender.load(store)
        for user in (1, "1"):
            assert [one.item for one in answers.answer(RecommendationQuery(user=user, k=3))] == [30]
        assert answers.answer(RecommendationQuery(items=(10, "20"))) == answers.answer(
            RecommendationQuery(user=1)
        )
        assert dict(answers.answer_users(["2"], 1))[2][0].item == 20


def test_what_came_after_the_model_counts_where_it_knows_it(tmp_path):
    """A later period is in the context; its new items are dropped and cannot be recommended."""
    path = make_live(tmp_path / "s.duckdb")
    publish_period(path, 1)
    with Store.open(path) as store:
        before = Recommender.load(store)
        ingest_period(store, write_period(tmp_path / "2.csv", 2))
        after = Recommender.load(store)
        model = published_model(store)
        expected = recommend_user(store, model, "u4", k=50)
    assert after.num_items == before.num_items < len(after.known.item_ids)
    assert had_by(before, "u4") < had_by(after, "u4")
    found = after.answer(RecommendationQuery(user="u4", k=50))
    assert [one.item for one in found] == [one.item for one in expected]
    new = set(after.known.item_ids[after.num_items :])
    assert new
    assert new.isdisjoint(one.item for one in found)
    assert after.answer(RecommendationQuery(items=tuple(new), k=3)), (
        "someone of whom nothing is known"
    )


class TestWhy:
    def test_rows_that_contribute_most_and_nobodys_name(self, answers):
        question = RecommendationQuery(user="u3", k=5, why=True)
        found = answers.answer(question)
        assert [dataclasses.replace(one, reasons=()) for one in found] == list(
            answers.answer(dataclasses.replace(question, why=False))
        )
        had = had_by(answers, "u3")
        for one in found:
            assert 1 <= len(one.reasons) <= 3
            assert [reason.row for reason in one.reasons] == list(range(1, len(one.reasons) + 1))
            added = [reason.contribution for reason in one.reasons]
            assert added == sorted(added, reverse=True)
            assert all(0 < reason.share <= 1 for reason in one.reasons)
            assert sum(reason.share for reason in one.reasons) <= 1 + 1e-6
            for reason in one.reasons:
                assert reason.kind == "newest"
                assert {shared.item for shared in reason.shared} <= had
                assert len(reason.shared) == min(3, reason.num_shared)
                assert not set(map(str, USERS)) & set(map(str, dataclasses.astuple(reason)))

    def test_items_in_common_are_told_rarest_first_with_their_titles(self, answers):
        known = answers.known
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
        told = find_reasons(unknown, csr_array(context), known, on_newest=True)
        assert {one.kind for one in told[0]} == {"unknown"}

    def test_a_whole_log_is_not_the_newest_period(self, tmp_path, published_file):
        with open_for_reading(published_file) as store:
            known = Catalogue.load(store)
            model = published_model(store)
            answers = Recommender.of_model(store, model, "joint", "infinite-ae", known)
        (one,) = answers.answer(RecommendationQuery(user="u1", k=1, why=True))
        assert {reason.kind for reason in one.reasons} == {"user"}

    def test_mvae_cannot_tell(self, tmp_path):
        model = ModelChoice("mvae", {"hidden": 4, "latent": 2, "max_updates": 2, "check_every": 2})
        with Store.open(tmp_path / "s.duckdb") as store:
            configure_live(store, ReplayConfig(strategies=("individual",), models=(model,)))
            ingest_period(store, write_period(tmp_path / "1.csv", 1))
            list(LiveUpdater(store).catch_up())
            answers = Recommender.load(store)
        assert answers.answer(RecommendationQuery(user="u1"))
        with pytest.raises(UserError, match=r"mvae cannot tell why.*; only infinite-ae can"):
            answers.answer(RecommendationQuery(user="u1", why=True))


class TestBatch:
    def test_a_file_with_ranks_scores_and_titles(self, answers, tmp_path):
        path, told = tmp_path / "recs.parquet", []
        report = recommend_to_file(
            answers, ["u2", "nobody", "u1"], path, k=4, progress=lambda *at: told.append(at)
        )
        assert report.to_json() == {"users": 2, "unknown": 1, "rows": 8}
        table = pq.read_table(path)
        assert table.schema.names == ["user_id", "rank", "item_id", "score", "title"]
        assert table["user_id"].to_pylist() == ["u2"] * 4 + ["u1"] * 4
        assert table["rank"].to_pylist() == [1, 2, 3, 4] * 2
        alone = answers.answer(RecommendationQuery(user="u2", k=4))
        assert table["item_id"].to_pylist()[:4] == [one.item for one in alone]
        assert table["title"].to_pylist()[:4] == [one.title for one in alone]
        assert told[-1] == ("recommending", 2, 2)
        assert [one.name for one in tmp_path.iterdir()] == ["recs.parquet"]

    def test_no_titles_no_column(self, answers, tmp_path):
        untitled = dataclasses.replace(answers, known=dataclasses.replace(answers.known, titles={}))
        recommend_to_file(untitled, ["u2"], tmp_path / "recs.parquet")
        assert "title" not in pq.read_table(tmp_path / "recs.parquet").schema.names

    def test_users_who_get_nothing_leave_a_file_without_rows(self, answers, tmp_path):
        report = recommend_to_file(answers, ["u1"], tmp_path / "recs.parquet", exclude=ITEMS)
        assert report.rows == 0
        assert pq.read_table(tmp_path / "recs.parquet").schema.field("rank").type == pa.int32()

    def test_nobody_is_known(self, answers, tmp_path):
        with pytest.raises(UnknownName, match="none of the 2 users is in"):
            recommend_to_file(answers, ["x", "y"], tmp_path / "recs.parquet")
        with pytest.raises(UserError, match="no users given"):
            recommend_to_file(answers, [], tmp_path / "recs.parquet")
        assert list(tmp_path.iterdir()) == []

    def test_names_are_read_one_a_line(self, tmp_path):
        path = tmp_path / "users.txt"
        path.write_bytes("\ufeffu1\r\n\n u 2 \nu1\nü3".encode())
        assert read_names(path) == ("u1", "u 2", "ü3")

    @pytest.mark.parametrize("content", [None, b"\xff\xfeu\x001\x00"])
    def test_a_file_that_is_none(self, tmp_path, content):
        path = tmp_path / "users.txt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=r"users\.txt: "):
            read_names(path)
