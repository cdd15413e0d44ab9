"""Threads that step lanes together, and meet in compiled code.

Two compiled parts take the place of a pool of Python threads, whose queue, condition variables and
global lock cost more than a thread saved: `atomics`, the instructions with which threads agree
without a lock, and `rounds`, how they share the lanes of a step. `threads` starts and stops them.
"""

from edgecloud_gym.simulator.team.threads import Team

__all__ = ["Team"]
