"""How the text of options is read."""

from typing import Any

import pytest

from agents.cli.shared.reading import (
    find_env,
    read_agents,
    read_settings,
    read_value,
    split_outside,
)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("7", "int", 7),
        ("7", "str | Path", "7"),
        ("'7'", "", "7"),
        ('"a,b:c"', "str", "a,b:c"),
        ("1e-3", "float", 1e-3),
        ("[64, 64]", "Sequence[int]", [64, 64]),
        ("{'jct': 0.5}", "str | Mapping[str, float]", {"jct": 0.5}),
        ("jct", "str | Mapping[str, float]", "jct"),
        ("false", "bool", False),
        ("No", "bool", False),
        ("TRUE", "bool | None", True),
        ("False", "bool", False),
        ("none", "int | None", None),
        ("null", "float | None", None),
        ("None", "str | None", None),
        ("none", "str", "none"),
        ("on", "str", "on"),
        ("true", "", True),
        ("m[a].zip", "str | Path", "m[a].zip"),
        ("it's", "str | Path", "it's"),
        ("9" * 5000, "str", "9" * 5000),
        ("(" * 500, "", "(" * 500),
    ],
)
def test_values(text: str, kind: str, value: Any) -> None:
    found = read_value(text, kind)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("a:x=[1,2],b", ["a:x=[1,2]", "b"]),
        ("a:x={'k': (1, 2)},b", ["a:x={'k': (1, 2)}", "b"]),
        ("sb3:path='a,b.zip',c", ["sb3:path='a,b.zip'", "c"]),
        ("sb3:path=it's.zip,c", ["sb3:path=it's.zip", "c"]),
        ('sb3:path="[",c', ['sb3:path="["', "c"]),
        ("", [""]),
    ],
)
def test_separators_within_brackets_and_quotes_are_none(text: str, parts: list[str]) -> None:
    assert split_outside(text, ",") == parts


@pytest.mark.parametrize("text", ["a:x=[1", "a:x='b", "a:x={(1}"])
def test_what_is_not_closed_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="missing"):
        split_outside(text, ",")


def test_agents_with_settings() -> None:
    specs = read_agents("fcfs, cn-ducb:hidden=[8,8] , historical-lrt:memory=7:initial=0.5")
    assert [spec.label for spec in specs] == [
        "fcfs",
        "cn-ducb:hidden=[8,8]",
        "historical-lrt:memory=7:initial=0.5",
    ]
    assert [spec.settings for spec in specs] == [
        {},
        {"hidden": [8, 8]},
        {"memory": 7, "initial": 0.5},
    ]


@pytest.mark.parametrize("text", ["fcfs,,random", ",fcfs", "fcfs,", ",", "fcfs, ,random"])
def test_a_missing_name_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="a name is missing before or after a comma"):
        read_agents(text)
    for nothing in ("", " "):
        with pytest.raises(ValueError, match="name at least one"):
            read_agents(nothing)


def test_a_path_stays_a_path() -> None:
    """Here the file is not there; that it is named as text is what counts."""
    with pytest.raises(FileNotFoundError, match="'7'"):
        read_agents("sb3:path=7", trust=True)
    with pytest.raises(FileNotFoundError, match="a,b:c"):
        read_agents("sb3:path='a,b:c.zip'", trust=True)
    with pytest.raises(ValueError, match=r"sb3:path=7: .* holds pickled objects.* give --trust"):
        read_agents("sb3:path=7")


def test_settings_are_given_once() -> None:
    assert read_settings(["a = 1", "b=x=y"]) == {"a": 1, "b": "x=y"}
    with pytest.raises(ValueError, match="a: is given twice"):
        read_settings(["a=1", "a=1"])


@pytest.mark.parametrize(
    "name", ["timeseries", "time_series", "time-series", "TimeSeries", "EdgeCloud-TimeSeries"]
)
def test_environments_by_what_is_special(name: str) -> None:
    assert find_env(name) == "EdgeCloud-TimeSeries-v0"
    assert find_env(f"edgecloud_gym:{name}") == "EdgeCloud-TimeSeries-v0"
