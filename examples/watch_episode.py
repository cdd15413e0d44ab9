"""Watch first come, first served run the continuous environment: in a window, or as PNG frames.

python examples/watch_episode.py
python examples/watch_episode.py --save frames    # needs no display
"""

import argparse
from pathlib import Path

import gymnasium
import numpy as np
import pygame

import edgecloud_gym  # noqa: F401  (registers the environments)

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--save", type=Path, metavar="FOLDER", help="write frames instead of a window")
parser.add_argument("--load", type=float, default=0.95, help="arrival rate / capacity")
parser.add_argument("--duration", type=float, default=60.0, help="arrivals stop then (s)")
arguments = parser.parse_args()

if arguments.save:
    arguments.save.mkdir(parents=True, exist_ok=True)
env = gymnasium.make(
    "EdgeCloud-Continuous-v0",
    load=arguments.load,
    duration=arguments.duration,
    render_mode="rgb_array" if arguments.save else "human",
)
# The environment is work-conserving: slots that the agent leaves idle take the oldest request.
first_come_first_served = np.zeros(env.action_space.shape, np.int64)

env.reset(seed=0)
frame, done = 0, False
while not done:
    _, _, terminated, truncated, _ = env.step(first_come_first_served)
    done = terminated or truncated
    if arguments.save:
        # pygame's first axis is the width.
        picture = pygame.surfarray.make_surface(np.swapaxes(env.render(), 0, 1))
        pygame.image.save(picture, arguments.save / f"{frame:05d}.png")
        frame += 1
env.close()
