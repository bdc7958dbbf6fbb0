"""Speak to the assistant: a WAV file goes in; what was understood, the decided call and a spoken reply come out.

python examples/ask_by_voice.py examples/demo/living_room_light_ko.wav --language ko --reply reply.wav
"""

import argparse
from pathlib import Path

from google.protobuf import json_format

from seodang.api.voice.v1 import voice_pb2
from seodang.base import ports
from seodang.client import Client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wav", type=Path, help="one utterance, RIFF WAVE")
    parser.add_argument("--language", choices=("ko", "en"), default="ko")
    parser.add_argument("--reply", type=Path, default=Path("reply.wav"), help="where the spoken reply goes")
    parser.add_argument("--address", default=ports.local(ports.VOICE), help="host:port of the voice service")
    parser.add_argument("--model", default="", help="the student; empty takes the service's own")
    arguments = parser.parse_args()

    request = voice_pb2.AskRequest(wav=arguments.wav.read_bytes(), language=arguments.language, model=arguments.model)
    with Client(arguments.address) as client:
        answer = client.voice.Ask(request, timeout=60)
    print(f"heard:   {answer.transcript.text}")
    if answer.HasField("tool_call"):
        print(f"call:    {answer.tool_call.name} {json_format.MessageToDict(answer.tool_call.arguments)}")
    print(f"reply:   {answer.reply_text}")
    arguments.reply.write_bytes(answer.reply_wav)
    print(f"spoken:  {arguments.reply}")


if __name__ == "__main__":
    main()
