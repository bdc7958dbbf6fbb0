"""The speech synthesiser that comes with the platform: a Wyoming server around espeak-ng.

espeak-ng is GPL-3 software. It runs as a program of its own, one process an utterance: text in, WAV out.
"""
