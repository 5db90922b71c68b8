"""Numbers made of names never change, stay apart, and put a patient on one side for good."""

from collections import Counter

import pytest

from vizecg.errors import InputError
from vizecg.identity import ID_END, fold_of, id_of, joined_id


def test_a_name_has_the_first_48_bits_of_its_sha256():
    # printf JS00001 | sha256sum
    assert id_of("JS00001") == 0xBDBB8824A8D1


def test_every_fold_gets_its_tenth_of_the_patients():
    found = Counter(fold_of(f"patient {number}") for number in range(10_000))
    assert sorted(found) == list(range(1, 11))
    assert all(900 <= number <= 1100 for number in found.values())  # 1000 ± 3.3 standard deviations of 30


def test_ids_of_joined_sources_are_apart_and_survive_a_float():
    largest = joined_id(ID_END - 1, position=31)
    assert joined_id(5, position=0) == 5
    assert joined_id(0, position=1) > ID_END - 1
    assert int(float(largest)) == largest
    with pytest.raises(InputError, match="joins more than 32 sources; join fewer"):
        joined_id(0, position=32)
