"""How the text of options is read."""

from pathlib import Path
from typing import Any

import pytest

from agents.cli.shared.reading import (
    find_env,
    read_agents,
    read_settings,
    read_value,
    split_outside,
)
from tests.agents.cli.conftest import invoke, words


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
    with pytest.raises(FileNotFoundError, match="sb3:path=7: "):
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


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate ./ppo-static --env static", "MODEL ./ppo-static: is a folder"),
        ("export ./ppo-static", "MODEL ./ppo-static: is a folder"),
        ("card ./ppo-static", "MODEL ./ppo-static: is a folder"),
        ("evaluate ./x.npz --env static", "MODEL ./x.npz: no trained model"),
        ("record ./x.npz --env static", "MODEL ./x.npz: no trained model"),
        ("compare --agents ppo:model=./ppo-static", "--agents ppo:model=./ppo-static: Is a dir"),
        ("compare --agents fcfs --dataset ./smollm2-135m", "folder ./smollm2-135m holds no requ"),
        ("compare --agents fcfs --dataset ./nowhere", "folder ./nowhere does not exist"),
        ("train predictor:ridge=1 --dataset ./no.csv --output p.npz", "./no.csv does not exist"),
        (
            "train ppo:predictor=./smollm2-135m --env static --output p.npz",
            "./smollm2-135m: is a",
        ),
        ("profile ./builtin -m a=b", "directory ./builtin holds no data files"),
    ],
)
def test_what_may_be_taken_for_something_bundled_is_called_as_it_was_given(
    command: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``./ppo-static`` is not ``ppo-static``."""
    monkeypatch.chdir(tmp_path)
    for name in ("ppo-static", "smollm2-135m", "builtin"):
        Path(name).mkdir()
    Path("x.npz").touch()
    result = invoke(*command.split())
    assert result.exit_code == 2
    assert message in words(result)
