import socket

import numpy as np
import pytest

from perennial.storage.errors import UserError
from perennial.stream.sources.download import ATTEMPTS, fetch, hash_file

CONTENT = np.random.default_rng(0).bytes(300_000)
CHANGED = np.random.default_rng(1).bytes(300_000)


@pytest.fixture
def waits():
    return []


@pytest.fixture
def get(tmp_path, waits):
    """Fetch into an empty folder; waiting takes no time."""

    def run(remote, **options):
        path = tmp_path / "file"
        fetch(remote, path, wait=waits.append, **options)
        return path

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def break_off(server, get, content=CONTENT):
    """Leave a part of the file behind, as an interrupted command does."""
    server.files["/a.bin"] = content
    server.cuts = [100_000] + [0] * (ATTEMPTS - 1)
    with pytest.raises(UserError, match="100,000 bytes are kept, so run the command again"):
        get(server.remote("a.bin"))
    server.requests.clear()
    server.files["/a.bin"] = CONTENT


def test_a_file_arrives_whole(server, get, tmp_path):
    server.files["/a.bin"] = CONTENT
    calls = []
    path = get(server.remote("a.bin"), progress=lambda *call: calls.append(call))
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]
    assert server.requests == [("/a.bin", None, None)]
    assert calls[0] == ("a.bin", 0, len(CONTENT))
    assert calls[-1] == ("a.bin", len(CONTENT), len(CONTENT))
    done = [call[1] for call in calls]
    assert done == sorted(done)


def test_md5_is_verified_too(server, get):
    server.files["/a.bin"] = b"abc"
    path = get(server.remote("a.bin", checksum="md5:900150983cd24fb0d6963f7d28e17f72"))
    assert hash_file(path, "sha256").startswith("sha256:ba7816bf8f01cfea")
    with pytest.raises(UserError, match="is not the file"):
        get(server.remote("a.bin", checksum="md5:" + 32 * "0"))


def test_a_broken_connection_is_resumed(server, get, waits):
    server.files["/a.bin"] = CONTENT
    server.cuts = [100_000, 50_000]
    assert get(server.remote("a.bin")).read_bytes() == CONTENT
    assert server.ranges_asked == [None, "bytes=100000-", "bytes=150000-"]
    tag = server.requests[1][2]
    assert tag is not None
    assert tag.startswith('"')
    assert waits == [1.0, 2.0]


def test_the_next_command_resumes_the_download(server, get, waits, tmp_path):
    break_off(server, get)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert not (tmp_path / "file").exists()
    assert get(server.remote("a.bin")).read_bytes() == CONTENT
    assert server.ranges_asked == ["bytes=100000-"]
    assert names(tmp_path) == ["file"]


def test_a_server_without_ranges_sends_everything_again(server, get):
    server.files["/a.bin"] = CONTENT
    server.ranges = False
    server.cuts = [100_000]
    assert get(server.remote("a.bin")).read_bytes() == CONTENT
    assert server.ranges_asked == [None, "bytes=100000-"]


@pytest.mark.parametrize("known_by", ["tag", "date"])
def test_a_file_that_changed_meanwhile_is_begun_again(server, get, known_by):
    server.weak_tags = server.dates = known_by == "date"
    break_off(server, get, CHANGED)
    assert get(server.remote("a.bin")).read_bytes() == CONTENT
    # One request: the server saw that its file is another and sent all of it.
    assert len(server.requests) == 1
    assert (server.requests[0][2] or "").startswith('"') == (known_by == "tag")


def test_pieces_of_two_versions_are_noticed_and_dropped(server, get):
    server.tags = False
    break_off(server, get, CHANGED)
    assert get(server.remote("a.bin")).read_bytes() == CONTENT
    assert server.requests == [("/a.bin", "bytes=100000-", None), ("/a.bin", None, None)]


@pytest.mark.parametrize(
    ("name", "content", "ranges"),
    [
        ("file.part", CONTENT, [f"bytes={len(CONTENT)}-"]),
        ("file.part", CONTENT + b"more", ["bytes=300004-", None]),
        ("file", CONTENT, []),
    ],
    ids=["complete part", "part longer than the file", "file that is there"],
)
def test_what_is_there_is_not_downloaded_again(server, get, tmp_path, name, content, ranges):
    server.files["/a.bin"] = CONTENT
    (tmp_path / name).write_bytes(content)
    assert get(server.remote("a.bin")).read_bytes() == CONTENT
    assert server.ranges_asked == ranges


def test_another_file_than_the_published_one_is_refused(server, get, tmp_path):
    server.files["/a.bin"] = CHANGED
    remote = server.remote("a.bin", CONTENT)
    with pytest.raises(UserError) as refusal:
        get(remote)
    actual = server.remote("a.bin").checksum
    assert actual in str(refusal.value)
    assert f"the test gives {remote.checksum}" in str(refusal.value)
    assert names(tmp_path) == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_refusal_is_final(server, get, waits, status):
    server.files["/a.bin"] = CONTENT
    server.statuses = [status]
    with pytest.raises(UserError, match=f"a.bin: the server answers {status}"):
        get(server.remote("a.bin"))
    assert waits == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_tried_again(server, get, waits, status):
    server.files["/a.bin"] = CONTENT
    server.statuses = [status, status]
    calls = []
    path = get(server.remote("a.bin"), progress=lambda *call: calls.append(call))
    assert path.read_bytes() == CONTENT
    assert waits == [1.0, 2.0]
    assert calls[0][0] == f"a.bin: the server answers {status}, trying again"


def test_an_unreachable_server_is_given_up_in_one_line(get, server, waits):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        folder = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(UserError, match=f"cannot download {folder}a.bin: ") as error:
            get(server.remote("a.bin", b"", folder=folder))
    assert "\n" not in str(error.value)
    assert len(waits) == ATTEMPTS - 1


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_too_large_is_broken_off(server, get, tmp_path, lengths):
    server.files["/a.bin"] = CONTENT
    server.lengths = lengths
    with pytest.raises(UserError, match="larger than the 1,000 bytes expected"):
        get(server.remote("a.bin", max_bytes=1000))
    assert names(tmp_path) == []
    assert get(server.remote("a.bin")).read_bytes() == CONTENT


def test_a_file_that_moved_is_found(server, get):
    server.files["/b.bin"] = CONTENT
    server.moved["/a.bin"] = server.address + "b.bin"
    assert get(server.remote("a.bin", CONTENT)).read_bytes() == CONTENT


def test_a_mirror_replaces_the_publisher(server, get):
    server.files["/mirror/a.bin"] = CONTENT
    remote = server.remote("a.bin", CONTENT, folder="http://publisher.invalid/data/")
    assert get(remote, mirror=server.address + "mirror").read_bytes() == CONTENT


@pytest.mark.parametrize("mirror", ["ftp://127.0.0.1/", "nonsense", "http://127.0.0.1:port/"])
def test_a_mirror_that_is_no_address_is_refused_at_once(server, get, waits, mirror):
    with pytest.raises(UserError, match="cannot download"):
        get(server.remote("a.bin", b""), mirror=mirror)
    assert waits == []


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    with pytest.raises(UserError, match=r"cannot write .*/absent/file"):
        fetch(server.remote("a.bin"), tmp_path / "absent" / "file")
