"""Memory of the machine or container."""

import psutil

from perennial.replay.machine import total_memory


def test_the_smaller_of_machine_and_container(tmp_path):
    machine = psutil.virtual_memory().total
    limit, none, wide = (tmp_path / name for name in ("limit", "none", "wide"))
    limit.write_text("1048576\n")
    none.write_text("max\n")
    wide.write_text("9223372036854771712\n")
    assert total_memory([tmp_path / "absent", none, wide]) == machine
    assert total_memory([none, limit]) == 1048576
