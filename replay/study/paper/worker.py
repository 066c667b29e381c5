"""Worker of a paper study: `python -m perennial.replay.study.paper.worker`."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.cells import StudyCell, StudyContext, TrainingSet
from perennial.replay.study.workers.base import TaskFiles, TaskRequest
from perennial.replay.study.workers.local import emit, run_worker

_SPLIT = "split.parquet"


@dataclass(frozen=True)
class PaperRequest(TaskRequest):
    """Task of a worker: a cell, fitted within a limit of bytes, or rows if there is no model."""

    context: StudyContext
    rows: TrainingSet
    seed: int
    model: ModelChoice | None
    memory_limit: int | None = None

    def task_files(self) -> TaskFiles:
        """Implement `TaskRequest.task_files`: the split and made rows in, the new file out."""
        from perennial.replay.study.paper.records import record_path
        from perennial.replay.study.paper.rows import rows_path

        there = dataclasses.replace(self.context, split=_SPLIT, folder=".")
        rows = rows_path(self.context, self.rows, self.seed)
        rows_there = rows_path(there, self.rows, self.seed)
        inputs = {_SPLIT: Path(self.context.split)}
        if self.model is None:
            made, made_there = rows, rows_there
        else:
            key = self.context.cell_key(StudyCell(self.rows, self.model, self.seed))
            made, made_there = (record_path(Path(one.folder), key) for one in (self.context, there))
            if self.rows.is_made:
                inputs[rows_there.as_posix()] = rows
        return TaskFiles(
            line=dataclasses.replace(self, context=there).to_line(),
            inputs=inputs,
            outputs={made_there.as_posix(): made},
        )


def main() -> int:
    """Run one task; returns the exit code."""
    return run_worker(_work)


def _work(line: str) -> None:
    from perennial.replay.study.paper.fit import make_cell
    from perennial.replay.study.paper.rows import make_rows

    request = PaperRequest.from_line(line)
    if request.model is None:
        make_rows(request.context, request.rows, request.seed, _emit_stage)
    else:
        cell = StudyCell(request.rows, request.model, request.seed)
        make_cell(request.context, cell, _emit_stage, memory_limit=request.memory_limit)


def _emit_stage(message: str, _done: int = 0, _total: int | None = None, /) -> None:
    emit("stage", text=message)


if __name__ == "__main__":
    sys.exit(main())
