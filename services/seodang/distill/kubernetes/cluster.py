"""The part of the Kubernetes API that a launcher needs; every call has a deadline and fails in our error tree."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import (
    ApiClient,
    ApiException,
    Configuration,
    CoreV1Api,
    CustomObjectsApi,
    V1DeleteOptions,
    V1Pod,
)
from kubernetes.aio.watch import Watch

from seodang.base.errors import (
    AlreadyExists,
    Exhausted,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Superseded,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from seodang.distill.kubernetes.manifest import GROUP, NODE, VERSION
from seodang.distill.kubernetes.settings import KubernetesSettings
from seodang.distill.kubernetes.status import TrainJob, read_train_job

_PLURAL: Final = "trainjobs"
_POD_LABEL: Final = "jobset.sigs.k8s.io/jobset-name"
"""Kubeflow Trainer makes a JobSet of the TrainJob's name, and JobSet gives its pods this label."""
_LOG_LINES: Final = 20


class Cluster:
    """One namespace of a cluster. Made by ``open_cluster``."""

    def __init__(self, api: ApiClient, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._objects = CustomObjectsApi(api)
        self._core = CoreV1Api(api)
        self._where = (GROUP, VERSION, settings.namespace, _PLURAL)
        self._server = str(api.configuration.host)

    async def create(self, manifest: dict[str, Any]) -> TrainJob:
        """Creates a TrainJob.

        Raises:
            AlreadyExists: there is one of that name, perhaps from an earlier try whose answer was lost.
            PermissionDenied, NotFound, InvalidInput: it is refused, and will be again.
        """
        with self._translated("create trainjobs"):
            body = await self._objects.create_namespaced_custom_object(
                *self._where, manifest, field_validation="Strict", _request_timeout=self._settings.request_timeout_s
            )
        return read_train_job(body)  # type: ignore[arg-type]  # an object of any kind, so the client says no more

    async def get(self, name: str) -> TrainJob | None:
        """The TrainJob of that name."""
        try:
            with self._translated("get trainjobs"):
                body = await self._objects.get_namespaced_custom_object(
                    *self._where, name, _request_timeout=self._settings.request_timeout_s
                )
        except NotFound:
            return None
        return read_train_job(body)  # type: ignore[arg-type]

    async def delete(self, name: str) -> None:
        """Begins to delete a TrainJob; it is gone once its pods are."""
        with self._translated("delete trainjobs"):
            try:
                await self._objects.delete_namespaced_custom_object(
                    *self._where,
                    name,
                    body=V1DeleteOptions(propagation_policy="Foreground"),
                    _request_timeout=self._settings.request_timeout_s,
                )
            except ApiException as error:
                if error.status != 404:
                    raise

    async def watch(self, name: str, version: str) -> AsyncGenerator[TrainJob | None, None]:
        """The TrainJob after each of its changes since ``version``, for ``watch_s`` seconds; None when it is gone.

        Raises:
            Superseded: the cluster has forgotten what happened since; get it again.
        """
        watch = Watch()
        stream = watch.stream(
            self._objects.list_namespaced_custom_object,
            *self._where,
            field_selector=f"metadata.name={name}",
            resource_version=version,
            timeout_seconds=self._settings.watch_s,
            _request_timeout=self._settings.watch_s + self._settings.request_timeout_s,
        )
        with self._translated("watch trainjobs"):
            async with watch:
                async for event in stream:
                    if isinstance(event, str):  # no line of the API's: something between us answers in its place
                        raise Unavailable(f"the cluster at {self._server} answers a watch with {event[:200]!r}")
                    yield None if event["type"] == "DELETED" else read_train_job(event["raw_object"])

    async def pods(self, name: str) -> list[V1Pod]:
        """The pods of a TrainJob."""
        with self._translated("list pods"):
            found = await self._core.list_namespaced_pod(
                self._settings.namespace,
                label_selector=f"{_POD_LABEL}={name}",
                _request_timeout=self._settings.request_timeout_s,
            )
        return found.items

    async def log_tail(self, pod: str) -> str:
        """The end of what a pod printed."""
        with self._translated("get pods/log"):
            return await self._core.read_namespaced_pod_log(
                pod,
                self._settings.namespace,
                container=NODE,
                tail_lines=_LOG_LINES,
                _request_timeout=self._settings.request_timeout_s,
            )

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            self._refused(doing, error)
        except TimeoutError as error:
            raise Unavailable(f"the cluster at {self._server} did not answer in time when asked to {doing}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the cluster at {self._server} cannot be reached: {error}") from error
        except ValueError as error:  # what the client's models say to an object of another form
            raise Unsupported(
                f"what the cluster at {self._server} says when asked to {doing} is not understood: {error}. Its "
                "version may be too far from that of the Kubernetes client"
            ) from error

    def _refused(self, doing: str, error: ApiException) -> NoReturn:
        said, namespace = _message(error), self._settings.namespace
        runtime = f"{self._settings.runtime_kind} {self._settings.runtime!r}"
        match error.status:
            case 401:
                raise Unauthenticated(
                    f"the cluster at {self._server} does not know this server ({said}): check "
                    "SEODANG_KUBERNETES_CONFIG, or the service account of its pod"
                ) from error
            case 403 if "denied the request" in said:
                raise InvalidInput(
                    f"Kubeflow Trainer refuses the TrainJob ({said}). Is there a {runtime} in namespace {namespace!r}, "
                    "with a job and a container named 'node'? SEODANG_KUBERNETES_RUNTIME names it; one is in "
                    "infra/kubernetes/overlays/cluster-jobs",
                    reason="TRAIN_JOB_REFUSED",
                ) from error
            case 403 if "exceeded quota" in said:
                raise Exhausted(
                    f"namespace {namespace!r} has no room for the TrainJob ({said}): raise its ResourceQuota, or wait "
                    "until other jobs have ended"
                ) from error
            case 403:
                raise PermissionDenied(
                    f"this server may not {doing} in namespace {namespace!r} ({said}): give its service account the "
                    "Role in infra/kubernetes/overlays/cluster-jobs/role.yaml"
                ) from error
            case 404:
                raise NotFound(
                    f"the cluster at {self._server} has no {_PLURAL}.{GROUP}/{VERSION} or no namespace {namespace!r} "
                    f"({said}): install Kubeflow Trainer 2.2 or later, or set SEODANG_KUBERNETES_NAMESPACE",
                    reason="NO_TRAINER",
                ) from error
            case 409:
                raise AlreadyExists(f"the cluster has it already: {said}") from error
            case 410:
                raise Superseded(f"the cluster no longer knows what has changed: {said}") from error
            case 400 | 422:
                raise InvalidInput(
                    f"the cluster does not take the TrainJob ({said}): it needs Kubeflow Trainer 2.2 or later, and "
                    "SEODANG_KUBERNETES_* in a form that Kubernetes knows",
                    reason="TRAIN_JOB_REFUSED",
                ) from error
            case 429 | 500 | 502 | 503 | 504:
                raise Unavailable(
                    f"the cluster at {self._server} cannot {doing} now ({error.status}: {said})"
                ) from error
        raise Unsupported(f"the cluster answers {error.status} when asked to {doing}: {said}") from error


def _message(error: ApiException) -> str:
    """The sentence in the Status that the API sends."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.body or error.reason or "without a reason")[:500]


@asynccontextmanager
async def open_cluster(settings: KubernetesSettings) -> AsyncIterator[Cluster]:
    """Knows how to reach the cluster; whether it answers shows at the first call.

    Raises:
        InvalidInput: there is no such kubeconfig or context, or this is no pod with a service account.
    """
    reached = Configuration()
    try:
        if settings.config:
            await config.load_kube_config(settings.config, settings.context or None, reached, persist_config=False)
        else:
            await asyncio.to_thread(config.load_incluster_config, reached)
    except (config.ConfigException, OSError, ValueError) as error:
        source = Path(settings.config) if settings.config else "the service account of a pod"
        raise InvalidInput(
            f"no cluster can be reached by {source}: {error}. SEODANG_KUBERNETES_CONFIG names a kubeconfig file, "
            "SEODANG_KUBERNETES_CONTEXT a context in it; in a pod, leave both out and give it a service account"
        ) from error
    async with ApiClient(reached) as api:
        yield Cluster(api, settings)
