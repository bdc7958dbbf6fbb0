"""The mesh in a browser: health, jobs, teacher beside student, a playground, the registry. It never imports torch."""
