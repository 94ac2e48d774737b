import itertools

import numpy as np
import pytest

from textssl.data.keyed_random import bijection, generator, philox, shuffled


@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 1000, 4097])
def test_bijection_visits_every_place_once_in_an_order_of_its_key(count):
    order = bijection(np.arange(count), count, seed=1, epoch=0)
    assert sorted(order) == list(range(count))
    if count > 60:
        assert (order != bijection(np.arange(count), count, seed=1, epoch=1)).mean() > 0.9
        assert (order != bijection(np.arange(count), count, seed=2, epoch=0)).mean() > 0.9
        assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.3
    assert bijection(np.array([count - 1]), count, seed=1, epoch=0)[0] == order[-1]  # pointwise, no scan


def test_the_orders_of_a_seed_are_fixed_for_ever():
    assert bijection(np.arange(8), 8, seed=0, epoch=0).tolist() == FEISTEL_8
    assert shuffled(8, philox(0, 1, 2, 3, 4)).tolist() == SHUFFLED_8


def test_streams_of_different_keys_differ_and_do_not_depend_on_each_other():
    keys = list(itertools.product((0, 1), (1, 2), (0, 1), (0, 1)))
    draws = {tuple(generator(*key).random(4)) for key in keys}
    assert len(draws) == 16
    assert np.array_equal(generator(3, 1, 2).random(4), generator(3, 1, 2).random(4))


FEISTEL_8 = [2, 0, 4, 6, 7, 1, 5, 3]
SHUFFLED_8 = [5, 3, 6, 1, 2, 4, 0, 7]


def test_a_stream_is_numpys_of_that_key():
    own = philox(-3, 2, 7, 1)
    words = np.array([2**64 - 3, 2], np.uint64), np.array([0, 7, 1, 0], np.uint64)
    np.testing.assert_array_equal(own.random_raw(9), np.random.Philox(key=words[0], counter=words[1]).random_raw(9))
