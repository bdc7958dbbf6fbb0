"""What a partner team integrates with. Importing it never imports torch."""

from seodang.client.client import AsyncClient, Client
from seodang.client.generation import Completion, chat, complete, complete_async

__all__ = ["AsyncClient", "Client", "Completion", "chat", "complete", "complete_async"]
