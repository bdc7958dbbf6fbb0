"""Consented traffic: what may be kept, what is kept, and the frozen versions of it that jobs name."""
