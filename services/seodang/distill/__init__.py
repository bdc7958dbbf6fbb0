"""The distillation server: jobs that make students out of a teacher, and the registry of what they made."""
