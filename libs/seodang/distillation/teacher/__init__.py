"""The teacher, asked over gRPC: who it is, its tokenizer and head, its signal, its answers."""

from seodang.distillation.teacher.connection import TeacherConnection, TeacherIdentity, open_teacher
from seodang.distillation.teacher.patience import Patience
from seodang.distillation.teacher.scored import Entries, Scored, read_chunk

__all__ = ["Entries", "Patience", "Scored", "TeacherConnection", "TeacherIdentity", "open_teacher", "read_chunk"]
