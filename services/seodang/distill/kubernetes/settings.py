"""Settings of jobs on a cluster, from ``SEODANG_KUBERNETES_*``."""

from typing import Annotated, Literal

from pydantic import Field

from seodang.base.settings import Settings, settings_config

PositiveSeconds = Annotated[float, Field(gt=0)]
Named = Annotated[str, Field(min_length=1)]


class KubernetesSettings(Settings):
    """Which cluster, what its pods run and mount, and how much of a machine they take."""

    model_config = settings_config("SEODANG_KUBERNETES_")

    image: Named
    """Image of the workers, with the ``runtime`` and ``distill`` extras: the one of infra/Containerfile."""
    claim: Named
    """PersistentVolumeClaim of the volume that the server has at its ``state_dir``. Pods on other nodes than the
    server's need it to be ReadWriteMany."""
    namespace: Named = "seodang"
    """Where TrainJobs are created; the claim and a TrainingRuntime are there too."""
    runtime: Named = "seodang-distillation"
    """Training runtime with a torch policy, such as the one in infra/kubernetes/overlays/cluster-jobs."""
    runtime_kind: Literal["TrainingRuntime", "ClusterTrainingRuntime"] = "TrainingRuntime"
    config: str = ""
    """kubeconfig file of the cluster; empty is the service account of the pod that the server runs in."""
    context: str = ""
    """Context in that file; empty is its current one."""
    node_ranks: Annotated[int, Field(ge=1)] = 1
    """Ranks that a node (a pod) takes at most; a job with more gets several nodes, with equally many each."""
    node_cpus: Annotated[int, Field(ge=1)] = 4
    """Processors of a node; its ranks share them."""
    node_memory: Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$")] = "16Gi"
    """Memory of a node."""
    gpu: str = ""
    """Resource of which every rank gets one, such as ``nvidia.com/gpu``; empty trains on processors."""
    start_patience_s: PositiveSeconds = 3600.0
    """How long a job's pods may wait for room or an image before the job fails. Time in a queue (Kueue) is free."""
    visible_s: PositiveSeconds = 60.0
    """How long the server may take to see on the volume what a pod wrote, or the cluster to see that it has ended."""
    watch_s: Annotated[int, Field(ge=1)] = 20
    """Length of one watch; between two of them the pods of a job that has not begun are looked at."""
    request_timeout_s: PositiveSeconds = 15.0
    """Deadline of one call to the cluster."""
    retry_backoff_max_s: PositiveSeconds = 30.0
    """Longest pause before a cluster that does not answer is asked again; the first is a second, and it doubles."""
