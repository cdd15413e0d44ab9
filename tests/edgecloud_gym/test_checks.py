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


@pytest.mark.parametrize(
    "value", [True, np.True_, 1.0, "1", None, np.float64(2.0), np.timedelta64(2, "ns")]
)
def test_no_other_type_is_an_integer(value: object) -> None:
    with pytest.raises(TypeError, match=r"seeds=.*: must be an integer >= 1"):
        checks.check_integer("seeds", value, least=1)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int16(2)])
def test_numbers_of_any_kind_become_float(value: Any) -> None:
    checked = checks.check_number("load", value, above=0)
    assert checked == float(value)
    assert type(checked) is float


@pytest.mark.parametrize(
    "value", [True, "1", None, 1j, np.timedelta64(1, "s"), np.timedelta64(2, "ns")]
)
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


MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (MASKED, "entry 1 is masked"),
        ([1.0, np.ma.masked], "entry 1 is masked"),
        ([MASKED, MASKED], "entry 0 is masked"),
        (np.ma.array(np.eye(2), mask=[[0, 0], [0, 1]]), "entry 1 is masked"),
        (["1", "2"], "entry 0 is str '1'"),
        ([1.0, "2"], "entry 1 is str '2'"),
        ([1, True], "entry 1 is bool True"),
        (np.array([1j, 2.0]), r"entry 0 is complex .*1j"),
        ([[1.0, 2.0], [3.0, 4j]], "entry 1, 1 is complex 4j"),
        (np.array([5], "m8[s]"), "durations or dates"),
        ([10**400], "out of range"),
    ],
)
def test_what_is_no_real_number_is_no_entry(value: Any, fault: str) -> None:
    with pytest.raises((TypeError, ValueError), match=fault):
        checks.real_numbers(value)
    with pytest.raises(TypeError, match=r"priority=[\s\S]*: must be an array"):
        checks.float_array("priority", value, "must be an array")


def test_arrays_of_truth_values_are_scores_of_two_kinds_but_no_numbers() -> None:
    urgent = np.array([True, False])
    assert checks.float_array("priority", urgent, "must be an array").tolist() == [1.0, 0.0]
    with pytest.raises(TypeError, match="entry 0 is bool"):
        checks.real_numbers(urgent)


def test_a_mask_that_covers_nothing_is_no_fault() -> None:
    assert checks.real_numbers(np.ma.array([1, 2], mask=False)).tolist() == [1.0, 2.0]


def test_a_number_beyond_floats_is_out_of_range() -> None:
    with pytest.raises(ValueError, match="load is out of range: must be a finite number > 0"):
        checks.check_number("load", 10**400, above=0)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1.0), (" -1.5e3\n", -1500.0), ("+.5", 0.5), ("2.", 2.0), ("007", 7.0)],
)
def test_numbers_as_tables_write_them(text: str, number: float) -> None:
    assert checks.parse_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "1_000", "٣", "1２", "nan", "inf", "0x1", "1,5", "1 000", "1e", ".", "+", "--1"]
)
def test_what_only_python_takes_for_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="is no number"):
        checks.parse_number(text)


def test_half_characters() -> None:
    assert checks.has_half_character("a \ud83d")
    assert not checks.has_half_character("a \U0001f600 é")
    assert checks.whole_characters("\ud83d\ude00 \ud83d é") == "\U0001f600 \ufffd é"
