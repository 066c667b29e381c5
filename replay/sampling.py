"""From a log that someone names to a file of some of its users' rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from memory.samplers.registry import find_sampler
from replay.summaries import write_table
from replay.whole_log import check_folder, hold_whole, read_whole
from storage.remote import Place
from storage.vocabulary import item_ids, user_ids
from stream.sources.protocol import LogFiles


@dataclass(frozen=True)
class SampleRequest:
    """What to keep.

    Attributes:
        sampler: a key of `memory.samplers.registry.SAMPLERS`.
        users: how many at most.
        seed: of all draws.
        reading: fields of `IngestSettings` that differ from the source's own.
    """

    sampler: str
    users: int
    seed: int
    reading: Mapping[str, Any] = field(default_factory=dict)


def sample_to_file(log: LogFiles, request: SampleRequest, output: Place) -> dict[str, Any]:
    """Read the log, choose, write `user_id` and `item_id`, highest priority first.

    Args:
        log: from `stream.sources`.
        request: how.
        output: a Parquet file, here or on object storage, replaced as a whole.

    Returns:
        `users`, `interactions`, and `users_given`, `interactions_given` before the choice.

    Raises:
        UserError: the log cannot be read, or the file cannot be written.
    """
    check_folder(output)
    sampler = find_sampler(request.sampler)
    with hold_whole(log, request.reading) as store:
        given = read_whole(store)
        found = sampler(given.interactions, request.users, request.seed)
        rows, items = found.rows.tocoo().coords
        table = pa.table(
            {
                "user_id": pa.array(user_ids(store, given.users[found.users[rows]])),
                "item_id": pa.array(item_ids(store, items)),
            }
        )
        write_table(table, output)
    return {
        "sampler": request.sampler,
        "users": len(found.users),
        "interactions": int(found.rows.nnz),
        "users_given": len(given.users),
        "interactions_given": int(given.interactions.nnz),
    }
