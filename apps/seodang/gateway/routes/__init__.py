"""One module a group of paths, each with a ``router(...)`` that takes what it needs."""
