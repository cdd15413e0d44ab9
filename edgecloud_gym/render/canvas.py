"""What a picture is painted with: palette, text and boxes on a pygame surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pygame
from numpy.typing import NDArray

from edgecloud_gym.render.geometry import Box

Colour = tuple[int, int, int]

BACKGROUND: Final = (242, 244, 247)
CARD: Final = (255, 255, 255)
BORDER: Final = (221, 226, 232)
FAINT: Final = (235, 238, 242)
INK: Final = (31, 41, 51)
MUTED: Final = (97, 110, 124)
# Edge and cloud: Okabe and Ito, "Color universal design" (2008), told apart by all eyes.
EDGE: Final = (0, 114, 178)
EDGE_FILL: Final = (118, 187, 227)
EDGE_TINT: Final = (218, 236, 247)
CLOUD: Final = (213, 94, 0)
CLOUD_FILL: Final = (243, 172, 101)
CLOUD_TINT: Final = (252, 231, 213)
# Waiting age, from new to old: darker in even steps, so that it reads without hue.
_AGES: Final = ((240, 226, 236), (204, 121, 167), (92, 26, 66))

# The picture is drawn this many times larger and then shrunk: every edge and letter is smooth.
_SCALE: Final = 2
_PADDING: Final = 4  # between text and the end of its box
_FONT_UNIT: Final = 1.42  # pygame's height of its default font per pixel of type size


def age_colour(share: float) -> Colour:
    """Returns the colour of an age as a share of the oldest, in [0, 1]."""
    position = min(1.0, max(0.0, share)) * (len(_AGES) - 1)
    index = min(int(position), len(_AGES) - 2)
    low, high = _AGES[index], _AGES[index + 1]
    red, green, blue = (a + (b - a) * (position - index) for a, b in zip(low, high, strict=True))
    return round(red), round(green), round(blue)


def readable_on(colour: Colour) -> Colour:
    """Returns the text colour, dark or white, with the better contrast on ``colour``."""
    red, green, blue = colour
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return INK if luminance > 140 else CARD


class Canvas:
    """A surface with coordinates in pixels of the finished picture.

    It needs no display: nothing but `pygame.font` is initialised.
    """

    def __init__(self, width: int, height: int) -> None:
        pygame.font.init()
        self._large = pygame.Surface((width * _SCALE, height * _SCALE), depth=32)
        self._small = pygame.Surface((width, height), depth=32)
        self._fonts: dict[int, pygame.font.Font] = {}

    def clear(self) -> None:
        """Starts a new picture."""
        self._large.fill(BACKGROUND)

    def finish(self) -> pygame.Surface:
        """Returns the picture; the same surface each time."""
        return pygame.transform.smoothscale(self._large, self._small.get_size(), self._small)

    def pixels(self) -> NDArray[np.uint8]:
        """Returns the picture as a new array, uint8 (height, width, 3)."""
        width, height = self._small.get_size()
        # A fifth of the time of pygame.surfarray, whose first axis is the width.
        data = np.frombuffer(pygame.image.tobytes(self.finish(), "RGB"), np.uint8)
        return data.reshape(height, width, 3).copy()

    def box(self, box: Box, colour: Colour, radius: int = 0) -> None:
        """Fills a box."""
        if box.w > 0 and box.h > 0:
            rect = tuple(_SCALE * side for side in box)
            pygame.draw.rect(self._large, colour, rect, border_radius=_SCALE * radius)

    def frame(self, box: Box, colour: Colour, radius: int = 0) -> None:
        """Draws a line one pixel wide along the inside of a box."""
        rect = tuple(_SCALE * side for side in box)
        pygame.draw.rect(self._large, colour, rect, _SCALE, border_radius=_SCALE * radius)

    def bar(self, box: Box, share: float, colour: Colour, track: Colour, radius: int = 0) -> None:
        """Fills a box from the left up to ``share`` in [0, 1]."""
        self.box(box, track, radius)
        self._large.set_clip(self._scaled(box, share))
        self.box(box, colour, radius)
        self._large.set_clip(None)

    def text(
        self,
        text: str,
        x: float,
        y: float,
        size: int = 12,
        colour: Colour = INK,
        align: str = "left",
    ) -> None:
        """Writes text.

        Args:
            text: The text.
            x: Its left end, centre or right end, as ``align`` says.
            y: Its vertical centre.
            size: Type size (pixels).
            colour: Its colour.
            align: ``"left"``, ``"centre"`` or ``"right"``.
        """
        image = self._font(size).render(text, True, colour)
        shift = {"left": 0.0, "centre": 0.5, "right": 1.0}[align] * image.get_width()
        self._large.blit(image, (_SCALE * x - shift, _SCALE * y - image.get_height() / 2))

    def caption(self, box: Box, text: str, colour: Colour = INK, size: int = 10) -> None:
        """Writes text in the middle of a box, if it fits."""
        if self._fits(box, text, size):
            self.text(text, box.x + box.w / 2, box.y + box.h / 2, size, colour, "centre")

    def captions(self, box: Box, left: str, right: str, size: int = 11) -> None:
        """Writes texts at both ends of a box, or only the left one, or none, as they fit."""
        y = box.y + box.h / 2
        if self._fits(box, left, size):
            self.text(left, box.x + _PADDING, y, size)
        if self._fits(box, f"{left}  {right}", size):
            self.text(right, box.right - _PADDING, y, size, align="right")

    def text_width(self, text: str, size: int = 12) -> int:
        """Returns how wide text is (pixels)."""
        return -(-self._font(size).size(text)[0] // _SCALE)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 1) -> None:
        """Draws a line through two or more points."""
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        pygame.draw.lines(self._large, colour, False, scaled, round(width * _SCALE))

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fills a circle."""
        pygame.draw.circle(self._large, colour, (x * _SCALE, y * _SCALE), radius * _SCALE)

    def diamond(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fills a square that stands on a corner."""
        corners = ((x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius))
        scaled = [(a * _SCALE, b * _SCALE) for a, b in corners]
        pygame.draw.polygon(self._large, colour, scaled)

    def _fits(self, box: Box, text: str, size: int) -> bool:
        return box.h >= size + 3 and self.text_width(text, size) <= box.w - 2 * _PADDING

    def _font(self, size: int) -> pygame.font.Font:
        if size not in self._fonts:
            self._fonts[size] = pygame.font.Font(None, round(size * _SCALE * _FONT_UNIT))
        return self._fonts[size]

    @staticmethod
    def _scaled(box: Box, share: float) -> tuple[int, int, int, int]:
        width = round(_SCALE * box.w * min(1.0, max(0.0, share)))
        return _SCALE * box.x, _SCALE * box.y, width, _SCALE * box.h
