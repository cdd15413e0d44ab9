"""Wrappers for the single environments; `vector` has those for the vector ones."""

from edgecloud_gym.wrappers import vector
from edgecloud_gym.wrappers.forecast import Forecast
from edgecloud_gym.wrappers.single import PriorityAction, QueueHead, SequentialAssignment

__all__ = ["Forecast", "PriorityAction", "QueueHead", "SequentialAssignment", "vector"]
