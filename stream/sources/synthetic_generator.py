"""Generator of the synthetic log: a latent-factor model of users and items over time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DAY = 86_400


@dataclass(frozen=True)
class SyntheticSettings:
    """Parameters of the model that `generate` draws from.

    Shares are of the whole span of the log; times in it run from 0 to 1.

    Attributes:
        first_day: the log begins at midnight UTC of this day (ISO 8601).
        num_factors: f, dimensions of the taste space.
        num_themes: themes, directions in the taste space that items belong to and users follow.
        zipf_exponent: popularity of the r-th item ∝ r^−zipf_exponent.
        old_items: share of the items that exist from the beginning.
        lasting_items: share of the items that never leave.
        item_life: (shortest, longest) share of the span that the others stay.
        focus: weight of taste against popularity; scales the inner products.
        item_noise: distance of an item from its theme.
        user_noise: distance of a user's taste from the followed themes.
        season_strength: amplitude of a theme's seasons.
        season_length: (shortest, longest) share of the span that a season takes.
        season_spread: standard deviation, in seasons, of a user's own phase around the theme's.
        drift: quarter turns that a theme makes over the span, at most.
        first_visit: mean number of items in a user's first burst.
        later_visit: mean number of items in each later burst.
        visit_spread: standard deviation of the logarithm of a burst's mean, between users.
        loyal_users: share of the users who return at all.
        return_gap: median share of the span between two bursts of a user.
    """

    num_users: int = 2_000
    num_items: int = 1_000
    first_day: str = "2024-01-01"
    num_days: int = 730
    num_factors: int = 24
    num_themes: int = 40
    themes_per_user: int = 3
    zipf_exponent: float = 1.0
    old_items: float = 0.82
    lasting_items: float = 0.85
    item_life: tuple[float, float] = (0.15, 0.6)
    focus: float = 9.0
    item_noise: float = 0.5
    user_noise: float = 0.3
    season_strength: float = 0.8
    season_length: tuple[float, float] = (0.2, 0.6)
    season_spread: float = 0.2
    drift: float = 1.0
    first_visit: float = 41.0
    later_visit: float = 22.0
    visit_spread: float = 0.6
    loyal_users: float = 0.5
    mean_returns: float = 3.0
    return_gap: float = 0.1


@dataclass(frozen=True)
class SyntheticLog:
    """A generated log, in the order of time: int32 users and items from 1, int64 Unix seconds."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64]


@dataclass(frozen=True)
class _Items:
    """The catalogue: vectors `(n, f)`, log-popularity `(n,)`, first and last moment `(n,)`."""

    vectors: NDArray[np.float64]
    log_popularity: NDArray[np.float64]
    born: NDArray[np.float64]
    gone: NDArray[np.float64]


@dataclass(frozen=True)
class _Themes:
    """Each theme turns from `here` towards `there` (k, f), and swells with the seasons (k,)."""

    here: NDArray[np.float64]
    there: NDArray[np.float64]
    turns: NDArray[np.float64]
    season: NDArray[np.float64]
    phase: NDArray[np.float64]


@dataclass(frozen=True)
class _Visits:
    """Bursts of activity: user, moment, number of items, number within the user; `(v,)` each."""

    user: NDArray[np.int64]
    moment: NDArray[np.float64]
    size: NDArray[np.int64]
    turn: NDArray[np.int64]


