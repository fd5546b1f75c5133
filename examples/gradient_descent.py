"""Gradient descent on R(beta) = sin(beta) + beta / 10, from two beginnings (ISLP, exercise 6).

Prints where each descent ends, and draws all steps on the curve: python gradient_descent.py
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

LEARNING_RATE = 0.1
BEGINNINGS = (2.3, 1.4)
SMALLEST_STEP = 1e-6  # a shorter one ends the descent


def risk(beta):
    return np.sin(beta) + beta / 10


def derivative(beta):
    return np.cos(beta) + 1 / 10


def descend(beta):
    """Return beta after each step, the first one before it."""
    betas = [beta]
    while abs(LEARNING_RATE * derivative(betas[-1])) > SMALLEST_STEP:
        betas.append(betas[-1] - LEARNING_RATE * derivative(betas[-1]))
    return np.array(betas)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="gradient_descent.png", help="of the figure")
    options = parser.parse_args()

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    curve = np.linspace(-6, 6, 400)
    axes.plot(curve, risk(curve), color="grey")
    for beginning in BEGINNINGS:
        betas = descend(beginning)
        ends = f"{len(betas) - 1} steps to {betas[-1]:.4f}, where R is {risk(betas[-1]):.4f}"
        print(f"from {beginning}: {ends}")
        axes.plot(betas, risk(betas), "o", markersize=4, alpha=0.6, label=f"from {beginning}")
    axes.set(xlabel=r"$\beta$", ylabel=r"$R(\beta) = \sin(\beta) + \beta\,/\,10$")
    axes.legend()
    figure.savefig(options.out, dpi=120)


if __name__ == "__main__":
    main()
