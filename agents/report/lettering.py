"""Pictures with names of agents and datasets in any script."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from edgecloud_gym.fonts import fallback_fonts


@contextmanager
def any_script() -> Iterator[None]:
    """Lets figures that are made and written in the block use all fonts that names may need.

    Characters that no font of the system has are drawn as boxes, without a warning for each.
    """
    import matplotlib as mpl
    from matplotlib.font_manager import fontManager

    others = fallback_fonts(font.name for font in fontManager.ttflist)
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        mpl.rcParams["font.family"] = [*mpl.rcParams["font.family"], *others]
        yield
