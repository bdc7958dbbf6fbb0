"""``POST /v1/embeddings``: the body, the request to the mesh that it means, and the reply."""

import base64
import struct
from typing import Annotated, Any, Literal

from pydantic import Field

from seodang.api.inference.v1 import inference_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.base.errors import InternalFault
from seodang.gateway.openai.body import Body, Text
from seodang.gateway.upstreams import resource_name

_FLOAT_BYTES = 4


class EmbeddingBody(Body):
    """Texts; token ids are not taken, because vectors of another tokenizer's ids would be silently wrong."""

    model: Annotated[Text, Field(min_length=1, max_length=256)]
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: None = None
    """Vectors have the model's own width."""

    # Accepted, without effect.
    user: Any = None

    def request(self) -> inference_pb2.EmbedRequest:
        """The request to the mesh: vectors of length 1, as OpenAI's are."""
        texts = [self.input] if isinstance(self.input, str) else self.input
        return inference_pb2.EmbedRequest(model=resource_name(self.model), texts=texts, normalize=True)


def embedding_reply(body: EmbeddingBody, answer: inference_pb2.EmbedResponse) -> dict[str, object]:
    """The reply as one object.

    Raises:
        InternalFault: the server's tensor is not float32 [texts, hidden].
    """
    vectors = _rows(answer.embeddings)
    encode = _base64 if body.encoding_format == "base64" else _floats
    data = [{"object": "embedding", "index": index, "embedding": encode(row)} for index, row in enumerate(vectors)]
    usage = {"prompt_tokens": answer.usage.prompt_tokens, "total_tokens": answer.usage.prompt_tokens}
    return {"object": "list", "data": data, "model": body.model, "usage": usage}


def _rows(tensor: tensor_pb2.Tensor) -> list[bytes]:
    shape = list(tensor.shape)
    if (
        tensor.dtype != tensor_pb2.D_TYPE_FLOAT32
        or len(shape) != 2
        or len(tensor.data) != _FLOAT_BYTES * shape[0] * shape[1]
    ):
        raise InternalFault(
            f"a server sent embeddings of shape {shape}, dtype {tensor_pb2.DType.Name(tensor.dtype)} and "
            f"{len(tensor.data)} bytes, not float32 [texts, hidden]: report it"
        )
    width_bytes = _FLOAT_BYTES * shape[1]
    return [tensor.data[start : start + width_bytes] for start in range(0, len(tensor.data), width_bytes)]


def _base64(row: bytes) -> str:
    return base64.b64encode(row).decode()


def _floats(row: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(row) // _FLOAT_BYTES}f", row))
