"""When requests arrive: arrival processes, and recorded workload traces."""

from edgecloud_gym.arrivals.processes import (
    ARRIVALS,
    MMPP,
    ArrivalProcess,
    Diurnal,
    Gamma,
    Poisson,
    Trace,
    make_arrivals,
)
from edgecloud_gym.arrivals.traces import WorkloadTrace, read_trace

__all__ = [
    "ARRIVALS",
    "MMPP",
    "ArrivalProcess",
    "Diurnal",
    "Gamma",
    "Poisson",
    "Trace",
    "WorkloadTrace",
    "make_arrivals",
    "read_trace",
]
