"""Action wrappers for the single environments; `vector` has those for the vector ones."""

from edgecloud_gym.wrappers import vector
from edgecloud_gym.wrappers.single import PriorityAction, SequentialAssignment

__all__ = ["PriorityAction", "SequentialAssignment", "vector"]
