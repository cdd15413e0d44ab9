"""Whether what Python finds under the names of our packages is ours.

Others bear the names `agents` and `data_tools` too: a file beside a script, a package of others.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]  # where the packages of this project lie
_OURS: Final = "edgecloud-gym"


def foreign(name: str, root: Path = _ROOT) -> str | None:
    """Tells what stands in the way of a package of ours.

    Args:
        name: ``"agents"`` or ``"data_tools"``.
        root: The folder that ours lies in.

    Returns:
        A message that says which file was found, whose it is and what to do; ``None`` if ours is
        found, or nothing.
    """
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    found = Path(places[0]).resolve() if places else None
    if found is None or root / name in (found, found.parent):
        return None
    owners = [owner for owner in packages_distributions().get(name, []) if owner != _OURS]
    installed = any(part in ("site-packages", "dist-packages") for part in found.parts)
    if installed and owners:
        whose = f"it belongs to the package {' and '.join(sorted(set(owners)))}"
        remedy = f"install {_OURS} in an environment without it"
    else:
        whose = "it is a file of your own, or lies where Python looks first"
        remedy = "rename it, or start from another folder"
    return (
        f"the name {name!r} is taken: Python finds {found} ({whose}), not {root / name}; {remedy}"
    )
