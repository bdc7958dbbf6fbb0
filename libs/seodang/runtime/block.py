"""Blocks of cached tokens: counted, shared by equal prefixes, and reused when their sequences have gone."""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence as Seq

ROOT = b""


def block_digest(parent: bytes, tokens: Seq[int]) -> bytes:
    """Name of a full block: its tokens and all before them, by the parent's digest."""
    return hashlib.blake2b(parent + array("q", tokens).tobytes(), digest_size=16).digest()


class BlockPool:
    """Block ids 1.. of a cache; id 0 pads tables and is never handed out.

    A block is *held* by one or more sequences, or *idle*: its tokens are still there for a sequence with the same
    prefix, until it is needed for something else (least recently used first), or *free*.
    """

    def __init__(self, blocks: int) -> None:
        self.capacity = blocks - 1
        self._free = list(range(blocks - 1, 0, -1))
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._holders = [0] * blocks
        self._digest_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}

    @property
    def available(self) -> int:
        """Blocks that ``take`` can give."""
        return len(self._free) + len(self._idle)

    def take(self) -> int:
        """A block of one's own. The caller has checked ``available``."""
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            del self._block_of[self._digest_of.pop(block)]
        self._holders[block] = 1
        return block

    def share(self, digest: bytes) -> int | None:
        """The block of that name, now held once more, or None."""
        block = self._block_of.get(digest)
        if block is not None:
            self._idle.pop(block, None)
            self._holders[block] += 1
        return block

    def is_idle(self, digest: bytes) -> bool:
        """Whether sharing that block would use up one of the available ones."""
        return self._block_of.get(digest) in self._idle

    def knows(self, digest: bytes) -> bool:
        """Whether a block of that name can be shared."""
        return digest in self._block_of

    def seal(self, block: int, digest: bytes) -> None:
        """Name a full, computed block, so that others can share it. The first of equal blocks keeps the name."""
        if digest not in self._block_of and block not in self._digest_of:
            self._block_of[digest] = block
            self._digest_of[block] = digest

    def release(self, blocks: Seq[int]) -> None:
        """Let go of blocks, last first, so that the start of a prefix stays the longest."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if self._holders[block]:
                continue
            if block in self._digest_of:
                self._idle[block] = None
            else:
                self._free.append(block)
