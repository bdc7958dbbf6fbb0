"""Who runs next, driven without a model: a step just counts tokens as computed."""

import random

import pytest

from seodang.base.errors import Exhausted
from seodang.runtime.block import BlockPool
from seodang.runtime.scheduler import Scheduler, Share
from seodang.runtime.sequence import Sequence


class Plain(Sequence):
    """A sequence that draws token 7 until it has ``target`` tokens."""

    def __init__(self, name: str, prompt: list[int], target: int, priority: int = 0) -> None:
        super().__init__(name, list(prompt), priority)
        self.target = target
        self.held_back = False

    @property
    def paused(self) -> bool:
        return self.held_back

    def outputs(self, count: int) -> slice:
        return slice(0, 0)


def scheduler_of(blocks: int = 9, **limits: int) -> Scheduler:
    settings = {"max_batch": 4, "max_waiting": 100, "step_tokens": 64, **limits}
    return Scheduler(BlockPool(blocks), **settings)


def step(scheduler: Scheduler) -> list[Share]:
    """What the engine does around a forward pass."""
    shares = scheduler.schedule()
    for share in shares:
        share.sequence.computed += share.count
        scheduler.seal(share.sequence)
        sequence = share.sequence
        assert isinstance(sequence, Plain)
        if not sequence.remaining:
            sequence.tokens.append(7)
            if len(sequence.tokens) >= sequence.target:
                scheduler.remove(sequence)
    return shares


def names(shares: list[Share]) -> list[str]:
    return [share.sequence.request_id for share in shares]


def numbers(count: int, start: int = 0) -> list[int]:
    return list(range(start, start + count))


def test_a_long_prompt_is_computed_in_chunks_of_the_token_budget() -> None:
    scheduler = scheduler_of(step_tokens=20)
    scheduler.add(Plain("long", numbers(50), 52))
    assert [step(scheduler)[0].count for _ in range(4)] == [20, 20, 10, 1]


def test_running_sequences_decode_beside_a_prompt() -> None:
    scheduler = scheduler_of(step_tokens=16)
    scheduler.add(Plain("short", numbers(4), 20))
    step(scheduler)
    scheduler.add(Plain("long", numbers(40, 100), 60))
    shares = step(scheduler)
    assert [(share.sequence.request_id, share.count) for share in shares] == [("short", 1), ("long", 16)]


def test_a_shared_prefix_is_not_computed_again() -> None:
    scheduler = scheduler_of()
    scheduler.add(Plain("first", numbers(40), 41))
    step(scheduler)
    second = Plain("second", numbers(40), 41)
    scheduler.add(second)
    (share,) = step(scheduler)
    assert share.count == 8
    assert second.cached_tokens == 32


def test_the_last_token_is_computed_even_if_all_blocks_are_known() -> None:
    scheduler = scheduler_of()
    scheduler.add(Plain("first", numbers(32), 33))
    step(scheduler)
    scheduler.add(Plain("second", numbers(32), 33))
    (share,) = step(scheduler)
    assert share.count == 16


def test_a_prefix_is_shared_while_its_owner_still_runs() -> None:
    scheduler = scheduler_of()
    scheduler.add(Plain("owner", numbers(33), 60))
    step(scheduler)
    scheduler.add(Plain("guest", numbers(33), 60))
    assert [(share.sequence.request_id, share.count) for share in step(scheduler)] == [("owner", 1), ("guest", 1)]


def test_what_arrives_together_with_the_same_beginning_waits_a_step_to_share_it() -> None:
    scheduler = scheduler_of(blocks=20)
    prompts = {"a": numbers(40), "b": [*numbers(40), 1, 2], "other": numbers(20, start=100)}
    for name, prompt in prompts.items():
        scheduler.add(Plain(name, prompt, 60))
    assert names(step(scheduler)) == ["a", "other"]
    second = {share.sequence.request_id: share.count for share in step(scheduler)}
    assert second == {"a": 1, "other": 1, "b": 10}


def test_nobody_waits_for_the_beginning_of_a_paused_sequence() -> None:
    scheduler = scheduler_of(blocks=20, step_tokens=20)
    first, second = Plain("first", numbers(40), 60), Plain("second", numbers(40), 60)
    scheduler.add(first)
    step(scheduler)
    first.held_back = True
    scheduler.add(second)
    assert names(step(scheduler)) == ["second"]


