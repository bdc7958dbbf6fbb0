"""The inference engine: load, shard, schedule, sample, score. Knows torch; knows nothing of grpc, SQL or the web."""

__all__: list[str] = []
