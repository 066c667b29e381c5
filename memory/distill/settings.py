"""Settings of a distillation."""

from dataclasses import dataclass
from typing import Any, Literal

Method = Literal["sparse", "paper"]
"""Parameters: weights that are sparse at every step, or the paper's Gumbel-sampled prior."""

Loss = Literal["cosine", "multinomial", "bernoulli"]
"""Outer loss of the predictions against their targets."""

Export = Literal["soft", "hard"]
"""Values of the stored rows: the support's weights, or ones."""

Sampler = Literal["auto", "exact", "matched"]
"""Sampler of the paper's method; `auto` matches moments wherever that is accurate."""


@dataclass(frozen=True)
class DistillSettings:
    """The settings of DISTILL-CF (paper section 4; design note 3).

    Attributes:
        num_synthetic_users: μ.
        max_items: k, the most items that a stored synthetic user has; `None` for no bound.
        method: `sparse`, or `paper` for the authors' own; see `paper` for its other settings.
        export: `soft` keeps weights in (0, 1], `hard` makes them 1.
        loss: the outer loss; the paper prints `bernoulli`, its authors' code has `multinomial`.
        guide: share of the leave-one-out predictions of ∞-AE in the targets; 0 takes the users' own
            rows, as the paper does.
        guide_reg: λ of that ∞-AE.
        inner_reg: λ of the inner fit on the support.
        regs: grid of λ for the validation of a support.
        sparsity_weight: λ₂, weight of the L1 penalty.
        learning_rate: `sparse`: root mean square change of a kept entry in a step; `paper`: Adam's.
        num_steps: ξ, the most outer steps.
        batch_size: b, number of real users in a step.
        validate_every: number of steps between validations.
        patience: number of validations without a better one after which to stop.
        start_scale: `sparse`: factor of the initial rows, before they are clipped at 1.
        temperature: τ of `paper`, `num_samples` its γ.
    """

    num_synthetic_users: int = 500
    max_items: int | None = 200
    method: Method = "sparse"
    export: Export = "soft"
    loss: Loss = "cosine"
    guide: float = 0.9
    guide_reg: float = 5.0
    inner_reg: float = 4.0
    regs: tuple[float, ...] = (0.1, 0.3, 0.5, 1.0, 2.0, 5.0)
    sparsity_weight: float = 0.0
    learning_rate: float = 0.013
    num_steps: int = 100
    batch_size: int = 512
    validate_every: int = 25
    patience: int = 2
    start_scale: float = 4.0
    temperature: float = 10.0
    num_samples: int = 200
    sampler: Sampler = "auto"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        counts = {
            "num_synthetic_users": self.num_synthetic_users,
            "max_items": 1 if self.max_items is None else self.max_items,
            "num_steps": self.num_steps,
            "batch_size": self.batch_size,
            "validate_every": self.validate_every,
            "patience": self.patience,
            "num_samples": self.num_samples,
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1")
        for name in ("guide_reg", "inner_reg", "learning_rate", "start_scale", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive")
        if not 0 <= self.guide <= 1:
            raise ValueError("guide must lie between 0 and 1")
        if self.sparsity_weight < 0:
            raise ValueError("sparsity_weight must not be negative")
        if not self.regs or min(self.regs) <= 0:
            raise ValueError("regs must name at least one λ, and each must be positive")

    @classmethod
    def paper(cls, **changes: Any) -> "DistillSettings":
        """Return the authors' settings on ML-1M, with `changes`; the support is dense."""
        authors: dict[str, Any] = {
            "method": "paper",
            "max_items": None,
            "loss": "multinomial",
            "guide": 0.0,
            "inner_reg": 1e-3,
            "regs": (1e-5, 1e-3, 0.1, 1.0, 5.0, 50.0),
            "sparsity_weight": 1e-3,
            "learning_rate": 0.04,
            "num_steps": 500,
            "patience": 6,
        }
        return cls(**{**authors, **changes})
