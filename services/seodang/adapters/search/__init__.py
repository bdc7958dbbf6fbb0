"""Search: documents in, ranked passages and answers with checked citations out."""
