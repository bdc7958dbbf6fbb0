"""``seodang plan``: which layouts of a model fit on the devices at hand."""

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import msgspec
from transformers import PreTrainedConfig

from seodang.base.errors import SeodangError
from seodang.runtime.architecture import read_config
from seodang.runtime.checkpoint import Checkpoint, read_json
from seodang.runtime.planner import Demand, LayoutPlan, gib, layouts, plan, recommend
from seodang.worker.messages import Layout

UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def main(arguments: list[str] | None = None) -> int:
    """Print the plan; 0 if something fits, 1 if nothing does, 2 for a bad question."""
    options = _parser().parse_args(arguments)
    try:
        config, stored = read_model(options.model)
        demand = Demand(parse_bytes(options.memory), options.dtype, options.prefill_tokens, options.max_batch)
        wanted = [Layout(tp=options.tp or 1, ep=options.ep or 1, pp=options.pp or 1)]
        if not (options.tp or options.ep or options.pp):
            wanted = layouts(config, options.devices)
        plans = [plan(config, layout, demand) for layout in wanted]
    except (SeodangError, ValueError) as error:
        print(f"seodang plan: {error}", file=sys.stderr)
        return 2
    best = recommend(plans, options.devices)
    if options.json:
        print(json.dumps([asdict(item) | {"layout": msgspec.structs.asdict(item.layout)} for item in plans], indent=2))
    else:
        print(render(plans, best, options.devices, demand, stored))
    return 0 if best else 1


def read_model(path: Path) -> tuple[PreTrainedConfig, int | None]:
    """Config of a ``config.json``, of the index beside one, or of a folder; and stored bytes, if an index tells."""
    folder = path if path.is_dir() else path.parent
    index = folder / "model.safetensors.index.json" if path.is_dir() else path
    config = read_json(folder / "config.json" if path.is_dir() or "index" in path.name else path)
    stored = None
    if "index" in index.name and index.is_file():
        size = read_json(index).get("metadata", {}).get("total_size")
        stored = int(size) if size is not None else None
    return read_config(Checkpoint(folder, config, {})), stored


def parse_bytes(text: str) -> int:
    """``141GiB`` as bytes."""
    match = re.fullmatch(r"([0-9.]+)\s*([A-Za-z]*)", text)
    if not match or match[2].upper() not in UNITS:
        raise ValueError(f"{text!r} is no amount of memory; write one like 141GiB or 80GB")
    return int(float(match[1]) * UNITS[match[2].upper()])


def render(plans: list[LayoutPlan], best: list[LayoutPlan], devices: int, demand: Demand, stored: int | None) -> str:
    """The plan as a table."""
    lines = [f"{devices} devices of {gib(demand.memory_bytes)}, {demand.dtype}, per device:"]
    if stored is not None:
        lines.append(f"(the index announces {gib(stored)} on disk)")
    lines.append(f"{'':2}{'tp':>4}{'ep':>4}{'pp':>4}{'replicas':>10}{'weights':>12}{'step':>12}{'a token':>12}  cache")
    for item in [*best, *(other for other in plans if other.refusal)]:
        layout = item.layout
        sizes = [gib(item.weight_bytes), gib(item.activation_bytes), gib(item.cache_bytes_per_token)]
        columns = "".join(f"{size:>12}" if item.weight_bytes else f"{'':12}" for size in sizes)
        mark = "*" if item in best[:3] else " "
        outcome = f"refused: {item.refusal}" if item.refusal else f"{item.cache_tokens:,} tokens"
        replicas = devices // layout.ranks if not item.refusal else ""
        lines.append(f"{mark:2}{layout.tp:>4}{layout.ep:>4}{layout.pp:>4}{replicas:>10}{columns}  {outcome}")
    lines.append("* recommended" if best else "nothing fits: use more or larger devices, or fewer prefill tokens")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="seodang plan", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="config.json, a safetensors index, or their folder")
    parser.add_argument("--devices", type=int, required=True, help="devices to lay the model over")
    parser.add_argument("--memory", required=True, help="memory of one device, such as 141GiB")
    parser.add_argument("--dtype", choices=("bfloat16", "float32", "int8", "int4"), default="bfloat16")
    parser.add_argument("--tp", type=int, help="tensor parallel degree; without any degree, all layouts are tried")
    parser.add_argument("--ep", type=int, help="expert parallel degree, 1 or equal to --tp")
    parser.add_argument("--pp", type=int, help="pipeline stages")
    parser.add_argument("--prefill-tokens", type=int, default=8192, help="prompt tokens of one step")
    parser.add_argument("--max-batch", type=int, default=64, help="sequences that decode together")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    return parser


if __name__ == "__main__":
    sys.exit(main())
