"""A cluster with Kubeflow Trainer, as far as a launcher sees one, that does and refuses what the test says.

It takes only TrainJobs of the published schema, tells of them through get and watch, and starts for each what ``node``
says: by default nothing, or real processes, with the variables that the torch runtime would give them.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from tests.published import check_train_job
from tests.scripted.http_server import Connection, ScriptedServer, answering, free_port

Body = dict[str, Any]
NAMESPACE = "seodang"
TRAIN_JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
Command = Callable[[Body], list[str]]


def as_written(manifest: Body) -> list[str]:
    """The command of a TrainJob, with this Python."""
    trainer = manifest["spec"]["trainer"]
    assert trainer["command"][0] == "python"
    return [sys.executable, *trainer["command"][1:], *trainer["args"]]


class Refusal(Exception):
    """What the API answers instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ScriptedCluster:
    """Use ``up`` as ``with``; between two of them the address refuses connections, and what runs runs on."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.changed = threading.Condition()
        self.train_jobs: dict[str, Body] = {}
        self.pods: dict[str, list[Body]] = {}
        """By TrainJob."""
        self.logs: dict[str, str] = {}
        """By pod."""
        self.refusals: dict[str, Refusal] = {}
        """By verb, such as ``create``, ``get``, ``watch``, ``delete``, ``pods``."""
        self.lost: set[str] = set()
        """Verbs whose next call is carried out, and the connection breaks before the answer."""
        self.forgotten = False
        """The next watch is told that its version is too old."""
        self.calls: list[str] = []
        self.node: Command | None = None
        """What a node of a TrainJob runs."""
        self.processes: dict[str, list[subprocess.Popen[bytes]]] = {}
        """By TrainJob, one for each of its nodes."""
        self._changes: list[tuple[int, str, Body]] = []
        self._version = 100
        self._log = folder / "pods.log"

    @property
    def kubeconfig(self) -> str:
        """A kubeconfig file of it, as text."""
        return yaml.safe_dump(
            {
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
            }
        )  # fmt: skip

    @contextmanager
    def up(self) -> Iterator[None]:
        """Answers."""
        with answering(ScriptedServer(self.port, self, _Connection)):
            yield

    def end(self) -> None:
        """Kills what runs on its nodes."""
        for name in list(self.processes):
            self.kill(name)

    def kill(self, name: str) -> None:
        """Kills what a TrainJob runs, as the end of its machines would."""
        for process in self.processes.get(name, []):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    # What the controllers do.

    def condition(self, name: str, kind: str, reason: str, message: str = "") -> None:
        """Gives a TrainJob a condition; ``Complete`` and ``Failed`` end it."""
        with self.changed:
            body = self.train_jobs[name]
            conditions = body.setdefault("status", {}).setdefault("conditions", [])
            conditions.append(
                {
                    "type": kind, "status": "True", "reason": reason, "message": message,
                    "lastTransitionTime": "2030-01-01T00:00:00Z",
                }
            )  # fmt: skip
            self._change("MODIFIED", body)

    def vanish(self, name: str) -> None:
        """It is gone, with its pods."""
        with self.changed:
            self.kill(name)
            self.pods.pop(name, None)
            self._change("DELETED", self.train_jobs.pop(name))

    def _change(self, kind: str, body: Body) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._changes.append((self._version, kind, json.loads(json.dumps(body))))
        self.changed.notify_all()

    def _run(self, name: str, command: list[str], trainer: Body) -> None:
        port = free_port()
        torch_runtime = {
            "PET_NNODES": str(trainer["numNodes"]), "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
            "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port),
        }  # fmt: skip
        env = os.environ | torch_runtime | {each["name"]: each["value"] for each in trainer["env"]}
        with self._log.open("ab") as log:
            self.processes[name] = [
                subprocess.Popen(
                    command, env=env | {"PET_NODE_RANK": str(node)}, stdout=log, stderr=log, start_new_session=True
                )
                for node in range(trainer["numNodes"])
            ]
        self.pods[name] = [pod(name, "Running", node=node) for node in range(trainer["numNodes"])]
        threading.Thread(target=self._see_through, args=(name, self.processes[name]), daemon=True).start()

    def _see_through(self, name: str, processes: "list[subprocess.Popen[bytes]]") -> None:
        """As JobSet does: one node that fails ends all."""
        running = dict(enumerate(processes))
        failed: tuple[int, int] | None = None
        while running and failed is None:
            time.sleep(0.05)
            for node in [node for node, process in running.items() if process.poll() is not None]:
                status = running.pop(node).returncode
                failed = failed or (None if status == 0 else (node, 128 - status if status < 0 else status))
        with self.changed:
            if self.processes.get(name) is not processes or name not in self.train_jobs:
                return
            if failed is None:
                self.condition(name, "Complete", "AllJobsCompleted", "jobset completed successfully")
                return
            self.kill(name)
            ended = pod(name, "Failed", node=failed[0], terminated=("Error", failed[1]))
            self.pods[name] = [ended]
            self.logs[ended["metadata"]["name"]] = self._log.read_text(errors="replace")[-2000:]
            self.condition(name, "Failed", "FailedJobs", "jobset failed due to one or more job failures")

    # What the API does.

    def create(self, body: Body, validation: str) -> Body:
        with self.changed:
            name = body["metadata"]["name"]
            if name in self.train_jobs:
                raise Refusal(409, f'trainjobs.trainer.kubeflow.org "{name}" already exists')
            assert validation == "Strict"
            try:
                check_train_job(body)
            except ValueError as error:
                raise Refusal(422, str(error)) from error
            self.train_jobs[name] = body
            self._change("ADDED", body)
            if self.node is not None:
                self._run(name, self.node(body), body["spec"]["trainer"])
            return body

    def get(self, name: str) -> Body:
        with self.changed:
            if name not in self.train_jobs:
                raise Refusal(404, f'trainjobs.trainer.kubeflow.org "{name}" not found')
            return self.train_jobs[name]

    def delete(self, name: str, options: Body) -> Body:
        with self.changed:
            body = self.get(name)
            assert options["propagationPolicy"] == "Foreground"
            body["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
            self._change("MODIFIED", body)
            # Seen as leaving by whoever asks in between; then its pods are gone.
            threading.Timer(0.1, self.vanish, [name]).start()
            return body

    def changes(self, name: str, since: int, timeout_s: float) -> Iterator[Body]:
        """What a watch is told."""
        if self.forgotten:
            self.forgotten = False
            status = {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"}
            yield {"type": "ERROR", "object": status | {"message": f"too old resource version: {since}"}}
            return
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            with self.changed:
                if self._version == since:
                    self.changed.wait(left_s)
                new = [(kind, body) for at, kind, body in self._changes if at > since]
                since = self._version
            for kind, body in new:
                if body["metadata"]["name"] == name:
                    yield {"type": kind, "object": body}


def pod(
    train_job: str,
    phase: str,
    *,
    node: int = 0,
    terminated: tuple[str, int] | None = None,
    waiting: tuple[str, str] | None = None,
    unschedulable: str = "",
    reason: str = "",
    message: str = "",
) -> Body:
    """A pod of a TrainJob, as JobSet names and labels it."""
    status: Body = {"phase": phase}
    if reason:
        status |= {"reason": reason, "message": message}
    if unschedulable:
        status["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": unschedulable}
        ]
    state: Body = {}
    if terminated:
        state = {"terminated": {"reason": terminated[0], "exitCode": terminated[1]}}
    if waiting:
        state = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
    if state:
        container = {"name": "node", "image": "registry.example/seodang:1", "imageID": "", "ready": False}
        status["containerStatuses"] = [container | {"restartCount": 0, "state": state}]
    return {
        "metadata": {"name": f"{train_job}-node-0-{node}-abcde", "namespace": NAMESPACE,
                     "labels": {"jobset.sigs.k8s.io/jobset-name": train_job}},
        "spec": {"containers": [{"name": "node", "image": "registry.example/seodang:1"}]},
        "status": status,
    }  # fmt: skip


class _Connection(Connection):
    server: ScriptedServer[ScriptedCluster]

    def do_GET(self) -> None:
        cluster, (path, query) = self.server.script, self._asked()
        if path == PODS:
            name = query["labelSelector"].removeprefix("jobset.sigs.k8s.io/jobset-name=")
            listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {}}
            self._answer("pods", lambda: listed | {"items": cluster.pods.get(name, [])})
        elif path.startswith(PODS):
            self._answer("log", lambda: cluster.logs[path.split("/")[-2]])
        elif path == TRAIN_JOBS:
            assert query["watch"] in ("true", "True"), query
            self._watch(query)
        else:
            self._answer("get", lambda: cluster.get(path.removeprefix(f"{TRAIN_JOBS}/")))

    def do_POST(self) -> None:
        body = self.json_body()
        _, query = self._asked()
        self._answer("create", lambda: self.server.script.create(body, query["fieldValidation"]), 201)

    def do_DELETE(self) -> None:
        path, _ = self._asked()
        options = self.json_body()
        self._answer("delete", lambda: self.server.script.delete(path.removeprefix(f"{TRAIN_JOBS}/"), options))

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {key: values[-1] for key, values in parse_qs(parts.query).items()}

    def _watch(self, query: dict[str, str]) -> None:
        cluster = self.server.script
        cluster.calls.append("watch")
        if refusal := cluster.refusals.get("watch"):
            self._refuse(refusal)
            return
        name = query["fieldSelector"].removeprefix("metadata.name=")
        self.begin("application/json")
        try:
            for change in cluster.changes(name, int(query["resourceVersion"]), float(query["timeoutSeconds"])):
                self.part(json.dumps(change).encode() + b"\n")
            self.part(b"")
        except OSError:
            self.close_connection = True

    def _answer(self, verb: str, do: Callable[[], Body | str], status: int = 200) -> None:
        cluster = self.server.script
        cluster.calls.append(verb)
        try:
            if refusal := cluster.refusals.get(verb):
                raise refusal
            content = do()
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if verb in cluster.lost:
            cluster.lost.discard(verb)
            self.close_connection = True
            return
        self.answer(status, content)

    def _refuse(self, refusal: Refusal) -> None:
        body = {"kind": "Status", "status": "Failure", "code": refusal.status, "reason": "", "message": refusal.message}
        self.answer(refusal.status, body)
