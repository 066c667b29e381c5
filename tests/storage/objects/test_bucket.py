"""Addresses on object storage, and a bucket of a real server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from object_storage import BUCKET, SECRET

from perennial.storage.errors import StorageUnavailable, UserError
from perennial.storage.objects.bucket import Bucket, RemotePath, is_remote

NAMES = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="/%#?@"), min_size=1
)


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "path", "options"),
        [
            ("s3://logs/2026/may.parquet", "logs/2026/may.parquet", ""),
            ("S3://logs/may/", "logs/may", ""),
            ("s3://logs", "logs", ""),
            ("s3://logs/a b%23c", "logs/a b#c", ""),
            ("gs://anonymous@logs/a", "logs/a", ""),
            ("s3://logs/a?region=eu-north-1", "logs/a", "region=eu-north-1"),
        ],
    )
    def test_is_read(self, text, path, options):
        assert is_remote(text)
        place = RemotePath.parse(text)
        assert (place.path, place.options) == (path, options)
        assert str(place) == f"{text[:2].lower()}://{path}"
        assert (place / "x").name == "x"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("s3://", "give s3://BUCKET/NAME"),
            ("s3:///a", "give s3://BUCKET/NAME"),
            ("s3://logs/../a", "give s3://BUCKET/NAME"),
            ("s3://logs/a//b", "give s3://BUCKET/NAME"),
            ("s3://logs/a%00b", "give s3://BUCKET/NAME"),
            ("s3://logs/a#b", "write # in a name as %23"),
            (f"s3://AKIA:{SECRET}@logs/a", "put them into the environment"),
            ("s3://anonymous@logs/a", "put them into the environment"),
            (f"gs://user:{SECRET}@logs/a", "put them into the environment"),
        ],
    )
    def test_is_refused(self, text, words):
        with pytest.raises(UserError, match=r"\S") as caught:
            RemotePath.parse(text)
        assert words in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("text", ["logs/a", "./s3:/logs", "/s3", "s3", "http://logs/a"])
    def test_is_none(self, text):
        assert not is_remote(text)

    @given(NAMES.filter(lambda name: name not in (".", "..")))
    def test_names_come_back(self, name):
        assert RemotePath.parse(str(RemotePath("s3", BUCKET) / name)).name == name


class TestBucket:
    @pytest.fixture
    def bucket(self, object_storage):
        object_storage.put("may/b.csv", b"bb")
        object_storage.put("may/a b#c.csv", b"a")
        object_storage.put("may/deep/c.csv", b"c")
        return Bucket(RemotePath.parse(f"s3://{BUCKET}"))

    def test_lists_the_objects_of_a_folder(self, bucket):
        found = bucket.list(RemotePath.parse(f"s3://{BUCKET}/may"))
        assert {(one.place.name, one.size) for one in found} == {("a b#c.csv", 1), ("b.csv", 2)}
        assert all(one.changed > 0 for one in found)
        assert bucket.list(RemotePath.parse(f"s3://{BUCKET}/june")) == ()

    def test_distinguishes_folders_and_objects(self, bucket):
        assert bucket.is_folder(RemotePath.parse(f"s3://{BUCKET}/may"))
        assert not bucket.is_folder(RemotePath.parse(f"s3://{BUCKET}/may/b.csv"))
        with pytest.raises(UserError, match="no such object and no such folder"):
            bucket.is_folder(RemotePath.parse(f"s3://{BUCKET}/ma"))

    def test_gets_what_was_put_and_removes_it(self, bucket, object_storage, tmp_path):
        content = bytes(range(256)) * (80 << 10)
        (tmp_path / "here").write_bytes(content)
        place = RemotePath.parse(f"s3://{BUCKET}/x/y%23z")
        bucket.put(tmp_path / "here", place)
        assert object_storage.get("x/y#z") == content
        told = []
        bucket.get(place, tmp_path / "back", lambda *one: told.append(one))
        assert (tmp_path / "back").read_bytes() == content
        assert told == [("fetching y#z", done, len(content)) for done in (0, 8 << 20, 16 << 20)]
        bucket.remove(place)
        assert "x/y#z" not in object_storage.keys()  # noqa: SIM118 - no mapping

    def test_gets_an_empty_object_and_puts_it_in_the_place_of_another(
        self, bucket, object_storage, tmp_path
    ):
        bucket.get(RemotePath.parse(object_storage.put("empty", b"")), tmp_path / "e")
        assert (tmp_path / "e").read_bytes() == b""
        bucket.put(tmp_path / "e", RemotePath.parse(f"s3://{BUCKET}/may/b.csv"))
        assert object_storage.get("may/b.csv") == b""

    def test_a_full_disk_is_named(self, bucket, tmp_path):
        with pytest.raises(StorageUnavailable, match="cannot be copied to"):
            bucket.get(RemotePath.parse(f"s3://{BUCKET}/may/b.csv"), tmp_path / "no" / "folder")


class TestFaults:
    def test_no_such_bucket(self, object_storage, tmp_path):
        place = RemotePath.parse("s3://elsewhere/a")
        bucket = Bucket(place)
        (tmp_path / "a").touch()
        for call in (
            lambda: bucket.require(place),
            lambda: bucket.is_folder(place),
            lambda: bucket.list(place),
            lambda: bucket.get(place, tmp_path / "b"),
            lambda: bucket.put(tmp_path / "a", place),
        ):
            words = r"^s3://elsewhere/a: there is no bucket 'elsewhere'"
            with pytest.raises(UserError, match=words):
                call()

    def test_an_option_that_is_none(self, object_storage):
        with pytest.raises(UserError, match=r"is no option of pyarrow") as caught:
            Bucket(RemotePath.parse(f"s3://{BUCKET}/a?secret_key={SECRET}"))
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        ("said", "words", "kind"),
        [
            ("AWS Error ACCESS_DENIED during X: No response", "access is refused", UserError),
            ("AWS Error INVALID_ACCESS_KEY_ID during X: y", "access is refused", UserError),
            ("AWS Error SIGNATURE_DOES_NOT_MATCH during X: y", "access is refused", UserError),
            ("AWS Error UNKNOWN (HTTP status 403) during X: y", "access is refused", UserError),
            ("AWS Error NETWORK_CONNECTION during X: curlCode: 7", "no answer", StorageUnavailable),
            ("AWS Error UNKNOWN (HTTP status 503) during X: y", "no answer", StorageUnavailable),
            ("AWS Error UNKNOWN (HTTP status 301) during X: y", "its region", StorageUnavailable),
            ("AWS Error NO_SUCH_BUCKET during X: y", "no bucket 'logs'", UserError),
            ("google::cloud::Status(PERMISSION_DENIED: x", "GOOGLE_APPLICATION", UserError),
            ("google::cloud::Status(UNAVAILABLE: no OAuth2 access token", "refused", UserError),
            ("google::cloud::Status(UNAVAILABLE: CURL error [7]", "no answer", StorageUnavailable),
            ("something else", "cannot be reached", StorageUnavailable),
        ],
    )
    def test_errors_of_servers_become_one_line(
        self, said, words, kind, object_storage, monkeypatch
    ):
        scheme = "gs" if "google" in said else "s3"
        place = RemotePath.parse(f"{scheme}://logs/a")
        bucket = Bucket(place)

        class Failing:
            def get_file_info(self, *_):
                raise OSError(f"When asking {place.path} with {SECRET}: {said}")

        monkeypatch.setattr(bucket, "_system", Failing())
        with pytest.raises(UserError, match=words) as caught:
            bucket.list(place)
        assert type(caught.value) is kind
        assert str(caught.value).startswith(f"{place}: ")
        assert SECRET not in str(caught.value)

    def test_google_cloud_storage_that_does_not_answer(self):
        place = RemotePath.parse(
            "gs://anonymous@logs/a?scheme=http&endpoint_override=127.0.0.1:9&retry_limit_seconds=0.1"
        )
        with pytest.raises(StorageUnavailable, match=r"^gs://logs/a: no answer"):
            Bucket(place).is_folder(place)
