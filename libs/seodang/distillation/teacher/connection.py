"""One teacher: a model on a server that speaks InferenceService."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from seodang.api.inference.v1 import generate_pb2, inference_pb2, model_pb2, score_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import Conflict, InternalFault, Retriable, Unavailable, Unsupported
from seodang.client import Client, chat, complete
from seodang.distillation import spec
from seodang.distillation.folder import write_whole
from seodang.distillation.teacher.patience import Patience
from seodang.inference import to_array
from seodang.rpc import from_fault
from seodang.tasks import Message

SCORE_TIMEOUT_S: Final = 3600.0
ANSWER_TIMEOUT_S: Final = 120.0
CALLS_AT_ONCE: Final = 32


@dataclass(frozen=True)
class TeacherIdentity:
    """Which model it is; everything that it gives is bound to this."""

    model: str
    weights_sha256: str
    tokenizer_sha256: str
    architecture: str
    parameters: int
    vocabulary_size: int
    context_tokens: int
    dtype: str
    active_parameters: int = field(default=0, repr=False)
    """That one token passes through; 0 if the server does not tell. Not shown, because answers are bound to what is."""


@contextmanager
def open_teacher(teacher: spec.Teacher, patience: Patience | None = None) -> Iterator["TeacherConnection"]:
    """Connects and asks who is there.

    Raises:
        NotFound: the server has no such model.
        Unsupported: it cannot score, or has no chat template.
        Retriable: the server does not answer within the patience.
    """
    with Client(teacher.address) as client:
        yield TeacherConnection(client, teacher, patience or Patience())


class TeacherConnection:
    """Asks one teacher, and again while it restarts. See ``open_teacher``."""

    def __init__(self, client: Client, teacher: spec.Teacher, patience: Patience) -> None:
        self._client = client
        self._patience = patience
        self.spec = teacher
        self.identity = patience.call(self._identify)

    def fetch_tokenizer(self, folder: Path) -> None:
        """Writes the files of the tokenizer and chat template.

        Raises:
            Conflict: the tokenizer is no longer that of ``identity``.
        """
        for path, content in self._patience.call(self._tokenizer_files).items():
            write_whole(folder / path, content)

    def check_tokenizer(self, folder: Path) -> None:
        """Refuses files that ``fetch_tokenizer`` once wrote, if they are not what it would write now.

        Raises:
            Conflict: with the file that differs.
        """
        for name, content in self._patience.call(self._tokenizer_files).items():
            path = folder / name
            if not path.is_file() or path.read_bytes() != content:
                raise Conflict(
                    f"{path} is not what {self.identity.model} has now: its tokenizer or chat template changed since "
                    "this job began. Start a new job, or give the teacher back what it had",
                    reason="TOKENIZER_CHANGED",
                    metadata={"file": name},
                )

    def output_head(self) -> npt.NDArray[np.float32]:
        """The matrix [V, H] that turns hidden states into logits, as float32."""
        return self._patience.call(self._head)

    def score(
        self, sequences: Sequence[score_pb2.ScoreSequence], signals: score_pb2.ScoreSignals, start_offset: int = 0
    ) -> Iterator[score_pb2.ScoreChunk]:
        """The signal on sequences from ``start_offset`` on; a stream that breaks is resumed where it broke.

        Raises:
            Conflict: the model's weights or tokenizer are no longer those of ``identity``.
            InternalFault: the teacher left positions out, or sent more than there are.
        """
        pauses = self._patience.pauses()
        offset = start_offset
        positions = sum(sequence.end_position - sequence.first_position for sequence in sequences)
        while True:
            try:
                for chunk in self._score_once(sequences, signals, offset):
                    pauses.succeeded()
                    if chunk.offset != offset:
                        raise InternalFault(f"the teacher sent position {chunk.offset} where {offset} was due")
                    yield chunk
                    offset += chunk.next_logprobs.shape[0]
                if offset != positions:
                    raise InternalFault(f"the teacher says that it is done after {offset} of {positions} positions")
                return
            except Retriable as error:
                pauses.after(error)

    def answers(
        self, prompts: Sequence[Sequence[Message]], max_new_tokens: int, *, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[str]:
        """The teacher's answers, in order; several are asked for at once. Temperature 0 is greedy."""

        def ask(number: int) -> str:
            sampling = generate_pb2.Sampling(temperature=temperature)
            if temperature:
                sampling.seed = seed + number
            request = generate_pb2.GenerateRequest(
                request_id=str(uuid.uuid4()),
                model=self.identity.model,
                prompt=chat((message.role.value, message.content) for message in prompts[number]),
                sampling=sampling,
                max_new_tokens=max_new_tokens,
            )
            return self._patience.call(lambda: complete(self._client, request, timeout_s=ANSWER_TIMEOUT_S).text)

        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            yield from pool.map(ask, range(len(prompts)))

    def _identify(self) -> TeacherIdentity:
        request = inference_pb2.GetModelRequest(name=self.spec.model)
        model = self._client.inference.GetModel(request).model
        if model.state in (model_pb2.MODEL_STATE_LOADING, model_pb2.MODEL_STATE_RECOVERING):
            raise Unavailable(f"{self.spec.model} at {self.spec.address} is not ready yet: try again", retry_after_s=2)
        for needed in (model_pb2.CAPABILITY_SCORE, model_pb2.CAPABILITY_CHAT):
            if needed not in model.capabilities:
                raise Unsupported(
                    f"{self.spec.model} at {self.spec.address} lacks {model_pb2.Capability.Name(needed)}: "
                    "a teacher needs it"
                )
        return TeacherIdentity(
            model=self.spec.model,
            weights_sha256=model.weights_sha256,
            tokenizer_sha256=model.tokenizer_sha256,
            architecture=model.architecture,
            parameters=model.total_parameters,
            vocabulary_size=model.vocabulary_size,
            context_tokens=model.context_tokens,
            dtype=model.dtype,
            active_parameters=model.active_parameters,
        )

    def _score_once(
        self, sequences: Sequence[score_pb2.ScoreSequence], signals: score_pb2.ScoreSignals, offset: int
    ) -> Iterator[score_pb2.ScoreChunk]:
        request = score_pb2.ScoreRequest(
            request_id=str(uuid.uuid4()),
            model=self.identity.model,
            sequences=sequences,
            signals=signals,
            start_offset=offset,
            expected_weights_sha256=self.identity.weights_sha256,
            expected_tokenizer_sha256=self.identity.tokenizer_sha256,
        )
        finished = False
        for response in self._client.inference.Score(request, timeout=SCORE_TIMEOUT_S):
            match response.WhichOneof("event"):
                case "chunk":
                    yield response.chunk
                case "fault":
                    raise from_fault(response.fault)
                case "finished":
                    finished = True
        if not finished:
            raise InternalFault("the teacher's scoring stream ended without saying that it was complete")

    def _tokenizer_files(self) -> dict[str, bytes]:
        files: dict[str, bytearray] = {}
        digests: dict[str, str] = {}
        request = inference_pb2.GetTokenizerRequest(model=self.identity.model)
        for part in self._client.inference.GetTokenizer(request):
            if part.tokenizer_sha256 != self.identity.tokenizer_sha256:
                raise Conflict(f"{self.identity.model} changed its tokenizer while it was asked", reason="CHANGED")
            content = files.setdefault(part.path, bytearray())
            if part.offset != len(content) or Path(part.path).name != part.path:
                raise InternalFault(
                    f"the teacher sent byte {part.offset} of {part.path!r} where {len(content)} was due"
                )
            content += part.data
            digests[part.path] = part.file_sha256
        for path, content in files.items():
            if hashlib.sha256(content).hexdigest() != digests[path]:
                raise Unavailable(f"{path} arrived damaged from {self.spec.address}: try again")
        return {path: bytes(content) for path, content in files.items()}

    def _head(self) -> npt.NDArray[np.float32]:
        request = score_pb2.GetOutputHeadRequest(model=self.identity.model, dtype=tensor_pb2.D_TYPE_FLOAT32)
        parts = [to_array(part.rows) for part in self._client.inference.GetOutputHead(request)]
        head: npt.NDArray[np.float32] = np.concatenate(parts)
        if len(head) != self.identity.vocabulary_size:
            raise InternalFault(f"the teacher's head has {len(head)} of {self.identity.vocabulary_size} rows")
        return head
