"""What the forms of the teacher's signal cost on the wire, and what they lose.

Scores a few texts in each form and compares with the model's exact distribution, which is its float32 hidden states
times its head. Starts a teacher of its own, or asks one that runs. P positions, V vocabulary, H hidden size.

    python -m benchmarks.signal_forms [--address 127.0.0.1:7101] [--model models/teacher-mini]
"""

import argparse
import base64
import json
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.result import Chart, Result, Row, machine, versions
from benchmarks.teacher import MODEL, own_teacher
from seodang.api.inference.v1 import chat_pb2, inference_pb2, score_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.client import Client
from seodang.inference import to_array, unpack

Floats = npt.NDArray[np.float64]
Read = Callable[[score_pb2.ScoreChunk], tuple[npt.NDArray[np.int64], Floats]]

SUMMARY = """What one position of the teacher's answer costs on the wire in each form, and what the form loses: the KL
divergence from the exact distribution to the received one, in nats. Hidden states are the whole distribution, since
the caller fetches the head once. For a top k both sides are taken over the k entries, the received ones scaled to the
exact mass outside, which travels exactly. Bytes are whole chunks, with normaliser and next token. The bundled
teacher; positions and vocabulary are those of the row. *JSON of vLLM's prompt_logprobs* and *base64 of TRL's server*
are the same 64 entries as those write them; a drawn entry has no counterpart there, and its loss is a variance, not
an error."""
TEXTS = (
    "거실 불을 켜 줘",
    "내일 아침 일곱 시에 깨워 줘",
    "turn off the lights in the bedroom and set the thermostat to twenty degrees",
    "what is the balance of my savings account",
    "서당에서는 훈장이 아이들에게 글을 가르쳤다. 아이들은 소리 내어 글을 읽었다.",
    "The village school had one teacher and many students. Each of them learnt something else.",
)


class Teacher:
    """One model of one server."""

    def __init__(self, client: Client, model: str) -> None:
        self._client = client
        self._model = model
        self._sequences = [score_pb2.ScoreSequence(token_ids=chat_pb2.TokenIds(ids=self._ids(t))) for t in TEXTS]

    def _ids(self, text: str) -> list[int]:
        prompt = chat_pb2.Prompt(text=text)
        request = inference_pb2.CountTokensRequest(model=self._model, prompt=prompt, return_ids=True)
        return list(self._client.inference.CountTokens(request).ids)

    def score(self, signals: score_pb2.ScoreSignals) -> tuple[list[score_pb2.ScoreChunk], float]:
        """Chunks, and bytes a position."""
        request = score_pb2.ScoreRequest(model=self._model, sequences=self._sequences, signals=signals)
        events = list(self._client.inference.Score(request))
        return [event.chunk for event in events if event.HasField("chunk")], events[-1].finished.bytes_per_position

    def logprobs(self, dtype: tensor_pb2.DType.ValueType) -> tuple[Floats, float]:
        """[P, V] of the hidden states in a dtype."""
        request = score_pb2.GetOutputHeadRequest(model=self._model)
        head_VH = np.concatenate([to_array(part.rows) for part in self._client.inference.GetOutputHead(request)])
        chunks, bytes_per_position = self.score(score_pb2.ScoreSignals(hidden_states=dtype))
        hidden_PH = np.concatenate([_hidden(chunk) for chunk in chunks])
        return _log_softmax(hidden_PH @ head_VH.T.astype(np.float64)), bytes_per_position


def _hidden(chunk: score_pb2.ScoreChunk) -> Floats:
    hidden: Floats = to_array(chunk.hidden_states).astype(np.float64)
    return hidden * to_array(chunk.hidden_scales)[:, None] if chunk.HasField("hidden_scales") else hidden


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def _top_error(exact_PV: Floats, chunks: list[score_pb2.ScoreChunk], read: Read) -> Floats:
    """KL [P] over the top entries and the rest as one; the received ones scaled to the exact mass of the top."""
    errors = []
    for chunk, begin in zip(chunks, np.cumsum([0, *(c.logsumexp.shape[0] for c in chunks)])[:-1], strict=True):
        ids, logprobs = read(chunk)
        exact = np.take_along_axis(exact_PV[begin : begin + len(ids)], ids, 1)
        mass = np.exp(exact)
        received = logprobs + np.log(mass.sum(1, keepdims=True)) - np.log(np.exp(logprobs).sum(1, keepdims=True))
        errors.append((mass * (exact - received)).sum(1))
    return np.concatenate(errors)


