"""The speech recogniser that comes with the platform: a Wyoming server around pocketsphinx, for home commands.

It needs no download and no network. It hears commands of a grammar, in English and Korean, and nothing else; for free
speech give the voice service the address of another Wyoming server.
"""
