"""The command ``edgecloud``: starts `agents.cli`, if what Python finds under our names is ours."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

from edgecloud_gym.names import foreign

_INTERRUPTED: Final = 130


def main() -> None:
    """Runs the command line, or says what stands in its way."""
    for name in ("agents", "data_tools"):
        taken = foreign(name)
        if taken is not None:
            sys.exit(f"edgecloud: {taken}")
    try:
        import_module("agents.cli").main()
    except KeyboardInterrupt:  # while modules are imported: a command that runs tells more
        sys.exit(_INTERRUPTED)
