"""The arithmetic of our decoders: one interface, plain torch, and C for decoding on CPUs."""
