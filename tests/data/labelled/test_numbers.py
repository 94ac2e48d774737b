"""Scores as tables write them."""

import math
from decimal import Decimal

import pytest

from textssl.data.labelled.numbers import number_of


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((1, 1.0), (-2.5, -2.5), ("3", 3.0), (" 1e-3 ", 0.001), ("-.5", -0.5), ("7.", 7.0), (Decimal("1.25"), 1.25)),
        *((10**30, 1e30), ("1" * 300, float("1" * 300))),
    ],
)
def test_numbers(value, number):
    assert number_of(value) == number


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, "", " ", "x", "1,5", "1_000", "0x10", "nan", "inf", "-inf", "1e400", "\uff11\uff12"),
        *(10**400, -(10**400), "1" * 400, float("nan"), float("inf"), [1], {}, b"\xff", object()),
    ],
)
def test_everything_else_is_none(value):
    assert math.isnan(number_of(value))
