"""A store in memory, and files to read."""

import pytest

from perennial.storage.store import Store


@pytest.fixture
def store():
    """An empty store in memory."""
    with Store.open(":memory:") as opened:
        yield opened


@pytest.fixture
def write(tmp_path):
    """Write a file of a name and content."""

    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file
