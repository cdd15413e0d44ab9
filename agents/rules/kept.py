"""Rules of the package, whose machine code is kept between processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import edgecloud_gym.wrappers
from edgecloud_gym.simulator.compiled.cache import SIMULATOR, source_digest
from edgecloud_gym.simulator.compiled.decision import Decision
from edgecloud_gym.simulator.rules import Rule

RULES: Final = Path(__file__).parent
# All that the rules of this package call: they may not use anything else.
_FOLDERS: Final = (SIMULATOR, RULES, Path(edgecloud_gym.wrappers.__file__).parent)
_SOURCES: Final = "".join(map(source_digest, _FOLDERS))


def kept_rule(function: Callable[[Decision], None]) -> Rule:
    """Makes a rule of a function of this package; a decorator, see `rule`."""
    return Rule(function, _SOURCES)