def _plain(chunk: score_pb2.ScoreChunk) -> tuple[npt.NDArray[np.int64], Floats]:
    rows = chunk.logsumexp.shape[0]
    ids, logprobs = to_array(chunk.top.ids), to_array(chunk.top.logprobs)
    return ids.reshape(rows, -1).astype(np.int64), logprobs.reshape(rows, -1).astype(np.float64)


def _packed(chunk: score_pb2.ScoreChunk) -> tuple[npt.NDArray[np.int64], Floats]:
    rows = unpack(chunk.top.packed)
    return (
        rows.ids.reshape(len(rows.counts), -1).astype(np.int64),
        rows.logprobs.reshape(len(rows.counts), -1).astype(np.float64),
    )


def measure(client: Client, model: str) -> list[Row]:
    teacher = Teacher(client, model)
    exact_PV, exact_bytes = teacher.logprobs(tensor_pb2.D_TYPE_FLOAT32)
    size: Row = {"positions": exact_PV.shape[0], "vocabulary": exact_PV.shape[1]}
    rows: list[Row] = [{"form": "hidden states, float32 (reference)", "bytes_per_position": exact_bytes, **size}]
    for name, dtype in (("bfloat16", tensor_pb2.D_TYPE_BFLOAT16), ("int8", tensor_pb2.D_TYPE_INT8)):
        logprobs, cost = teacher.logprobs(dtype)
        errors = (np.exp(exact_PV) * (exact_PV - logprobs)).sum(1)
        rows.append({"form": f"hidden states, {name}", "bytes_per_position": cost, **_losses(errors), **size})
    for k in (64, 12):
        for name, encoding, read in (
            ("plain", score_pb2.SPARSE_ENCODING_PLAIN, _plain),
            ("packed", score_pb2.SPARSE_ENCODING_PACKED, _packed),
        ):
            chunks, cost = teacher.score(score_pb2.ScoreSignals(top_k=k, encoding=encoding))
            errors = _top_error(exact_PV, chunks, read)
            rows.append({"form": f"top {k}, {name}", "bytes_per_position": cost, **_losses(errors), **size})
            if (k, name) == (64, "plain"):
                rows += [{"form": form, "bytes_per_position": cost, **size} for form, cost in _peers(chunks).items()]
    for name, encoding in (("plain", score_pb2.SPARSE_ENCODING_PLAIN), ("packed", score_pb2.SPARSE_ENCODING_PACKED)):
        sampled = score_pb2.SampledTarget(head=4, tail_draws=8)
        signals = score_pb2.ScoreSignals(sampled=sampled, entropy=True, encoding=encoding)
        rows.append({"form": f"4 + 8 sampled, {name}", "bytes_per_position": teacher.score(signals)[1], **size})
    return rows


def _peers(chunks: list[score_pb2.ScoreChunk]) -> dict[str, float]:
    """Bytes a position of the same top 64 as vLLM's API and as TRL's server write them."""
    parts = [_plain(chunk) for chunk in chunks]
    ids, logprobs = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    answer = [
        {
            str(token): {"logprob": float(np.float32(value)), "rank": rank, "decoded_token": f"t{token}"}
            for rank, (token, value) in enumerate(zip(*row, strict=True), start=1)
        }
        for row in zip(ids.tolist(), logprobs.tolist(), strict=True)
    ]
    as_json = json.dumps(answer, separators=(",", ":"))
    arrays = (logprobs.astype(np.float32), ids.astype(np.int32))
    as_base64 = json.dumps([base64.b64encode(array.tobytes()).decode() for array in arrays])
    return {
        "top 64, JSON of vLLM's prompt_logprobs": len(as_json.encode()) / len(ids),
        "top 64, base64 of TRL's server": len(as_base64.encode()) / len(ids),
    }


def _losses(errors: Floats) -> Row:
    # Rounding of float64 leaves sums around zero, below it too; a divergence is not negative.
    return {"kl_mean_nats": max(float(errors.mean()), 0.0), "kl_worst_nats": max(float(errors.max()), 0.0)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--address", help="of a running server; by default one is started")
    arguments.add_argument("--model", default=MODEL)
    given = arguments.parse_args()
    before = machine()
    if given.address:
        with Client(given.address) as client:
            rows = measure(client, given.model)
    else:
        with own_teacher() as address, Client(address) as client:
            rows = measure(client, MODEL)
    for row in rows:
        print(row)
    Result(
        name="signal_forms",
        title="The teacher's signal on the wire",
        summary=SUMMARY,
        command=" ".join(["python -m benchmarks.signal_forms", *sys.argv[1:]]),
        rows=rows,
        machine=before,
        versions=versions("grpcio", "protobuf", "numpy", "torch"),
        charts=[Chart("Bytes a position", value="bytes_per_position", label="form")],
    ).write()


if __name__ == "__main__":
    main()
