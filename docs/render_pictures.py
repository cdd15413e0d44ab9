"""Draws each environment in the middle of an episode, into docs/assets/."""

from pathlib import Path

import gymnasium
import numpy as np
from PIL import Image

import edgecloud_gym

ASSETS = Path(__file__).resolve().parent / "assets"
MOMENT = 100.0  # s


def main() -> None:
    """Plays first come, first served until `MOMENT` and saves what the environment shows."""
    for env_id in (*edgecloud_gym.ENV_IDS, edgecloud_gym.CLUSTER_ID):
        env = gymnasium.make(env_id, load=0.95, duration=200.0, render_mode="rgb_array")
        first_come_first_served = np.zeros(env.action_space.shape, np.int64)
        _, info = env.reset(seed=1)
        while info["time"] < MOMENT:
            *_, info = env.step(first_come_first_served)
        name = env_id.removeprefix("EdgeCloud-").removesuffix("-v0").lower()
        picture = Image.fromarray(env.render()).quantize(64, dither=Image.Dither.NONE)
        picture.save(ASSETS / f"{name}.png", optimize=True)
        env.close()


if __name__ == "__main__":
    main()
