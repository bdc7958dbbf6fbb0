"""`seodang manifest`: the TrainJob of a job, to be looked at or applied by hand, without a cluster."""

import json
import os
from pathlib import Path

from seodang.base.errors import InvalidInput
from seodang.distill.kubernetes.manifest import train_job
from seodang.distill.kubernetes.settings import KubernetesSettings
from seodang.distillation import JobFolder, read_spec


def manifest_of(folder: Path) -> str:
    """The manifest of the job in ``folder``, as JSON: what a server with the same settings would create.

    Raises:
        InvalidInput: the folder is no job's below a state folder, or a setting is bad.
    """
    job = JobFolder(folder.absolute())
    if job.root.parent.name != "jobs" or not job.spec.is_file():
        raise InvalidInput(
            f"{folder} is not the folder of a job: it is STATE/jobs/ID below the state folder of a distillation "
            "server, with a job.json in it"
        )
    state_dir = job.root.parent.parent
    body = train_job(job, read_spec(job.spec), state_dir, KubernetesSettings.load(), os.environ)
    return json.dumps(body, indent=2)
