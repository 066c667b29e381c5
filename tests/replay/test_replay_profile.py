"""The benchmark that tells where a replay's time goes, on stacks that are known."""

import sys
import threading

from benchmarks.replay_profile import Sampler, our_name, within
from perennial.storage.parallel import over_blocks


def look_from(call):
    """What a sampler notes of the stack of a thread in a call of ours."""
    sampler = Sampler(threading.get_ident())

    def work(_start, _stop):
        sampler._note(sys._getframe())

    call(work)
    return sampler


def test_a_look_belongs_to_the_innermost_function_of_ours():
    sampler = look_from(lambda work: over_blocks(work, 1))
    (name, looks), *others = sampler.functions.items()
    assert (looks, others) == (1, [])
    assert name.startswith("storage/parallel.py over_parts")
    (line,) = sampler.lines
    assert line.startswith(f"{name}:")


def test_every_function_on_the_stack_counts_once():
    sampler = look_from(lambda work: over_blocks(work, 1))
    totals = within(sampler.stacks)
    assert totals["storage/parallel.py over_blocks"] == 1
    assert max(totals.values()) == 1


def test_code_of_others_has_no_name():
    assert our_name(sys._getframe()) is None


def test_a_thread_is_looked_at_until_told_to_stop():
    sampler = Sampler(threading.get_ident())
    watcher = threading.Thread(target=sampler.run)
    watcher.start()
    while not sampler.looks:
        pass
    sampler.stop()
    watcher.join()
    assert not sampler.functions, "a test is none of ours"
