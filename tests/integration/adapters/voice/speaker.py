"""The speaker's side of a conversation."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seodang.adapters.voice.sound import Sound
from seodang.api.voice.v1 import voice_pb2 as pb


@dataclass
class Speaker:
    """One side of a Converse."""

    call: Any
    rate: int = 16_000

    async def configure(self, **fields: Any) -> None:
        """The first message."""
        form = pb.AudioFormat(sample_rate=self.rate)
        made = {"input": form, "output": form, "language": "ko"} | fields
        await self.call.write(pb.ConverseRequest(config=pb.ConverseConfig(**made)))

    async def say(self, sound: Sound, piece_ms: int = 50) -> None:
        """Sends a sound in pieces, as a microphone would, but faster."""
        pcm = sound.resampled(self.rate).pcm
        size = self.rate * piece_ms // 1000 * 2
        for start in range(0, len(pcm), size):
            await self.call.write(pb.ConverseRequest(audio=pcm[start : start + size]))

    async def pause(self, seconds: float) -> None:
        """Sends the faint noise of a quiet room."""
        noise = np.random.default_rng(1).normal(0, 5, int(seconds * self.rate)).astype(np.int16)
        await self.say(Sound(self.rate, noise))

    async def until(self, event: str) -> list[pb.ConverseResponse]:
        """Everything up to the first event of a kind."""
        seen = []
        while not seen or seen[-1].WhichOneof("event") != event:
            response = await self.call.read()
            assert isinstance(response, pb.ConverseResponse), f"the stream ended after {kinds(seen)}"
            seen.append(response)
        return seen


def kinds(responses: list[pb.ConverseResponse]) -> list[str]:
    """The kinds of events, a run of reply audio as one."""
    names = [str(response.WhichOneof("event")) for response in responses]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name or name != "reply_audio"]
