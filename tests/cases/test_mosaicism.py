from __future__ import annotations

import pytest

from appliance.cases.mosaicism import cells_to_exclude, excluded_share


@pytest.mark.parametrize(
    ("cells", "percent"), [(5, 45.1), (10, 25.9), (15, 18.1), (20, 13.9), (30, 9.5), (50, 5.8), (100, 3.0)]
)
def test_the_values_of_the_published_table(cells: int, percent: float) -> None:
    assert excluded_share(cells) * 100 == pytest.approx(percent, abs=0.1)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.139, 0.2, 0.5])
def test_cells_are_enough_and_one_fewer_is_not(share: float) -> None:
    cells = cells_to_exclude(share)
    assert excluded_share(cells) <= share
    assert excluded_share(cells - 1) > share


def test_ten_percent_takes_29_cells() -> None:
    assert cells_to_exclude(0.10) == 29


def test_another_confidence() -> None:
    assert excluded_share(20, 0.99) == pytest.approx(0.2057, abs=1e-4)


def test_no_cell_excludes_nothing() -> None:
    with pytest.raises(ValueError, match="at least one cell"):
        excluded_share(0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        cells_to_exclude(share)
