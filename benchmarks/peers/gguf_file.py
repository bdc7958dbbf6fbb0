"""Turns the checkpoint into a GGUF file; runs in llama.cpp's environment.

python -m benchmarks.peers.gguf_file CHECKPOINT FILE q8_0|bf16
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

TYPES = {"q8_0": gguf.GGMLQuantizationType.Q8_0, "bf16": gguf.GGMLQuantizationType.BF16}


def read_bfloat16(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """A safetensors file whose tensors are all bfloat16: its layout is a header length, a JSON header and the bytes."""
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    header_bytes = int(raw[:8].view(np.uint64)[0])
    header = json.loads(raw[8 : 8 + header_bytes].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "BF16", f"{name} is {entry['dtype']}"
        begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        halves = np.frombuffer(raw[begin:end].tobytes(), dtype=np.uint16)
        tensors[name] = (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
    return tensors


def write(folder: Path, path: Path, kind: gguf.GGMLQuantizationType) -> None:
    config = json.loads((folder / "config.json").read_text())
    layers = config["num_hidden_layers"]
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")  # prompts come as ids
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, layers)
    for name, tensor in read_bfloat16(folder / "model.safetensors").items():
        own = names.get_name(name, try_suffixes=(".weight",))
        assert own is not None, f"GGUF has no name for {name}"
        if tensor.ndim == 1:
            writer.add_tensor(own, tensor)
        else:
            writer.add_tensor(own, gguf.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    folder, path, kind = sys.argv[1:]
    draft = Path(path).with_suffix(".draft")
    write(Path(folder), draft, TYPES[kind])
    draft.rename(path)


if __name__ == "__main__":
    main()
