"""Class probabilities of one spread → one class each, jointly: deviations from a normal set have a price.

Each class has slots: its normal members, whose filling saves the price of a missing member, and further
ones, each dearer than the one before. Nothing is forbidden, so a trisomy costs its price and no more. Slots
turn the question into a rectangular assignment problem (Kuhn 1955), solved by shortest augmenting paths
(Jonker and Volgenant 1987) for both normal sex complements; the cheaper one wins.

The likeliest cell as a whole is not the one with the fewest wrong classes: `settle_classes` assigns once
more, over the expected errors of the joint posterior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.analysis import CHROMOSOME_LABELS
from appliance.karyotype.settings import ClassSettings

_X = CHROMOSOME_LABELS.index("X")
_Y = CHROMOSOME_LABELS.index("Y")
_EXTRA_SLOTS = 3
_MAX_NATS = 30.0
_NATS_PER_ERROR = 20.0
"""Prices weigh this much less against expected errors: the posterior has them in it already, here they only
keep ties from leaving a class empty. Chosen on validation spreads from 5, 10 and 20."""


def assign_classes(probabilities: NDArray[np.float64], settings: ClassSettings) -> NDArray[np.intp]:
    """Give every object of a spread one class, so that the whole costs least.

    Args:
        probabilities: (N, 24), rows sum to 1.
        settings: prices of deviations, in nats.

    Returns:
        (N,) indices into `CHROMOSOME_LABELS`.
    """
    number, classes = probabilities.shape
    unlikely = np.minimum(-np.log(np.maximum(probabilities, 1e-300)), _MAX_NATS)
    answers = []
    for normal_x, normal_y in ((2, 0), (1, 1)):
        normal = np.full(classes, 2, dtype=np.intp)
        normal[_X], normal[_Y] = normal_x, normal_y
        owner, price = _slots(normal, number, settings)
        cost = unlikely[:, owner] + price
        chosen = minimum_cost_assignment(cost)
        # Both complements have 46 normal members, so their sums can be compared as they are.
        answers.append((float(cost[np.arange(number), chosen].sum()), owner[chosen]))
    return min(answers, key=lambda answer: answer[0])[1]


def nearest_normal(classes: NDArray[np.intp]) -> NDArray[np.intp]:
    """(24,) members of each class in the nearest normal cell: XY where there is a Y, else XX."""
    normal = np.full(len(CHROMOSOME_LABELS), 2, dtype=np.intp)
    normal[_X], normal[_Y] = (1, 1) if (classes == _Y).any() else (2, 0)
    return normal


def settle_classes(
    posterior: NDArray[np.float64], normal: NDArray[np.intp], settings: ClassSettings
) -> NDArray[np.intp]:
    """Give every object one class, so that the fewest are expected to be wrong.

    Args:
        posterior: (N, 24) of `joint_posterior`.
        normal: (24,) of `nearest_normal`.
        settings: prices of deviations, in nats.

    Returns:
        (N,) indices into `CHROMOSOME_LABELS`.
    """
    number = len(posterior)
    owner, price = _slots(normal, number, settings)
    cost = (1.0 - posterior)[:, owner] + price / _NATS_PER_ERROR
    return owner[minimum_cost_assignment(cost)]


def _slots(
    normal: NDArray[np.intp], objects: int, settings: ClassSettings
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Owner class and price of every slot; enough of them that every object finds one."""
    extra = max(_EXTRA_SLOTS, -(-objects // len(normal)) - int(normal.min()) + 1)
    owner, price = [], []
    for index, members in enumerate(normal):
        for _ in range(int(members)):
            owner.append(index)
            price.append(-settings.missing_member_price)
        for further in range(extra):
            owner.append(index)
            price.append(settings.extra_member_price * float(2 ** min(further, 4)))
    return np.array(owner, dtype=np.intp), np.array(price, dtype=np.float64)


def minimum_cost_assignment(cost: NDArray[np.float64]) -> NDArray[np.intp]:
    """Give each row its own column so that the sum of the costs is least.

    Args:
        cost: (rows, columns), finite, at least as many columns as rows.

    Returns:
        (rows,) the column of each row.

    Raises:
        ValueError: with fewer columns than rows, or a cost that is not finite.
    """
    rows, columns = cost.shape
    if columns < rows:
        raise ValueError(f"expected at least {rows} columns for {rows} rows and got {columns}")
    if not np.isfinite(cost).all():
        raise ValueError("expected finite costs and got infinity or NaN")
    row_dual = cost.min(axis=1)
    column_dual = np.zeros(columns)
    row_of = np.full(columns, -1, dtype=np.intp)
    for start in _claim_cheapest(cost, row_dual, row_of):
        distance = np.full(columns, np.inf)
        before = np.full(columns, -1, dtype=np.intp)  # column visited before, -1 for the start
        done = np.zeros(columns, dtype=bool)
        visited: list[int] = []
        row, last, reached = start, -1, 0.0
        while True:
            # Shortest path over reduced costs, Dijkstra's step from `row`.
            through = reached + cost[row] - row_dual[row] - column_dual
            closer = ~done & (through < distance)
            distance[closer] = through[closer]
            before[closer] = last
            open_distance = np.where(done, np.inf, distance)
            column = int(np.argmin(open_distance))
            reached = float(open_distance[column])
            done[column] = True
            visited.append(column)
            if row_of[column] < 0:
                break
            row, last = int(row_of[column]), column
        row_dual[start] += reached
        for seen in visited[:-1]:
            slack = reached - distance[seen]
            row_dual[row_of[seen]] += slack
            column_dual[seen] -= slack
        while column >= 0:
            previous = int(before[column])
            row_of[column] = row_of[previous] if previous >= 0 else start
            column = previous
    answer = np.empty(rows, dtype=np.intp)
    taken = np.flatnonzero(row_of >= 0)
    answer[row_of[taken]] = taken
    return answer


def _claim_cheapest(
    cost: NDArray[np.float64], cheapest: NDArray[np.float64], row_of: NDArray[np.intp]
) -> list[int]:
    """Give each row, in `row_of`, a free column of its lowest cost; the rows that found none are returned.

    With the rows' lowest costs as their duals this is a valid start of the search, and in a normal cell it
    leaves only the few objects that compete for a class.
    """
    left = []
    for row in range(cost.shape[0]):
        free = np.flatnonzero((cost[row] <= cheapest[row]) & (row_of < 0))
        if free.size:
            row_of[free[0]] = row
        else:
            left.append(row)
    return left
