"""Picture of a privacy audit: nearness of synthetic users, and membership inference."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perennial.replay.privacy_audit import Audit
from perennial.replay.report.lines import COLOURS, STYLE
from perennial.storage.errors import UserError


def save_audit_plot(audit: Audit, path: Path) -> None:
    """Draw both halves of an audit side by side; the file's ending gives the format."""
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 4), layout="constrained")
        near, member = figure.subplots(1, 2)
        _draw_nearness(near, audit)
        _draw_membership(member, audit)
        try:
            figure.savefig(path, dpi=130)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be written ({error}); name another file") from error


def _draw_nearness(axes: Axes, audit: Audit) -> None:
    lines = {
        "synthetic user to real": (audit.nearness.synthetic, "-"),
        "real user to the other half": (audit.nearness.real, "--"),
    }
    for (label, (values, dash)), (colour, _) in zip(lines.items(), COLOURS, strict=False):
        if len(values):
            at = np.sort(values)
            share = 100 * np.arange(1, len(at) + 1) / len(at)
            axes.step(at, share, where="post", color=colour, linestyle=dash, label=label)
    axes.set_title("Nearest user")
    axes.set_xlabel("Jaccard similarity to the nearest")
    axes.set_ylabel("% of users at or below")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 104)
    axes.legend(loc="lower right")


def _draw_membership(axes: Axes, audit: Audit) -> None:
    """Draw the AUC of each attack with its interval; 0.5 is chance."""
    axes.axhline(0.5, color=COLOURS[6][0], linewidth=1, linestyle=":")
    for place, test in enumerate(audit.membership):
        colour = COLOURS[place][0]
        axes.vlines(place, test.low, test.high, color=colour)
        axes.plot(place, test.auc, "os"[place % 2], color=colour)
        axes.annotate(
            f"{test.auc:.2f}", (place, test.auc), xytext=(9, 0), textcoords="offset points"
        )
    axes.set_title("Membership inference")
    axes.set_xlabel("inferred from")
    axes.set_xticks(range(len(audit.membership)), [one.similarity for one in audit.membership])
    axes.set_xlim(-0.6, len(audit.membership) - 0.4)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("AUC, 95% interval (0.5: chance)")
