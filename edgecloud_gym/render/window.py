"""A window that shows pictures."""

from __future__ import annotations

from typing import Final

import pygame

_TITLE: Final = "edgecloud-gym"


class Window:
    """pygame's window: opened once, and not again after it was closed.

    Args:
        width: Of the pictures (pixels).
        height: Of the pictures (pixels).
        fps: Pictures per second at most.
    """

    def __init__(self, width: int, height: int, fps: int) -> None:
        pygame.display.init()
        self._surface = pygame.display.set_mode((width, height))
        pygame.display.set_caption(_TITLE)
        self._clock = pygame.time.Clock()
        self._fps = fps
        self._open = True

    def is_open(self) -> bool:
        """Returns whether there is a window still, after what the user did lately."""
        # pygame has one display per process: whoever closes it closes it for all.
        self._open = self._open and pygame.display.get_init()
        if self._open and any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()
        return self._open

    def show(self, picture: pygame.Surface) -> None:
        """Shows a picture in the open window, and waits for the next one's time."""
        self._surface.blit(picture, (0, 0))
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Closes the window for good."""
        if self._open:
            pygame.display.quit()
        self._open = False
