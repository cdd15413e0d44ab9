"""A library that is missing is named, with the extra that brings it."""

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("rllib", "ray", "rllib"),
        ("torchrl", "tensordict", "torchrl"),
        ("networks", "torch", "agents"),
        ("sb3", "stable_baselines3", "agents"),
    ],
)
def test_the_extra_is_named(
    module: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"edgecloud_gym.{module}"
    for loaded in list(sys.modules):
        if loaded == name or loaded.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'edgecloud-gym\[{extra}\]'"):
        importlib.import_module(name)
