"""Builds a student from a config.json without weights, in a process of its own: the server itself never loads torch.

Reads the JSON from standard input. Exit status 0 and the number of parameters, or 1 and what is wrong with it.
"""

import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def count_parameters(config_json: str) -> int:
    """Parameters of the model that the config describes; whatever transformers has against it is raised."""
    fields = json.loads(config_json)
    model_type = fields.pop("model_type")
    config = AutoConfig.for_model(model_type, **fields)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return int(model.num_parameters())


def main() -> int:
    """Probes the config on standard input."""
    try:
        print(count_parameters(sys.stdin.read()))
    except Exception as error:  # noqa: BLE001 - each of a hundred architectures refuses a wrong config in its own way
        print(f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
