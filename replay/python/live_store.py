"""A live store from Python: files and tables in, recommendations out."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from perennial.replay.events import listen_to_stages
from perennial.replay.live.default_strategy import choose_default
from perennial.replay.live.ingest import LiveRequest, bring_up_to_date, forget_users, take_files
from perennial.replay.live.setup import configure_live, require_live
from perennial.replay.live.status import LiveStatus, read_status
from perennial.replay.live.steps import Step
from perennial.replay.python.estimators import Estimator, choose_model
from perennial.replay.python.log import find_table, table_file
from perennial.replay.python.model import Model
from perennial.replay.python.settings import (
    MEMORY_LIMIT,
    Reading,
    Settings,
    check_reading,
    make_config,
    make_limits,
)
from perennial.replay.recommend.fitting import load_published
from perennial.replay.recommend.recommender import RecommendedItem
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import Late
from perennial.storage.log.rewrite import ErasedUser
from perennial.storage.objects.bucket import Place, RemotePath, check_files, is_remote
from perennial.storage.objects.copies import local_copies
from perennial.storage.opening import (
    open_for_reading,
    open_for_writing,
    open_to_serve_readers,
    resolve_store,
)
from perennial.storage.reading.settings import IngestSettings
from perennial.stream.next_period import ProtocolName


@dataclass(frozen=True)
class LiveStore:
    """A store that is kept current; its file is open only during a call.

    Attributes:
        path: the DuckDB file, created by `init` or `ingest`.
        wait: seconds to wait for another writer to end.
    """

    path: Path
    wait: float = 0.0

    def init(
        self,
        model: str | Estimator = "infinite-ae",
        strategy: str | None = None,
        *,
        seed: int = 0,
        settings: Settings | None = None,
        protocol: ProtocolName = "fold-in",
        memory_limit: int | str | None = MEMORY_LIMIT,
        max_rows: int | None = None,
        min_user_events: int | None = None,
        forget_log_after: int | None = None,
        keep_histories: int = 0,
        replace: bool = False,
    ) -> None:
        """Fix which model is kept current, as `perennial init`; the same again changes nothing.

        Raises:
            UserError: something else is fixed, without `replace`; or the settings make no model.
        """
        choice, default = choose_model(model), None
        if strategy is None:
            default = choose_default(
                choice.name,
                keeps_log=forget_log_after is None,
                has_memory_settings="distill-cf" in (settings or {}),
            )
            strategy = default.name
        limits = make_limits(memory_limit, max_rows, min_user_events)
        config = make_config([choice], [strategy], [seed], settings, protocol, limits)
        with open_for_writing(self.path, self.wait) as store:
            configure_live(
                store,
                config,
                forget_log_after=forget_log_after,
                keep_histories=keep_histories,
                replace=replace,
                default=default,
                has_own_limit=memory_limit != MEMORY_LIMIT,
            )

    def ingest(
        self,
        *sources: Any,
        train: bool = True,
        late: Late = "refuse",
        forget_log_after: int | None = None,
        progress: Progress = ignore_progress,
        **reading: Unpack[Reading],
    ) -> tuple[Step, ...]:
        """Make each file or table the next period, in the order of their times.

        If `init` fixed a model, it is evaluated on each new period, refitted and published, unless
        `train` is False. Sources are paths, addresses, or tables as for `open_log`.

        Raises:
            UserError: a source is refused; those before it stay.
        """
        request = LiveRequest(
            IngestSettings(**check_reading(reading)), late, train, forget_log_after
        )
        with ExitStack() as stack:
            places = check_files([_find_place(one, stack) for one in sources])
            store = stack.enter_context(open_for_writing(self.path, self.wait))
            paths = stack.enter_context(local_copies(places, self.path.parent, progress))
            listener = listen_to_stages(progress)
            return tuple(take_files(store, paths, request, progress=progress, listener=listener))

    def update(self, *, progress: Progress = ignore_progress) -> tuple[Step, ...]:
        """Evaluate, refit and publish for the periods since the last publication.

        Raises:
            UserError: no model is fixed.
        """
        with open_to_serve_readers(self.path, self.wait) as store:
            require_live(store)
            return tuple(bring_up_to_date(store, None, listen_to_stages(progress)))

    def load_model(self, users: Sequence[str | int] | None = None) -> Model:
        """Load the published model, to recommend to `users`, to all if `None`.

        Raises:
            UserError: no model is fixed or published.
        """
        published = load_published(self.path, users)
        if published is None:
            raise UserError(f"{self.path} has no live model; choose one with `init`")
        return Model(published)

    def recommend(
        self,
        user: str | int | None = None,
        *,
        items: Sequence[str | int] = (),
        k: int = 10,
        exclude: Sequence[str | int] = (),
        keep_seen: bool = False,
        explain: bool = False,
    ) -> tuple[RecommendedItem, ...]:
        """Recommend with the published model, as `Model.recommend`; for many calls load it once."""
        model = self.load_model([] if user is None else [user])
        return model.recommend(
            user, items=items, k=k, exclude=exclude, keep_seen=keep_seen, explain=explain
        )

    def status(self) -> LiveStatus:
        """Return what is live, how current it is and how good it has been; changes nothing."""
        with open_for_reading(self.path) as store:
            return read_status(store)

    def forget(
        self, *users: str | int, progress: Progress = ignore_progress
    ) -> tuple[Step | ErasedUser, ...]:
        """Take users out of the store, and out of all that was made of them.

        Raises:
            UserError: one of them is not in the store; nothing has changed.
        """
        with open_to_serve_readers(self.path, self.wait) as store:
            names = [str(user) for user in users]
            return tuple(forget_users(store, names, listen_to_stages(progress)))


def _find_place(source: Any, stack: ExitStack) -> Place:
    """Return the place of a source; a table is in a temporary file until the stack is closed."""
    if not isinstance(source, str | Path):
        return stack.enter_context(table_file(find_table(source)))
    return RemotePath.parse(str(source)) if is_remote(str(source)) else Path(source).expanduser()


def open_store(path: str | Path, *, wait: float = 0.0) -> LiveStore:
    """Open a live store; the file need not exist yet, and links are followed.

    Raises:
        UserError: the path is a link to nothing.
    """
    return LiveStore(resolve_store(Path(path)), wait)
