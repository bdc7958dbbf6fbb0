"""The queue, the processes that do the work, and what becomes of a finished student."""
