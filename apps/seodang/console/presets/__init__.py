"""The adapters' jobs, each with the widgets that its typed request needs and its answer as people want to see it."""
