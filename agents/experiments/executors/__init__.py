"""Where runs are played: in processes of this machine, on executors, on a Dask cluster."""

from agents.experiments.executors.executor import ExecutorError

__all__ = ["ExecutorError"]
