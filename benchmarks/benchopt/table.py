"""Print a table, and draw a figure, of what benchopt measured: table.py RESULTS.parquet FIGURE.png.

Each run of a solver starts anew, so a point is the time and the objective of one run.
"""

import sys

import matplotlib.pyplot as plt
import pandas as pd

LEVELS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-8)  # above the least objective that any solver found


def main():
    results = pd.read_parquet(sys.argv[1])
    groups = list(results.groupby("p_obj_reg"))[::-1]
    figure, panels = plt.subplots(1, len(groups), figsize=(4 * len(groups), 3.5), sharey=True)
    show(["lambda / largest", "solver", *(f"{level:.0e}" for level in LEVELS)])
    show(["---"] * (2 + len(LEVELS)))
    for axes, (share, group) in zip(panels, groups, strict=True):
        above = group["objective_value"] / group["objective_value"].min() - 1
        for name, runs in group.assign(above=above).groupby("solver_name"):
            times = [runs["time"][runs["above"] <= level].min() for level in LEVELS]
            show([f"{share:g}", name, *("" if pd.isna(one) else f"{one:.2f}" for one in times)])
            axes.loglog(runs["time"], runs["above"].clip(lower=1e-10), ".-", label=name)
        axes.set(xlabel="seconds", title=f"lambda: {share:g} of the largest", xlim=(0.02, None))
    panels[0].set_ylabel("objective above the least (relative)")
    panels[0].legend(fontsize=7, loc="lower left")
    figure.savefig(sys.argv[2], dpi=80, bbox_inches="tight")


def show(cells):
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
