"""Computation of the missing cells of a study by workers."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from perennial.replay.study.paper.cells import StudyCell, StudyContext
from perennial.replay.study.paper.records import FOLDER as CELLS_FOLDER
from perennial.replay.study.paper.records import CellRecord, read_record
from perennial.replay.study.paper.rows import FOLDER as ROWS_FOLDER
from perennial.replay.study.paper.rows import read_rows, rows_path
from perennial.replay.study.paper.worker import PaperRequest
from perennial.replay.study.workers.base import Executor, Task, TaskBatch, TaskListener
from perennial.replay.study.workers.local import LocalExecutor
from perennial.storage.errors import UserError

_WORKER = "perennial.replay.study.paper.worker"
_LOGS = "logs"


def run_cells(
    context: StudyContext,
    cells: Sequence[StudyCell],
    num_workers: int,
    on_event: TaskListener,
    memory_limit: int | None = None,
    executor: Executor | None = None,
) -> tuple[CellRecord, ...]:
    """Compute missing cells, and return one record for each cell, in the same order.

    The same call again computes none. A worker computes one cell and ends, so that its peak memory
    is the cell's own. The cell of a worker that dies is computed again by another. The workers of a
    machine share `memory_limit` bytes; a fit that needs more is refused. Processes of this machine
    run the tasks without an `executor`.

    Raises:
        UserError: another study works in the folder, or a task failed.
    """
    executor = executor or LocalExecutor(num_workers)
    folder = Path(context.folder)
    with _locked(folder):
        # Temporary files of writers that were killed.
        for inner in (ROWS_FOLDER, CELLS_FOLDER):
            for left in (folder / inner).glob(".*"):
                left.unlink(missing_ok=True)
        shared = None if memory_limit is None else memory_limit // num_workers
        for tasks in plan_tasks(context, cells, shared):
            if tasks:
                logs = folder / _LOGS
                logs.mkdir(exist_ok=True)
                batch = TaskBatch(tasks, _WORKER, logs, lambda _task: None, on_event)
                executor.run_tasks(batch)
        shutil.rmtree(folder / _LOGS, ignore_errors=True)
    return tuple(_finished(context, cell) for cell in cells)


def plan_tasks(
    context: StudyContext, cells: Sequence[StudyCell], memory_limit: int | None = None
) -> tuple[list[Task], list[Task]]:
    """Plan missing cells: first rows and the cells without made rows, then the cells on these rows.

    Rows come first, as they take longest, and are made once for all cells that share them.
    """
    folder = Path(context.folder)
    missing = [cell for cell in cells if read_record(folder, context.cell_key(cell)) is None]
    rows: dict[Path, Task] = {}
    for cell in missing:
        path = rows_path(context, cell.rows, cell.seed)
        if cell.rows.is_made and path not in rows and not _is_sound(path):
            request = PaperRequest(context, cell.rows, cell.seed, None)
            rows[path] = Task(f"{cell.rows.name} seed {cell.seed}", request, 1)
    tasks = [
        Task(cell.name, PaperRequest(context, cell.rows, cell.seed, cell.model, memory_limit), 1)
        for cell in missing
    ]
    at_once = [task for task, cell in zip(tasks, missing, strict=True) if not cell.rows.is_made]
    later = [task for task, cell in zip(tasks, missing, strict=True) if cell.rows.is_made]
    return [*rows.values(), *at_once], later


def _is_sound(path: Path) -> bool:
    """Check that a file of rows can be read; a damaged one is made again."""
    try:
        read_rows(path)
    except UserError:
        return False
    return True


def _finished(context: StudyContext, cell: StudyCell) -> CellRecord:
    record = read_record(Path(context.folder), context.cell_key(cell))
    if record is None:
        raise UserError(
            f"{context.folder}: the file of {cell.name} vanished while the study ran; the same "
            "command again makes it"
        )
    return record


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder for one study: two would compute the same cells twice."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another study is at work in this folder; wait for it, or name another -o"
        ) from None
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); name another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
