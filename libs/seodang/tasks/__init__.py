"""The jobs of the adapters: how a typed request becomes messages, and how a model's text becomes a typed answer.

Each job is one module with the same four functions: ``messages(request)``, ``render(answer)``, ``parse(text)`` and
``score(predicted, expected)``. Adapters, distillation and the teacher's recipe all go through them, so a prompt is
written in one place only. Nothing here imports torch.
"""

from seodang.tasks import assistant, messaging, robot, search
from seodang.tasks.example import Example
from seodang.tasks.message import Message, Role
from seodang.tasks.parsing import InvalidAnswer

__all__ = ["Example", "InvalidAnswer", "Message", "Role", "assistant", "messaging", "robot", "search"]
