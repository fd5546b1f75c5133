"""Hold scikit-learn's boosted trees as plain arrays, and predict by them as scikit-learn does.

Only a pickle holds scikit-learn's own objects, and it could run code. The arrays hold no training
rows, and every version of scikit-learn, or none, can predict by them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.array_cache import Array
from dlrun.errors import DataError
from dlrun.tables.encoding import Matrix

NONE = -1  # in place of the index of a node or of a set of levels
BITS = 32  # of a word in scikit-learn's sets of levels
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Trees:
    """Holds boosted trees, whose leaves add up to the output of a row.

    baseline: what is added to each output (outputs,).
    roots: the root of the tree that each step adds to each output (steps, outputs), as the index of
    a node.

    Of each node (nodes,):
    value: what a leaf adds.
    left, right: the nodes for rows that go left or right; NONE of a leaf.
    column: of the matrix, which decides where a row goes.
    threshold: smaller numbers and equal ones go left.
    levels: the row of `left_levels`, by which the levels of a category go left; NONE for numbers.
    gaps_go_left: whether rows without a value go left.

    left_levels: whether the level with a number goes left (sets, numbers).
    """

    baseline: Matrix
    roots: Indices
    value: Matrix
    left: Indices
    right: Indices
    column: Indices
    threshold: Matrix
    levels: Indices
    gaps_go_left: Array
    left_levels: Array

    @classmethod
    def of_estimator(cls, estimator: Any, is_category: Array) -> "Trees":
        """Take the trees out of a fitted HistGradientBoosting estimator.

        is_category: which columns of the matrix number the levels of a category (columns,).
        """
        trees = [tree for step in estimator._predictors for tree in step]
        sizes = [len(tree.nodes) for tree in trees]
        first_nodes = np.cumsum([0, *sizes[:-1]])
        sets = [len(tree.raw_left_cat_bitsets) for tree in trees]
        first_sets = np.cumsum([0, *sets[:-1]])
        nodes = np.concatenate([tree.nodes for tree in trees])
        first_node = np.repeat(first_nodes, sizes)
        first_set = np.repeat(first_sets, sizes)
        is_inner = nodes["is_leaf"] == 0
        is_by_level = is_inner & (nodes["is_categorical"] != 0)
        # scikit-learn moves the columns of categories to the front.
        columns = np.concatenate([np.flatnonzero(is_category), np.flatnonzero(~is_category)])
        words = np.concatenate([tree.raw_left_cat_bitsets for tree in trees])
        bits = words[:, :, None] >> np.arange(BITS, dtype=words.dtype) & 1
        return cls(
            baseline=np.array(estimator._baseline_prediction, np.float64).ravel(),
            roots=first_nodes.reshape(len(estimator._predictors), -1),
            value=nodes["value"],
            left=np.where(is_inner, first_node + nodes["left"], NONE),
            right=np.where(is_inner, first_node + nodes["right"], NONE),
            column=columns[nodes["feature_idx"]],
            threshold=nodes["num_threshold"],
            levels=np.where(is_by_level, first_set + nodes["bitset_idx"], NONE),
            gaps_go_left=nodes["missing_go_to_left"] != 0,
            left_levels=bits.reshape(len(words), BITS * words.shape[1]) != 0,
        )

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> "Trees":
        """Take trees from the arrays of a file. Raises DataError if they are no trees."""
        trees = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        is_inner = trees.left != NONE
        # A node stands before its children, so that every row arrives at a leaf.
        for children in (trees.left, trees.right):
            comes_later = children > np.arange(len(children))
            if not (comes_later & (children < len(children)))[is_inner].all():
                raise DataError("the model's trees are damaged", "run it again")
        return trees

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays by their names, for a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def predict(self, rows: Matrix) -> Matrix:
        """Return the outputs (n, outputs) for rows (n, columns): values, or logits of classes."""
        outputs = np.tile(self.baseline, (len(rows), 1))
        for roots in self.roots:
            for output, root in enumerate(roots):
                outputs[:, output] += self.value[self._find_leaves(root, rows)]
        return outputs

    def _find_leaves(self, root: int, rows: Matrix) -> Indices:
        """Return the leaf of a tree at which each row arrives (n,)."""
        nodes = np.full(len(rows), root)
        moving = np.arange(len(rows))  # the rows that have not arrived
        while True:
            moving = moving[self.left[nodes[moving]] != NONE]
            if not len(moving):
                return nodes
            at = nodes[moving]
            values = rows[moving, self.column[at]]
            goes_left = values <= self.threshold[at]
            by_level = np.flatnonzero(self.levels[at] != NONE)
            if len(by_level):
                numbers = np.nan_to_num(values[by_level]).astype(np.int64)
                goes_left[by_level] = self.left_levels[self.levels[at[by_level]], numbers]
            goes_left = np.where(np.isnan(values), self.gaps_go_left[at], goes_left)
            nodes[moving] = np.where(goes_left, self.left[at], self.right[at])
