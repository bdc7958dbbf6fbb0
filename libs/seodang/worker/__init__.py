"""Engine processes as typed messages, a supervised group and an async API. Imports neither torch nor grpc."""

from seodang.worker.health import HostHealth, HostState, ProbeResult, RankHealth
from seodang.worker.host import EngineHost
from seodang.worker.settings import HostSettings
from seodang.worker.tensor import Tensor

__all__ = ["EngineHost", "HostHealth", "HostSettings", "HostState", "ProbeResult", "RankHealth", "Tensor"]
