"""InferenceService over an engine host, shared by teacher and students. Never imports torch."""

from seodang.inference.completions import InferenceLimits
from seodang.inference.describe import describe_models
from seodang.inference.directory import AbsentModel, Activity, ListedModel, ModelDirectory, ServedModel
from seodang.inference.names import ModelName
from seodang.inference.packed import pack, unpack
from seodang.inference.pages import page_of
from seodang.inference.parameters import active_parameters
from seodang.inference.readiness import serve_when_ready
from seodang.inference.sampling import read_defaults
from seodang.inference.servicer import InferenceServicer
from seodang.inference.sparse import SparseRows
from seodang.inference.tensors import from_array, to_array

__all__ = [
    "AbsentModel",
    "Activity",
    "InferenceLimits",
    "InferenceServicer",
    "ListedModel",
    "ModelDirectory",
    "ModelName",
    "ServedModel",
    "SparseRows",
    "active_parameters",
    "describe_models",
    "from_array",
    "pack",
    "page_of",
    "read_defaults",
    "serve_when_ready",
    "to_array",
    "unpack",
]
