"""Voice: speech in, a tool call decided by a student, speech out."""
