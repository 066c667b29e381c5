"""Quality of a summary against time: `python -m benchmarks.distill_speed`.

The paper's method with its exact sampler (γ draws forward and again backward, as the authors' code
does) beside the moment-matched one and our default, on the paper's split of ML-1M, in one process,
with the same batch, dtype and stopping rule. For each: seconds a step, and the wall time until the
validation HR@100 first reaches the exact sampler's best, the start and all validations included,
compilation not: seventeen periods compile once.
Then one step of our default beside its matrix products alone. `--plot FILE` draws quality against
time.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve
from rich.console import Console
from rich.table import Table

from benchmarks import DATA
from perennial.memory.distill.loop import distill_with_holdout
from perennial.memory.distill.parametrisation import PARAMETRISATIONS
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.step import DeviceUsers, initial_state, outer_step
from perennial.memory.distill.summary import DistillStep
from perennial.models.base import Holdout, TrainingRows
from perennial.stream.random_split import read_paper_split


@dataclass
class Curve:
    """Validation HR@100 by wall time; a `DistillListener`."""

    began: float = field(default_factory=time.perf_counter)
    points: list[tuple[float, int, float]] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    _last: float = 0.0

    def __call__(self, event: DistillStep) -> None:
        """Note the time of a validation."""
        if event.validation is not None:
            seconds = time.perf_counter() - self.began
            self.points.append((seconds, event.step, event.validation))

    @property
    def best(self) -> float:
        """The best validation."""
        return max(value for _, _, value in self.points)

    def seconds_to(self, wanted: float) -> float | None:
        """Wall time until the validation first reaches `wanted`."""
        return next((at for at, _, value in self.points if value >= wanted), None)


def stop_at_first_step(event: DistillStep) -> None:
    """Interrupt after the first step, by when everything is compiled."""
    if event.step == 1:
        raise KeyboardInterrupt


def seconds_of(work: Callable[[], object], runs: int = 5) -> float:
    """Median seconds of a call, compiled before."""
    jax.block_until_ready(work())
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        jax.block_until_ready(work())
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def step_seconds(settings: DistillSettings, users: DeviceUsers, runs: int) -> float:
    """Median seconds of one outer step."""
    method = PARAMETRISATIONS[settings.method]
    rows = users.rows[: settings.num_synthetic_users]
    parameters = method.initialise(rows, rows, settings)
    state = initial_state(parameters, settings, jax.random.key(0))
    kept = [state]

    def work() -> object:
        kept[0], loss = outer_step(kept[0], users, settings)
        return loss

    return seconds_of(work, runs)


def product_seconds(users: DeviceUsers, settings: DistillSettings) -> dict[str, float]:
    """Seconds of the matrix products of a step, one by one."""
    batch = users.rows[: settings.batch_size]
    support = jax.random.uniform(jax.random.key(1), (settings.num_synthetic_users, batch.shape[1]))
    shares = batch @ support.T
    gram = support @ support.T + batch.shape[1] * jnp.eye(len(support))
    small = jax.random.uniform(jax.random.key(2), gram.shape)
    times = jax.jit(lambda a, b: a @ b)
    across = jax.jit(lambda a, b: a @ b.T)
    down = jax.jit(lambda a, b: a.T @ b)
    solve = jax.jit(lambda k, b: cho_solve(cho_factor(k, lower=True), b.T).T)
    return {
        "K(batch, S): X Sᵀ": seconds_of(lambda: across(batch, support)),
        "K(S, S): S Sᵀ": seconds_of(lambda: across(support, support)),
        "solve": seconds_of(lambda: solve(gram, shares)),
        "scores: W S": seconds_of(lambda: times(shares, support)),
        "transposed: Wᵀ G": seconds_of(lambda: down(shares, batch)),
        "transposed: G Sᵀ": seconds_of(lambda: across(batch, support)),
        "transposed: solve": seconds_of(lambda: solve(gram, shares)),
        "transposed: dKᵀ X": seconds_of(lambda: down(shares, batch)),
        "transposed: dK S": seconds_of(lambda: times(small, support)),
    }


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Quality against time."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (name, curve), marker in zip(curves.items(), "osD^", strict=False):
        at, _, value = zip(*curve.points, strict=True)
        axes.plot(at, value, marker=marker, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("seconds, start and validations included")
    axes.set_ylabel("validation HR@100")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--steps", type=int, default=75)
    parser.add_argument("--validate-every", type=int, default=10)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    split = read_paper_split(arguments.data / "ml-1m-paper-split.parquet", seed=arguments.seed)
    rows = TrainingRows.of_users(split.train)
    asked = split.validation
    judged = np.sort(
        np.random.default_rng(arguments.seed).choice(len(asked.users), 2000, replace=False)
    )
    held = Holdout(
        rows, asked.users[judged].astype(np.int64), asked.targets[judged][:, : rows.num_items]
    )
    stopping = {
        "num_steps": arguments.steps,
        "validate_every": arguments.validate_every,
        "patience": -(-50 // arguments.validate_every),
    }
    jobs = {
        "default": DistillSettings(**stopping),
        "paper, matched moments": DistillSettings.paper(sampler="matched", **stopping),
        "paper, exact sampler": DistillSettings.paper(sampler="exact", **stopping),
    }
    dense = jnp.asarray(rows.interactions[:1024].toarray())
    users = DeviceUsers(
        rows=dense,
        targets=dense,
        weights=jnp.ones(len(dense)),
        is_item=jnp.ones(dense.shape[1], bool),
        num_items=jnp.float32(dense.shape[1]),
        row_sum=jnp.float32(131),
    )
    console = Console(width=120)
    curves: dict[str, Curve] = {}
    steps: dict[str, float] = {}
    for name, settings in jobs.items():
        steps[name] = step_seconds(settings, users, 2 if "exact" in name else 9)
        distill_with_holdout(held, settings, arguments.seed, listener=stop_at_first_step)
        curves[name] = Curve()
        distill_with_holdout(held, settings, arguments.seed, listener=curves[name])
        console.print(
            name, [(round(at, 1), step, round(v, 2)) for at, step, v in curves[name].points]
        )
    wanted = curves["paper, exact sampler"].best
    reference = curves["paper, exact sampler"].seconds_to(wanted) or float("nan")
    table = Table(title=f"ML-1M, 500 synthetic users, until validation HR@100 is {wanted:.2f}")
    for column in ("", "seconds a step", "ratio", "best HR@100", "seconds until", "ratio"):
        table.add_column(column, justify="right")
    for name, curve in curves.items():
        until = curve.seconds_to(wanted)
        table.add_row(
            name,
            f"{steps[name]:.3f}",
            f"{steps['paper, exact sampler'] / steps[name]:.1f}",
            f"{curve.best:.2f}",
            "never" if until is None else f"{until:.1f}",
            "" if until is None else f"{reference / until:.1f}",
        )
    console.print(table)
    products = product_seconds(users, jobs["default"])
    total = sum(products.values())
    for name, seconds in products.items():
        console.print(f"{seconds:8.4f} s  {name}")
    console.print(
        f"{total:8.4f} s  all products; a step takes {steps['default'] / total:.2f} times that"
    )
    device = jax.devices()[0]
    console.print(f"measured on {device.device_kind} ({device.platform})")
    if device.platform == "cpu":
        console.print("GPU: none here; the same command uses one where JAX finds one")
    if arguments.plot:
        draw(curves, arguments.plot)


if __name__ == "__main__":
    main()
