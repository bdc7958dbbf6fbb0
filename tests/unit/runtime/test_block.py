import random

from seodang.runtime.block import ROOT, BlockPool, block_digest


def test_block_zero_is_never_handed_out() -> None:
    pool = BlockPool(5)
    assert sorted(pool.take() for _ in range(4)) == [1, 2, 3, 4]
    assert pool.available == 0


def test_an_idle_block_is_shared_by_its_name() -> None:
    pool = BlockPool(5)
    block = pool.take()
    digest = block_digest(ROOT, range(16))
    pool.seal(block, digest)
    pool.release([block])
    assert pool.available == 4
    assert pool.share(digest) == block
    assert pool.share(digest) == block
    pool.release([block])
    assert pool.available == 3
    pool.release([block])
    assert pool.available == 4


def test_the_least_recently_used_idle_block_is_reused_first() -> None:
    pool = BlockPool(3)
    first, second = pool.take(), pool.take()
    digests = [block_digest(ROOT, [n]) for n in range(2)]
    pool.seal(first, digests[0])
    pool.seal(second, digests[1])
    pool.release([first])
    pool.release([second])
    assert pool.take() == first
    assert not pool.knows(digests[0])
    assert pool.knows(digests[1])


def test_a_digest_names_the_whole_prefix() -> None:
    assert block_digest(block_digest(ROOT, [1]), [2]) != block_digest(block_digest(ROOT, [3]), [2])


def test_no_block_is_lost_over_random_use() -> None:
    rng = random.Random(0)
    pool = BlockPool(33)
    held: list[list[int]] = []
    for step in range(5000):
        if rng.random() < 0.55 and pool.available:
            digest = block_digest(ROOT, [rng.randrange(40)])
            block = pool.share(digest)
            if block is None:
                block = pool.take()
                if rng.random() < 0.7:
                    pool.seal(block, digest)
            held.append([block])
        elif held:
            pool.release(held.pop(rng.randrange(len(held))))
        assert len({block for blocks in held for block in blocks}) + pool.available == 32, step
    for blocks in held:
        pool.release(blocks)
    assert pool.available == 32
