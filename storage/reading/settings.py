"""Settings for reading log files, and the usual names of their columns."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

# In order of preference; compared in lower case without "_", "-" and spaces.
USER_NAMES = (
    "userid", "user", "uid", "userindex", "reviewerid", "customerid", "customer", "householdid",
    "householdkey", "household", "visitorid", "memberid", "buyerid", "clientid", "accountid",
    "profileid", "username", "sessionid", "session", "playlistid",
)  # fmt: skip
ITEM_NAMES = (
    "itemid", "item", "iid", "itemindex", "movieid", "movie", "productid", "product", "parentasin",
    "asin", "isbn", "bookid", "trackid", "songid", "artistid", "articleid", "newsid", "videoid",
    "gameid", "businessid", "venueid", "recipeid", "gmapid", "sku", "appid", "goodsid", "aid",
    "musicid",
)  # fmt: skip
TIME_NAMES = (
    "timestamp", "ts", "time", "transactiontimestamp", "datetime", "unixtime", "unixreviewtime",
    "timestampms", "eventtime", "eventtimestamp", "createdat", "eventdate", "date", "reviewtime",
    "reviewdate", "tdat", "orderdate", "ordertime", "orderedat", "purchasedate", "purchasetime",
    "purchasedat", "invoicedate", "transactiondate", "transactiontime", "utctimestamp", "utctime",
    "visittime", "checkintime", "clicktime", "viewedat", "updatedat", "createdtime", "creationtime",
    "createdate", "createddate", "eventat", "ratedat", "datetimeutc",
)  # fmt: skip
RATING_NAMES = (
    "rating", "ratings", "score", "stars", "overall", "review/score", "reviewscore",
    "review/overall", "reviewoverall", "starrating", "userrating", "bookrating", "movierating",
    "ratingvalue", "reviewrating", "overallrating", "ratingscore", "userscore", "rate",
)  # fmt: skip


TITLE_NAMES = (
    "title", "itemtitle", "movietitle", "producttitle", "booktitle", "tracktitle", "songtitle",
    "primarytitle", "name", "itemname", "moviename", "productname", "bookname", "trackname",
    "songname", "artistname", "description",
)  # fmt: skip


@dataclass(frozen=True)
class Role:
    """The content of a column: a word for messages and options, and usual names of the column."""

    what: str
    usual: tuple[str, ...]


LOG_ROLES = (Role("user", USER_NAMES), Role("item", ITEM_NAMES), Role("time", TIME_NAMES))
TITLES_ROLES = (Role("item", (*ITEM_NAMES, "id")), Role("title", TITLE_NAMES))


@dataclass(frozen=True)
class IngestSettings:
    """Settings for reading log files.

    Attributes:
        user_column: name of the user column, or its position, "1" for the first; `None` guesses, as
            for the item, the time and the rating column.
        format: one of `perennial.storage.reading.formats.FORMATS`; `None` guesses from the file's
            name.
        max_reject_share: largest share of bad lines in a file, in [0, 1].
        tie_seed: seed of the order of events at equal times.
        header: True if the first line of a text file names the columns; `None` guesses.
        encoding: of a text file, as Python names it; `None` is UTF-8, or UTF-16 after a byte order
            mark.
        time_format: format of the times, as for `parse_times`; `None` guesses.
        min_rating: least rating of a row that counts; `None` for any.
        where: column -> the values that a row may have there to count, for every column named.
    """

    user_column: str | None = None
    item_column: str | None = None
    time_column: str | None = None
    format: str | None = None
    max_reject_share: float = 0.05
    tie_seed: int = 0
    header: bool | None = None
    encoding: str | None = None
    time_format: str | None = None
    min_rating: float | None = None
    rating_column: str | None = None
    where: tuple[tuple[str, tuple[str, ...]], ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; settings that came later only where they are not the default.

        So the same settings give the same text, and the same keys, in every version.
        """
        values = dataclasses.asdict(self)
        return {
            name: value for name, value in values.items() if name in _FIRST or value is not None
        }


@dataclass(frozen=True)
class FileSettings(IngestSettings):
    """Settings for reading one file.

    Attributes:
        partitions: keys and values of the folders above it; columns of the file go first.
        roles: contents of `user_column`, `item_column` and, if there are three, `time_column`.
    """

    partitions: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[Role, ...] = LOG_ROLES

    @classmethod
    def of(
        cls, settings: IngestSettings, partitions: Mapping[str, str], roles: tuple[Role, ...]
    ) -> Self:
        """Complete the settings of all files by those of one."""
        given = {one.name: getattr(settings, one.name) for one in fields(IngestSettings)}
        return cls(**given, partitions=partitions, roles=roles)

    @property
    def is_log(self) -> bool:
        """True for interactions, which may have times and ratings; False for titles."""
        return self.roles == LOG_ROLES

    @property
    def content(self) -> str:
        """Word for the rows of the file."""
        return "interactions" if self.is_log else "titles"

    @property
    def given(self) -> tuple[tuple[Role, str | None], ...]:
        """The roles, and the names or positions that were given of their columns."""
        names = (self.user_column, self.item_column, self.time_column)
        return tuple(zip(self.roles, names, strict=False))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names or positions of the columns of the file that were given."""
        return self._inside([name for _, name in self.given])

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names or positions that were given of the columns that decide which rows count."""
        return self._inside([self.rating_column, *(column for column, _ in self.where or ())])

    def _inside(self, names: Sequence[str | None]) -> tuple[str, ...]:
        return tuple(name for name in names if name is not None and name not in self.partitions)


_FIRST = ("user_column", "item_column", "time_column", "format", "max_reject_share", "tie_seed")

DEFAULT_SETTINGS = IngestSettings()