def generate(settings: SyntheticSettings, seed: int) -> SyntheticLog:
    """Draw a log from a latent-factor model of arriving, returning and departing users.

    - *Themes* are directions in an f-dimensional space. A theme's audience swells and ebbs
      periodically, so tastes that have gone come back; and a theme turns towards another direction
      over the span, so what its followers like drifts.
    - *Items* lie near one theme each, have Zipf popularity, and many arrive late or leave early.
    - *Users* follow a few themes, arrive throughout the span, and act in bursts: a long first one,
      and for some a number of later ones after gaps of very different length.
    - A *burst* of user u at moment t draws its items without replacement, and none that u has had,
      with probability ∝ popularity_i · exp(focus · ⟨taste_u(t), v_i⟩) among the items there at t.
      taste_u(t) is the mean of u's themes, each weighted by u's interest and the theme's season,
      plus u's own fixed deviation.

    Forgetting costs something here because the items that occur together in one period show what
    their followers like when the season returns. No model of this project has any part in the
    generator.
    """
    rng = np.random.default_rng(seed)
    themes = _draw_themes(settings, rng)
    items = _draw_items(settings, themes, rng)
    visits = _draw_visits(settings, rng)
    tastes = _draw_tastes(settings, themes, visits, rng)
    rows, columns = _draw_choices(settings, items, visits, tastes, rng)
    times = _draw_times(settings, visits, rows, rng)
    order = np.lexsort((columns, visits.user[rows], times))
    rows, columns = rows[order], columns[order]
    # Identifiers in random order, which reveals neither popularity nor theme.
    user_names = 1 + rng.permutation(settings.num_users)
    item_names = 1 + rng.permutation(settings.num_items)
    return SyntheticLog(
        users=user_names[visits.user[rows]].astype(np.int32),
        items=item_names[columns].astype(np.int32),
        times=times[order],
    )


def _draw_themes(settings: SyntheticSettings, rng: np.random.Generator) -> _Themes:
    """Draw directions, the turn of each, and its season."""
    shape = (settings.num_themes, settings.num_factors)
    here = _unit(rng.standard_normal(shape))
    there = rng.standard_normal(shape)
    there = _unit(there - np.sum(there * here, axis=1, keepdims=True) * here)
    return _Themes(
        here=here,
        there=there,
        turns=rng.uniform(0.0, settings.drift, settings.num_themes),
        season=rng.uniform(*settings.season_length, settings.num_themes),
        phase=rng.uniform(0.0, 1.0, settings.num_themes),
    )


def _draw_items(settings: SyntheticSettings, themes: _Themes, rng: np.random.Generator) -> _Items:
    """Draw a catalogue, in the order of popularity."""
    n = settings.num_items
    theme = rng.integers(settings.num_themes, size=n)
    born = np.where(rng.random(n) < settings.old_items, 0.0, rng.uniform(0.0, 0.95, n))
    # Items lie near the direction of their theme at the time of their arrival.
    direction = _turn(themes, rng.uniform(born, 1.0))[np.arange(n), theme]
    noise = rng.standard_normal((n, settings.num_factors)) / np.sqrt(settings.num_factors)
    stays = rng.random(n) < settings.lasting_items
    return _Items(
        vectors=_unit(direction + settings.item_noise * noise),
        log_popularity=-settings.zipf_exponent * np.log(np.arange(1, n + 1)),
        born=born,
        gone=np.where(stays, np.inf, born + rng.uniform(*settings.item_life, n)),
    )


def _draw_visits(settings: SyntheticSettings, rng: np.random.Generator) -> _Visits:
    """Draw the bursts of each user; bursts after the end of the span are dropped."""
    n = settings.num_users
    loyal = rng.random(n) < settings.loyal_users
    returns = np.where(loyal, rng.geometric(1.0 / settings.mean_returns, n), 0)
    user = np.repeat(np.arange(n), returns + 1)
    turn = np.arange(len(user)) - np.repeat(np.cumsum(returns + 1) - returns - 1, returns + 1)
    # Gaps of very different length: days for some, a good part of the span for others.
    gap = rng.lognormal(np.log(settings.return_gap), 1.0, len(user))
    step = np.where(turn == 0, rng.uniform(0.0, 1.0, n)[user], np.maximum(gap, 0.003))
    total = np.cumsum(step)
    first = np.flatnonzero(turn == 0)
    moment = total - (total[first] - step[first])[user]
    activity = rng.lognormal(-0.5 * settings.visit_spread**2, settings.visit_spread, n)[user]
    mean = activity * np.where(turn == 0, settings.first_visit, settings.later_visit)
    size = np.maximum(1, rng.poisson(mean))
    kept = moment < 1.0
    return _Visits(user[kept], moment[kept], size[kept], turn[kept])


