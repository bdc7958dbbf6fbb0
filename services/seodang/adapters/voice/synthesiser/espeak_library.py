"""The ``espeak-ng`` program where only its library is installed: text on standard input, WAV on standard output.

It is run by its path in an interpreter of its own (``python -I -S espeak_library.py LIBRARY DATA VOICE``) and imports
nothing but the standard library, so that nothing else of the platform is in one process with the library.
"""

import ctypes
import sys
import wave

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
_BY_CHARACTERS = 1  # POS_CHARACTER
_UTF8 = 1  # espeakCHARS_UTF8


def main(library_path: str, data_path: str, voice: str) -> int:
    """Speaks standard input; the exit status is 0 if all went well."""
    library = ctypes.CDLL(library_path)
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), _DO_NOT_EXIT)
    if rate <= 0:
        print(f"{library_path} found no usable data in {data_path}", file=sys.stderr)
        return 1
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        print(f"{data_path} has no voice {voice!r}", file=sys.stderr)
        return 1
    pcm = bytearray()

    def take(samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            pcm.extend(ctypes.string_at(samples, 2 * count))
        return 0

    # The library keeps the function's address, so it must live as long as the speaking.
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(take)
    library.espeak_SetSynthCallback(callback)
    text = sys.stdin.buffer.read() + b"\0"
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    if library.espeak_Synth(text, len(text), 0, _BY_CHARACTERS, 0, _UTF8, None, None) != 0:
        print("the library refused the text", file=sys.stderr)
        return 1
    with wave.open(sys.stdout.buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.setnframes(len(pcm) // 2)
        out.writeframesraw(pcm)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
