"""OpenAI's HTTP vocabulary: bodies that come in, replies that go out, and the mesh's messages between them."""
