"""The mean of two networks' weights: ``python hpc/segmentation/mean_weights.py MODEL MODEL -o MODEL``.

Of a network and one it was trained on from, the mean is often better on scans unlike both's training than either.

Reference: Wortsman et al., Model soups, ICML 2022, https://arxiv.org/abs/2203.05482.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.segmentation.network import Model, load, save


def mean_of(first: Model, second: Model) -> Model:
    """The mean; its card is the second's, which says what it was begun with.

    Raises:
        ValueError: Networks of different designs.
    """
    if first.design != second.design:
        raise ValueError(f"two designs: {first.design} and {second.design}")
    weights, other = first.network.state_dict(), second.network.state_dict()
    second.network.load_state_dict({k: 0.5 * (weights[k] + other[k]) for k in weights})
    card = second.card | {"mean_with": {"done": first.card.get("done")}}
    return Model(second.network, second.design, card)


def main() -> None:
    """Read two, write one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    first, second = (load(path) for path in args.models)
    save(mean_of(first, second), args.output)


if __name__ == "__main__":
    main()
