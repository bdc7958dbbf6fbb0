"""The teacher: one large model, spread over ranks, behind InferenceService."""
