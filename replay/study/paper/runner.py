"""All cells of a study made, those that are missing by workers; what is finished stays finished."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from perennial.replay.study.paper.cells import StudyCell, StudyContext
from perennial.replay.study.paper.records import FOLDER as CELLS_FOLDER
from perennial.replay.study.paper.records import CellRecord, read_record
from perennial.replay.study.paper.rows import FOLDER as ROWS_FOLDER
from perennial.replay.study.paper.rows import read_kept_rows, rows_path
from perennial.replay.study.paper.worker import PaperRequest
from perennial.replay.study.workers.base import Executor, Task, Watch
from perennial.replay.study.workers.local import LocalExecutor
from perennial.storage.errors import UserError

_WORKER = "perennial.replay.study.paper.worker"
_LOGS = "logs"


def run_cells(
    ground: StudyContext,
    cells: Sequence[StudyCell],
    num_workers: int,
    watch: Watch,
    memory_limit: int | None = None,
    engine: Executor | None = None,
) -> tuple[CellRecord, ...]:
    """Make the cells that are not there; the same call again makes none.

    A worker makes one cell and ends, so that its peak memory is the cell's own. One that dies has
    its cell made again by another.

    Args:
        ground: of the study; its folder is made where absent.
        cells: of the study, no two alike.
        num_workers: on one machine at a time.
        watch: told what the workers do.
        memory_limit: bytes that the workers share; a fit that needs more is refused.
        engine: does the tasks; processes of this machine if `None`.

    Returns:
        A record for each cell, in their order.

    Raises:
        UserError: another process works in the folder, or a cell cannot be made.
    """
    engine = engine or LocalExecutor(num_workers)
    folder = Path(ground.folder)
    with _alone(folder):
        _sweep(folder)
        shared = None if memory_limit is None else memory_limit // num_workers
        for tasks in plan_tasks(ground, cells, shared):
            if tasks:
                logs = folder / _LOGS
                logs.mkdir(exist_ok=True)
                engine.run_tasks(tasks, _WORKER, logs, lambda _task: None, watch)
        shutil.rmtree(folder / _LOGS, ignore_errors=True)
    return tuple(_finished(ground, cell) for cell in cells)


def count_tasks(ground: StudyContext, cells: Sequence[StudyCell]) -> int:
    """How many tasks `run_cells` would share out now: missing cells and the rows they need."""
    return sum(map(len, plan_tasks(ground, cells)))


def plan_tasks(
    ground: StudyContext, cells: Sequence[StudyCell], memory_limit: int | None = None
) -> tuple[list[Task], list[Task]]:
    """What is missing: first rows and the cells that need none, then the cells that need them.

    Rows come first of all, as they take longest, and are made once for all cells that share them.
    """
    folder = Path(ground.folder)
    missing = [cell for cell in cells if read_record(folder, ground.cell_key(cell)) is None]
    rows: dict[Path, Task] = {}
    for cell in missing:
        path = rows_path(ground, cell.rows, cell.seed)
        if cell.rows.is_made and path not in rows and not _is_sound(path):
            request = PaperRequest(ground, cell.rows, cell.seed, None)
            rows[path] = Task(f"{cell.rows.name} seed {cell.seed}", request, 1)
    tasks = [
        Task(cell.name, PaperRequest(ground, cell.rows, cell.seed, cell.model, memory_limit), 1)
        for cell in missing
    ]
    at_once = [task for task, cell in zip(tasks, missing, strict=True) if not cell.rows.is_made]
    later = [task for task, cell in zip(tasks, missing, strict=True) if cell.rows.is_made]
    return [*rows.values(), *at_once], later


def _is_sound(path: Path) -> bool:
    """Whether rows can be read; a damaged file is made again."""
    try:
        read_kept_rows(path)
    except UserError:
        return False
    return True


def _finished(ground: StudyContext, cell: StudyCell) -> CellRecord:
    record = read_record(Path(ground.folder), ground.cell_key(cell))
    if record is None:
        raise UserError(
            f"{ground.folder}: the file of {cell.name} vanished while the study ran; the same "
            "command again makes it"
        )
    return record


def _sweep(folder: Path) -> None:
    """Remove what writers that were killed had not renamed yet."""
    for inner in (ROWS_FOLDER, CELLS_FOLDER):
        for left in (folder / inner).glob(".*"):
            left.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One study at a time in a folder: two would make the same cells twice."""
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
