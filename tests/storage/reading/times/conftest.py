"""A connection whose time zone is UTC."""

import duckdb
import pytest


@pytest.fixture(scope="module")
def utc():
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'").fetchall()
        yield connection
