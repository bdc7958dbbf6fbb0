"""Distillation: a teacher's signal, data and a recipe become a student, in a job folder that survives any death.

What is exported here is the border with whoever runs jobs; it needs no torch.
``python -m seodang.distillation JOB_DIR`` does the work.
"""

from seodang.distillation.catalogue import CORPORA, Corpus, find_corpus
from seodang.distillation.events import AnyEvent, CurvePoint, EventLog, Measured, Progressed, StateChanged, read_events
from seodang.distillation.fault import FaultRecord, read_fault
from seodang.distillation.folder import EXIT_DONE, EXIT_FAULT, JobFolder
from seodang.distillation.result import JobResult, Measurement, read_result
from seodang.distillation.spec import JobSpec, decode_spec, encode_spec, read_spec, resolve
from seodang.distillation.wire import spec_from_proto

__all__ = [
    "CORPORA",
    "EXIT_DONE",
    "EXIT_FAULT",
    "AnyEvent",
    "Corpus",
    "CurvePoint",
    "EventLog",
    "FaultRecord",
    "JobFolder",
    "JobResult",
    "JobSpec",
    "Measured",
    "Measurement",
    "Progressed",
    "StateChanged",
    "decode_spec",
    "encode_spec",
    "find_corpus",
    "read_events",
    "read_fault",
    "read_result",
    "read_spec",
    "resolve",
    "spec_from_proto",
]
