"""``seodang export``: a student for other people's runtimes."""

import argparse
import shutil
import sys
from pathlib import Path

from seodang.base.errors import AlreadyExists, SeodangError, Unsupported
from seodang.runtime.architecture import read_config
from seodang.runtime.checkpoint import Checkpoint
from seodang.runtime.export import Export, Vocabulary, Weights


def main(arguments: list[str] | None = None) -> int:
    """Write the export and tell what it is; 0 if it is there, 2 if it was refused."""
    options = _parser().parse_args(arguments)
    try:
        if options.format == "gguf":
            export_gguf(options.student, options.out, options.weights, accept_differences=options.accept_differences)
        else:
            export_transformers(options.student, options.out)
    except SeodangError as error:
        print(f"seodang export: {error}", file=sys.stderr)
        return 2
    return 0


def export_gguf(student: Path, out: Path, weights: Weights | None, *, accept_differences: bool) -> None:
    """One GGUF file.

    Raises:
        AlreadyExists: there is something at ``out``.
        Unsupported: llama.cpp would compute or tokenize something else.
    """
    export = Export(student)
    likeness = export.vocabulary.likeness
    if likeness.differing and not accept_differences:
        raise Unsupported(
            f"{_told(export.vocabulary)}\nTo export it all the same, pass --accept-differences and keep such texts "
            "from the model, or send it token ids. --format transformers has no such limit"
        )
    done = export.write(out, weights, student.resolve().name)
    print(f"{done.path}: {done.architecture}, {done.weights}, {done.tensors} tensors, {done.file_bytes} bytes")
    if likeness.differing:
        print(f"WARNING: {_told(export.vocabulary)}", file=sys.stderr)
    else:
        print(f"tokenizer: {likeness.pre_tokenizer.name}; {likeness.probed} probes come out as they do here")


def export_transformers(student: Path, out: Path) -> None:
    """A copy of the folder, whole or not at all: it is a transformers folder already, and keeps its signature.

    Raises:
        AlreadyExists: there is something at ``out``.
        BadCheckpoint: the folder does not hold a model that transformers knows.
    """
    config = read_config(Checkpoint.open(student))
    if out.exists():
        raise AlreadyExists(f"{out} exists; name a place that is free")
    beside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(student, beside)
    beside.replace(out)
    print(f"{out}: {config.architectures[0]}, for AutoModelForCausalLM and vLLM")


def _told(vocabulary: Vocabulary) -> str:
    likeness = vocabulary.likeness
    shown = "\n".join(f"  {vocabulary.show(difference)}" for difference in likeness.differences)
    return (
        f"llama.cpp tokenizes {likeness.differing} of {likeness.probed} probe texts in another way than this "
        f"tokenizer, even with {likeness.pre_tokenizer.name}, the closest of its fixed pre-tokenizers, such as\n{shown}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="seodang export", description=__doc__)
    parser.add_argument("student", type=Path, help="folder with config.json, safetensors files and tokenizer.json")
    parser.add_argument("--format", choices=("gguf", "transformers"), required=True, help="gguf is for llama.cpp")
    parser.add_argument("--out", type=Path, required=True, help="file (gguf) or folder (transformers) to be written")
    parser.add_argument(
        "--weights", type=Weights, choices=list(Weights), help="of a gguf; what the checkpoint has, if not named"
    )
    parser.add_argument(
        "--accept-differences", action="store_true", help="export even where llama.cpp cannot tokenize in the same way"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
