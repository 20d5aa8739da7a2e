"""Charts: every bar in its place, every grid line at a round value."""

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpriv import portal
from cloudpriv.portal import charts

VALUES = st.lists(st.tuples(st.integers(0, 10**15), st.integers(0, 10**15)), min_size=1, max_size=84)


@given(VALUES)
def test_no_bar_leaves_the_drawing_and_none_that_counts_is_missing(values: list[tuple[int, int]]) -> None:
    chart = charts.stacked(values)
    assert len(chart.bars) == sum(part > 0 for pair in values for part in pair)
    for bar in chart.bars:
        assert chart.left <= bar.x
        assert bar.x + bar.width <= chart.width
        assert bar.y >= 0
        assert bar.height >= 1
        assert bar.y + bar.height <= chart.floor + 0.1


@given(VALUES)
def test_the_upper_part_stands_on_the_lower(values: list[tuple[int, int]]) -> None:
    at: dict[float, list[charts.Bar]] = {}
    for bar in charts.stacked(values).bars:
        at.setdefault(bar.x, []).append(bar)
    for bars in at.values():
        if len(bars) == 2:
            lower, upper = bars
            assert (lower.kind, upper.kind) == ("from", "to")
            assert upper.y + upper.height == pytest.approx(lower.y, abs=0.2)


@given(st.integers(0, 10**18))
def test_the_ceiling_is_round_and_not_far_off(highest: int) -> None:
    ceiling = charts.nice_ceiling(highest)
    assert ceiling % charts.LINES == 0
    assert str(ceiling).rstrip("0") in {"4", "8", "2"}
    assert highest <= ceiling <= max(4, highest * 2.5)


def test_heights_are_in_proportion() -> None:
    one, two = charts.stacked([(40, 0), (80, 0)]).bars
    assert two.height == pytest.approx(2 * one.height, abs=0.2)
    assert [line.value for line in charts.stacked([(40, 40)]).lines] == [0, 20, 40, 60, 80]


def test_the_latest_month_has_its_name_and_names_do_not_touch() -> None:
    chart = charts.stacked([(1, 1)] * 84)
    assert chart.months[0].value == 83
    assert len(chart.months) <= charts.MOST_LABELS
    assert charts.stacked([(1, 1)] * 3).months[-1].value == 0


def test_a_few_months_are_narrow_bars_that_a_phone_shows_without_scrolling() -> None:
    for number in (1, 2, 3):
        bars = charts.stacked([(1, 1)] * number).bars
        assert all(bar.width <= 72 for bar in bars)
        assert max(bar.x + bar.width for bar in bars) * 34 * 16 / charts.WIDTH < 300  # the drawing is 34rem wide there


def test_where_a_phone_shows_a_part_alone_it_is_the_latest_months() -> None:
    assert [number for number in range(1, 13) if not charts.stacked([(1, 1)] * number).is_long] == [1, 2, 3]
    style = (files(portal) / "static" / "portal.css").read_text()
    assert ".from-end { direction: rtl; }" in style, "it scrolls from its right end"


def test_a_year_takes_the_whole_width() -> None:
    assert charts.stacked([(1, 1)] * 12).bars[-1].x > charts.WIDTH - 72


def test_nothing_is_an_empty_grid() -> None:
    assert charts.stacked([]).bars == []
    assert charts.stacked([(0, 0)]).bars == []
