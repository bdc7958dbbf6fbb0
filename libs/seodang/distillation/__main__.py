"""``python -m seodang.distillation JOB_DIR``: works on a job until it is done. See ``folder.py`` for the contract.

A job of several ranks starts a process for each, unless torchrun did: ``torchrun --nproc-per-node 8 -m
seodang.distillation JOB_DIR``, on every machine, with one folder that all of them see.
"""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import torch

from seodang.base.errors import Unsupported
from seodang.base.process import configure_logs
from seodang.distillation.fault import write_fault
from seodang.distillation.folder import EXIT_DONE, EXIT_FAULT, JobFolder
from seodang.distillation.group import ALONE, Group, RankLost
from seodang.distillation.launching import run_ranks
from seodang.distillation.settings import WorkerSettings
from seodang.distillation.spec import read_spec


def main() -> int:
    """Entry point of the process; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m seodang.distillation", description="Works on one job.")
    parser.add_argument("folder", type=Path, help="the job's folder, with job.json in it")
    folder = JobFolder(parser.parse_args().folder.absolute())
    configure_logs("distillation")
    try:
        return _work(folder, Group.of_environment())
    except Exception as error:  # noqa: BLE001 - the edge of the process: whatever it is, it is written down
        if isinstance(error, RankLost) and folder.fault.exists():
            return EXIT_FAULT  # the rank that was lost has said why
        record = write_fault(folder.fault, error)
        logging.getLogger("distillation").error("%s\n%s", record.message, record.details)
        return EXIT_FAULT


def _work(folder: JobFolder, group: Group | None) -> int:
    # Another rank may have written it since.
    if group is None or group.first:
        folder.fault.unlink(missing_ok=True)
    settings = WorkerSettings.load()
    if group is None and (ranks := read_spec(folder.spec).budget.ranks) > 1:
        return asyncio.run(run_ranks(folder, ranks, settings.threads))
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise Unsupported(
            f"SEODANG_DISTILLATION_DEVICE=cuda, but torch {torch.__version__} sees no GPU on this machine: install "
            "a build of torch for its driver, or leave the setting out"
        )
    # Seconds, and hundreds of megabytes, that a process which only starts the ranks does without.
    from seodang.distillation.cost import Rates
    from seodang.distillation.job import run_job
    from seodang.distillation.teacher import Patience

    group = group or ALONE
    device = torch.device(settings.device, group.local_rank) if settings.device == "cuda" else torch.device("cpu")
    rates = Rates(settings.watts, settings.price_per_hour, settings.currency)
    run_job(folder, Patience(limit_s=settings.teacher_patience_s), device, group, rates=rates)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
