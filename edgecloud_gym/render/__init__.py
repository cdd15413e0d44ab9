"""The render modes "human" and "rgb_array": a picture of the system, drawn with pygame-ce.

pygame is imported when the first `Renderer` is made, not before. A picture shows what agents must
not see, such as how far a running request has come: use it to look, not to learn from.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from edgecloud_gym.render.text import render_text
from edgecloud_gym.results.snapshot import Snapshot
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    from edgecloud_gym.render.picture import Picture
    from edgecloud_gym.render.window import Window

__all__ = ["Renderer", "render_text"]


class Renderer:
    """Draws snapshots, into an array or a window.

    With ``"rgb_array"`` no display is needed and none is touched. ``"human"`` opens a window; when
    the user closes it the episode goes on unseen.

    Args:
        mode: ``"rgb_array"`` or ``"human"``.
        fps: Pictures per second at most in the window.

    Raises:
        gymnasium.error.DependencyNotInstalled: If pygame-ce is not installed.
        ValueError: If ``mode`` is neither.
    """

    def __init__(self, mode: str, fps: int) -> None:
        if mode not in ("rgb_array", "human"):
            raise ValueError(f"mode={shown(mode)}: must be 'rgb_array' or 'human'")
        self._picture = _make_picture()
        self._window = _make_window(fps) if mode == "human" else None

    def reset(self) -> None:
        """Begins a new episode."""
        self._picture.reset()

    def draw(self, view: Snapshot) -> NDArray[np.uint8] | None:
        """Draws a snapshot.

        Args:
            view: What to draw.

        Returns:
            A new uint8 array (height, width, 3) for ``"rgb_array"``; ``None`` for ``"human"``.
        """
        if self._window is None:
            self._picture.paint(view)
            return self._picture.canvas.pixels()
        if self._window.is_open():
            self._picture.paint(view)
            self._window.show(self._picture.canvas.finish())
        return None

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            self._window.close()


def _make_picture() -> Picture:
    # pygame greets on standard output, where a script's results go.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        from edgecloud_gym.render.picture import Picture
    except ModuleNotFoundError as error:
        if error.name != "pygame":
            raise
        raise DependencyNotInstalled(
            'rendering needs pygame-ce: pip install "edgecloud-gym[render]"'
        ) from error
    return Picture()


def _make_window(fps: int) -> Window:
    from edgecloud_gym.render.picture import HEIGHT, WIDTH
    from edgecloud_gym.render.window import Window

    return Window(WIDTH, HEIGHT, fps)
