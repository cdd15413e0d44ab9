"""The one form in which settings are refused."""

import math
from typing import Any

import numpy as np
import pytest

from edgecloud_gym import checks


@pytest.mark.parametrize(
    ("value", "plain"), [(3, 3), (np.int64(3), 3), (np.uint8(3), 3)], ids=["int", "i8", "u1"]
)
def test_integers_of_any_kind_become_int(value: Any, plain: int) -> None:
    checked = checks.check_integer("seeds", value, least=1)
    assert checked == plain
    assert type(checked) is int


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None, np.float64(2.0)])
def test_no_other_type_is_an_integer(value: object) -> None:
    with pytest.raises(TypeError, match=r"seeds=.*: must be an integer >= 1"):
        checks.check_integer("seeds", value, least=1)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int16(2)])
def test_numbers_of_any_kind_become_float(value: Any) -> None:
    checked = checks.check_number("load", value, above=0)
    assert checked == float(value)
    assert type(checked) is float


@pytest.mark.parametrize("value", [True, "1", None, 1j])
def test_no_other_type_is_a_number(value: object) -> None:
    with pytest.raises(TypeError, match=r"load=.*: must be a finite number > 0"):
        checks.check_number("load", value, above=0)


@pytest.mark.parametrize("value", [0, -1, math.inf, -math.inf, math.nan])
def test_numbers_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"load=.*: must be a finite number > 0"):
        checks.check_number("load", value, above=0)


def test_both_bounds_are_named() -> None:
    with pytest.raises(ValueError, match=r"epsilon=1.5: must be a finite number from 0 to 1"):
        checks.check_number("epsilon", 1.5, least=0, most=1)
    with pytest.raises(ValueError, match="port=0: must be an integer from 1 to 65535"):
        checks.check_integer("port", 0, least=1, most=65535)


def test_a_misspelt_choice_is_pointed_to_the_right_one() -> None:
    with pytest.raises(ValueError, match=r"must be one of 'train', 'test' \(did you mean 'train'"):
        checks.check_choice("split", "trian", ("train", "test"))
    assert checks.check_choice("split", "train", ("train", "test")) == "train"


def test_bools() -> None:
    assert checks.check_bool("drain", np.True_) is True
    with pytest.raises(TypeError, match="drain=1: must be True or False"):
        checks.check_bool("drain", 1)


def test_arrays_are_read_only_copies() -> None:
    source = np.array([1, 2])
    array = checks.float_array("priority", source, "must be an array")
    assert array.dtype == np.float64
    assert not array.flags.writeable
    source[0] = 9
    assert array[0] == 1.0
    with pytest.raises(TypeError, match="priority='x': must be an array"):
        checks.float_array("priority", "x", "must be an array")