def _draw_tastes(
    settings: SyntheticSettings, themes: _Themes, visits: _Visits, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Compute the taste of each burst: `(v, f)` float64."""
    n, k = settings.num_users, settings.num_themes
    order = np.argsort(rng.random((n, k)), axis=1)[:, : settings.themes_per_user]
    interest = np.zeros((n, k))
    share = rng.dirichlet(np.ones(settings.themes_per_user), n)
    np.put_along_axis(interest, order, share, axis=1)
    own = rng.standard_normal((n, settings.num_factors)) / np.sqrt(settings.num_factors)

    phase = themes.phase + settings.season_spread * rng.standard_normal((n, k))
    swell = np.cos(2.0 * np.pi * (visits.moment[:, None] / themes.season + phase[visits.user]))
    weight = interest[visits.user] * np.exp(settings.season_strength * swell)
    weight /= weight.sum(axis=1, keepdims=True)
    followed: NDArray[np.float64] = np.einsum("vk,vkf->vf", weight, _turn(themes, visits.moment))
    tastes: NDArray[np.float64] = followed + settings.user_noise * own[visits.user]
    return tastes


def _draw_choices(
    settings: SyntheticSettings,
    items: _Items,
    visits: _Visits,
    tastes: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the items of each burst: two `(n,)` arrays, the burst and the item.

    The largest of log-weights plus Gumbel noise are a draw without replacement (Gumbel top-k). All
    first bursts are drawn together, then all second ones, which depend on those before.
    """
    had = np.zeros((settings.num_users, settings.num_items), dtype=np.bool_)
    rows, columns = [], []
    for turn in range(int(visits.turn.max()) + 1):
        burst = np.flatnonzero(visits.turn == turn)
        user, moment = visits.user[burst], visits.moment[burst, None]
        utility = items.log_popularity + settings.focus * (tastes[burst] @ items.vectors.T)
        utility += rng.gumbel(size=utility.shape)
        there = (items.born <= moment) & (moment < items.gone) & ~had[user]
        utility[~there] = -np.inf
        ranking = np.argsort(-utility, axis=1, kind="stable")
        size = np.minimum(visits.size[burst], there.sum(axis=1))
        row, place = np.nonzero(np.arange(settings.num_items) < size[:, None])
        column = ranking[row, place]
        had[user[row], column] = True
        rows.append(burst[row])
        columns.append(column)
    return np.concatenate(rows), np.concatenate(columns)


def _draw_times(
    settings: SyntheticSettings, visits: _Visits, rows: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw Unix seconds `(n,)`: a burst's items are minutes apart, in random order."""
    start = int(np.datetime64(settings.first_day, "s").astype(np.int64))
    length = settings.num_days * _DAY
    begin = start + (visits.moment * length).astype(np.int64)
    pause = np.maximum(1, rng.exponential(150.0, len(rows))).astype(np.int64)
    order = np.lexsort((rng.random(len(rows)), rows))
    elapsed = np.cumsum(pause[order])
    firsts = np.flatnonzero(np.concatenate(([True], np.diff(rows[order]) > 0)))
    sizes = np.diff(np.append(firsts, len(rows)))
    elapsed -= np.repeat(elapsed[firsts], sizes)
    times = np.empty(len(rows), dtype=np.int64)
    times[order] = begin[rows[order]] + elapsed
    return times


def _turn(themes: _Themes, moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the direction of each theme at each moment: `(n, k, f)` float64."""
    angle = 0.5 * np.pi * themes.turns * moments[:, None]
    return np.cos(angle)[..., None] * themes.here + np.sin(angle)[..., None] * themes.there


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths
