"""Items in memory: every epoch holds each once, in an order of its own that the seed and the purpose decide."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from textssl.data.keyed_random import LABELLED, PAIRS
from textssl.data.plan.in_memory import InMemory


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_every_epoch_holds_each_item_once(count, seed):
    listed = InMemory([str(number) for number in range(count)], seed, LABELLED)
    assert len(listed) == count
    for epoch in range(3):
        found = [listed.sample(epoch * count + place) for place in range(count)]
        assert sorted(found) == sorted(listed.items)


def order(seed: int = 0, purpose: int = LABELLED, epoch: int = 0) -> list[int]:
    listed = InMemory(range(50), seed, purpose)
    return [listed.sample(50 * epoch + place) for place in range(50)]


def test_order_follows_seed_purpose_and_epoch():
    orders = [order(), order(seed=1), order(purpose=PAIRS), order(epoch=1), order(epoch=2)]
    assert len({tuple(one) for one in orders}) == 5 and order() == orders[0]
    listed = InMemory(range(50), 0, LABELLED)
    assert [listed.sample(place) for place in (149, 3, 77)] == [orders[4][49], orders[0][3], orders[3][27]]


def test_without_shuffling_the_list_is_read_as_it_stands():
    listed = InMemory("abc", 7, LABELLED, shuffle=False)
    assert [listed.sample(index) for index in range(7)] == list("abcabca")


def test_randomness_of_a_sample_is_its_own():
    def draws(seed: int, purpose: int, index: int) -> tuple[float, ...]:
        return tuple(InMemory(range(5), seed, purpose).rng(index).random(3))

    assert draws(0, LABELLED, 3) == draws(0, LABELLED, 3)
    assert len({draws(0, LABELLED, 3), draws(1, LABELLED, 3), draws(0, PAIRS, 3), draws(0, LABELLED, 4)}) == 4
    assert draws(0, LABELLED, 8) != draws(0, LABELLED, 3), "the same item in another epoch"
