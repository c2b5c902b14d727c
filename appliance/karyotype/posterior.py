"""How sure each class is once the whole cell is known: posterior marginals of the joint model.

A classifier's own probability says nothing about the rest of the cell, and the class that the joint
assignment chose is not a draw from it: taken together they are neither calibrated nor fair to the
alternatives. Here the same model as in `assignment` (class probabilities of each object times a price for
each class's number of members) is summed over instead of maximised: sum-product messages between objects and
the 24 cardinality factors (Tarlow, Givoni and Zemel, AISTATS 2010), whose inner sums are coefficients of a
product of polynomials, computed as a balanced tree (Tarlow et al., UAI 2012).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.karyotype.settings import ClassSettings

_MOST_MEMBERS = 4
"""Of one class that the sums distinguish; a fifth would cost 24 nats and more."""
_ROUNDS = 3
"""Of messages; on validation spreads three rounds and twenty give the same negative log-likelihood."""
_LEAST = 1e-6
"""Probability below which the classifier is not believed to rule a class out."""


def joint_posterior(
    probabilities: NDArray[np.float64], normal: NDArray[np.intp], settings: ClassSettings
) -> NDArray[np.float64]:
    """Probability of each class for each object, given all other objects of the cell.

    Args:
        probabilities: (N, 24) of the classifier, calibrated, rows sum to 1.
        normal: (24,) members of each class in the normal cell that this one is nearest to.
        settings: prices of deviations, in nats.

    Returns:
        (N, 24), rows sum to 1.
    """
    own = np.maximum(probabilities, _LEAST)
    own /= own.sum(axis=1, keepdims=True)
    weights = _weights(normal, settings)
    message = np.ones_like(own)
    for _ in range(_ROUNDS):
        believed = own * message
        # Without the message of the factor that is being asked: on against off.
        on = own / (believed.sum(axis=1, keepdims=True) - believed + own)
        others = _others(on)
        with_it = (others[..., :-1] * weights[:, 1:]).sum(axis=2)
        without = (others * weights).sum(axis=2)
        message = with_it / np.maximum(without, 1e-300)
    posterior = own * message
    return np.asarray(posterior / posterior.sum(axis=1, keepdims=True), dtype=np.float64)


def _weights(normal: NDArray[np.intp], settings: ClassSettings) -> NDArray[np.float64]:
    """(24, members + 1) what each number of members of a class weighs."""
    numbers = np.arange(_MOST_MEMBERS + 1)
    missing = np.maximum(normal[:, None] - numbers, 0)
    extra = np.maximum(numbers - normal[:, None], 0)
    # The first further member costs the price once, the next twice that, then four times that, as in slots.
    price = missing * settings.missing_member_price + (2.0**extra - 1.0) * settings.extra_member_price
    return np.asarray(np.exp(-price), dtype=np.float64)


def _others(on: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 24, members + 1) distribution of the number of members among all other objects, cut off."""
    number, classes = on.shape
    size = 1 << max(number - 1, 0).bit_length()
    leaves = np.zeros((size, classes, _MOST_MEMBERS + 1))
    leaves[:, :, 0] = 1.0
    leaves[:number, :, 0] = 1.0 - on
    leaves[:number, :, 1] = on
    levels = [leaves]
    while len(levels[-1]) > 1:
        levels.append(_product(levels[-1][0::2], levels[-1][1::2]))
    outside = np.zeros((1, classes, _MOST_MEMBERS + 1))
    outside[..., 0] = 1.0
    for level in reversed(levels[:-1]):
        below = np.empty_like(level)
        below[0::2] = _product(outside, level[1::2])
        below[1::2] = _product(outside, level[0::2])
        outside = below
    return outside[:number]


def _product(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Products of polynomials (…, degree + 1), cut off at the same degree."""
    terms = first.shape[-1]
    product = first * second[..., :1]
    for degree in range(1, terms):
        product[..., degree:] += first[..., : terms - degree] * second[..., degree : degree + 1]
    return product
