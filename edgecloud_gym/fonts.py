"""Fonts for what the usual ones lack: names in Chinese, Japanese and Korean, emoji."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

# Outlines alone: emoji that are pictures cannot be drawn as text.
_OF_OTHER_SCRIPTS: Final = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP"),
    *("Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "Meiryo", "Malgun Gothic"),  # of Windows
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),  # of macOS
    *("Noto Emoji", "Segoe UI Emoji", "Symbola", "Noto Sans Symbols2", "Unifont"),
)


def fallback_fonts(installed: Iterable[str]) -> list[str]:
    """Returns those fonts of a system that have what others lack, the best first.

    Args:
        installed: The names of its fonts.
    """
    there = set(installed)
    return [name for name in _OF_OTHER_SCRIPTS if name in there]


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
