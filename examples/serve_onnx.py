"""Plays an exported policy with onnxruntime and NumPy alone, neither torch nor SB3.

edgecloud export model.zip --trust --format onnx  # of agents.save_model
python examples/serve_onnx.py model.onnx
"""

import argparse
import json
import time

import gymnasium as gym
import numpy as np
import onnxruntime

from edgecloud_gym.wrappers import SequentialAssignment

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("policy", help="file of `edgecloud export --format onnx`")
parser.add_argument("--env-id", default="EdgeCloud-Static-v0")
parser.add_argument("--duration", type=float, default=300.0, help="length of the episode (s)")
given = parser.parse_args()

session = onnxruntime.InferenceSession(given.policy, providers=["CPUExecutionProvider"])
facts = json.loads(session.get_modelmeta().custom_metadata_map["edgecloud"])
taken = {item.name for item in session.get_inputs()}


def choose(observation, mask):
    """Returns the likeliest choice of those that are legal."""
    inputs = {name: part[np.newaxis] for name, part in observation.items() if name in taken}
    inputs["action_mask"] = mask.astype(bool)[np.newaxis]
    (logits,) = session.run(["logits"], inputs)
    return logits[0].argmax(axis=-1)


# An environment that shows what the policy was trained on.
shapes = facts["inputs"]
settings = {"candidate_pool_size": shapes["candidates"][0], "duration": given.duration}
settings |= (
    {"embedding_dim": shapes["embeddings"][1]} if "embeddings" in shapes else {"observe": "id"}
)
if facts["work_conserving"] is not None:
    settings["work_conserving"] = facts["work_conserving"]
env = gym.make(given.env_id, **settings)
if facts["actions"] == "sequential":
    env = SequentialAssignment(env, allow_stop=facts["allow_stop"])

observation, info = env.reset(seed=0)
done, spent, choices, illegal = False, 0.0, 0, 0
while not done:
    started = time.perf_counter()
    action = choose(observation, info["action_mask"])
    spent += time.perf_counter() - started
    observation, _, terminated, truncated, info = env.step(action)
    done = terminated or truncated
    choices += 1
    illegal += info["invalid_assignments"]
print(f"{choices} choices, {1e6 * spent / choices:.0f} µs each")
print(f"mean JCT {info['summary']['jct_mean']:.2f} s, illegal assignments: {illegal}")
