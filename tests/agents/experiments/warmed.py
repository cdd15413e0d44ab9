"""Imported by the server of forks: has loaded what an experiment needs, compiled code included."""

import numpy as np

from agents import run_experiment
from edgecloud_gym import RequestDataset

_DATA = RequestDataset.from_arrays(base_latency=np.ones(2))
_SETTINGS = {"dataset": _DATA, "observe": "id", "duration": 2.0}
run_experiment("EdgeCloud-Static-v0", "fcfs", 1, _SETTINGS, None)