def test_higher_priority_is_served_first_and_equals_in_order_of_arrival() -> None:
    scheduler = scheduler_of(max_batch=1)
    for name, priority in (("a", 0), ("b", 0), ("c", 5)):
        scheduler.add(Plain(name, numbers(3, hash(name) % 50), 4, priority))
    assert [names(step(scheduler)) for _ in range(3)] == [["c"], ["a"], ["b"]]


def test_an_urgent_request_takes_the_slot_of_a_lesser_one() -> None:
    scheduler = scheduler_of(max_batch=1)
    scheduler.add(Plain("slow", numbers(3), 30))
    step(scheduler)
    scheduler.add(Plain("urgent", numbers(3, 50), 5, priority=1))
    assert names(step(scheduler)) == ["urgent"]
    step(scheduler)
    assert names(step(scheduler)) == ["slow"]
    assert scheduler.preemptions == 1


def test_equal_priority_does_not_preempt() -> None:
    scheduler = scheduler_of(max_batch=1)
    scheduler.add(Plain("first", numbers(3), 30))
    step(scheduler)
    scheduler.add(Plain("second", numbers(3, 50), 5))
    assert names(step(scheduler)) == ["first"]


def test_when_blocks_run_out_the_latest_is_preempted_and_comes_back() -> None:
    scheduler = scheduler_of(blocks=5)
    early, late = Plain("early", numbers(30), 60), Plain("late", numbers(30, 100), 60)
    scheduler.add(early)
    scheduler.add(late)
    seen = [names(step(scheduler)) for _ in range(100)]
    assert ["early", "late"] in seen
    assert scheduler.preemptions >= 1
    assert len(early.tokens) == len(late.tokens) == 60
    assert scheduler.pool.available == 4


def test_a_paused_sequence_is_left_out_and_gives_way() -> None:
    scheduler = scheduler_of(blocks=5)
    reader = Plain("reader", numbers(50), 60)
    scheduler.add(reader)
    step(scheduler)
    reader.held_back = True
    assert not scheduler.has_work
    scheduler.add(Plain("other", numbers(50, 100), 52))
    assert names(step(scheduler)) == ["other"]
    step(scheduler)
    reader.held_back = False
    assert names(step(scheduler)) == ["reader"]


def test_a_paused_sequence_at_the_head_of_the_queue_does_not_block_it() -> None:
    scheduler = scheduler_of()
    first = Plain("first", numbers(10), 12)
    first.held_back = True
    scheduler.add(first)
    scheduler.add(Plain("second", numbers(10, 50), 12))
    assert names(step(scheduler)) == ["second"]


def test_a_full_queue_refuses_with_a_time_to_try_again() -> None:
    scheduler = scheduler_of(max_waiting=2)
    scheduler.add(Plain("a", numbers(3), 5))
    scheduler.add(Plain("b", numbers(3), 5))
    with pytest.raises(Exhausted, match="2 requests are waiting") as caught:
        scheduler.add(Plain("c", numbers(3), 5))
    assert caught.value.retry_after_s > 0
    step(scheduler)
    scheduler.add(Plain("c", numbers(3), 5))


def test_ten_thousand_arrivals_and_cancellations_leak_no_block() -> None:
    rng = random.Random(1)
    scheduler = scheduler_of(blocks=40, max_batch=8, max_waiting=30, step_tokens=48)
    alive: list[Plain] = []
    for number in range(10_000):
        start = rng.choice((0, 0, 1000))
        sequence = Plain(str(number), numbers(rng.randrange(1, 80), start), rng.randrange(81, 120), rng.randrange(3))
        try:
            scheduler.add(sequence)
            alive.append(sequence)
        except Exhausted:
            pass
        step(scheduler)
        alive = [sequence for sequence in alive if len(sequence.tokens) < sequence.target]
        if alive and rng.random() < 0.6:
            scheduler.remove(alive.pop(rng.randrange(len(alive))))
        assert scheduler.running + scheduler.waiting == len(alive)
    while scheduler.has_work:
        step(scheduler)
    assert scheduler.running == scheduler.waiting == 0
    assert scheduler.pool.available == 39
