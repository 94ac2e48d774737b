"""The rules: each drops what it says, the first that is broken counts, and wrong ones are named."""

import pytest

from textssl.data.corpus.cleaning.filters import Cleaning, Fault
from textssl.errors import UserError

GERMAN = "Er war mit den anderen nicht da, und es ist auch spät."
ENGLISH = "He was not there with the others, and it is late."


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ({"min_characters": 50}, Fault("too short", "49 characters")),
        ({"max_characters": 48}, Fault("too long", "49 characters")),
        ({"keep_languages": ("de", "fr")}, Fault("other language", f"en: '{ENGLISH[:36]}...")),
        ({"drop_matching": r"o.h\w+"}, Fault("matches --drop-matching", "'others'")),
        ({"keep_matching": "^She"}, Fault("no match of --keep-matching", f"'{ENGLISH[:36]}...")),
        ({"min_characters": 49, "max_characters": 49, "keep_languages": ("en",), "keep_matching": "late"}, None),
        ({"drop_matching": "^was", "drop_repetitive": True, "near_duplicates": 0.8}, None),
        ({"drop_matching": "was", "max_characters": 4}, Fault("too long", "49 characters")),
        ({}, None),
    ],
)
def test_each_rule(rules, fault):
    assert Cleaning(**rules).faults([ENGLISH]) == [fault]


def test_repetition_is_looked_for_in_what_keeps_the_other_rules():
    texts = ["no " * 40, "word " * 40, ENGLISH]
    found = Cleaning(drop_repetitive=True, drop_matching="no ").faults(texts)
    assert found[0] == Fault("matches --drop-matching", "'no '") and found[2] is None
    assert found[1] is not None and found[1].reason == "repetition" and "run of 2 words" in found[1].detail


def test_a_text_too_short_for_a_guess_is_of_the_main_language():
    rules = Cleaning(keep_languages=("de",))
    assert rules.faults(["Nr. 7", GERMAN, ENGLISH], main_language="de")[:2] == [None, None]
    assert [fault is None for fault in rules.faults(["Nr. 7", GERMAN, ENGLISH])] == [False, True, False]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"min_characters": 0}, "--min-characters is 0, it must be at least 1"),
        ({"max_characters": -1}, "--max-characters is -1"),
        ({"min_characters": 9, "max_characters": 8}, "--min-characters 9 is above --max-characters 8"),
        ({"keep_languages": ("deutsch",)}, "--keep-languages has 'deutsch', it takes codes of am, "),
        ({"near_duplicates": 0.4}, r"--near-duplicates is 0.4, it must be from 0.5 to 1"),
        ({"near_duplicates": 80.0}, r"--near-duplicates is 80.0, it must be from 0.5 to 1"),
        ({"near_duplicates": float("nan")}, r"--near-duplicates is nan"),
        ({"keep_matching": "(a"}, r"--keep-matching '\(a' is not a valid regular expression: missing \)"),
        ({"drop_matching": "*"}, r"--drop-matching '\*' is not a valid regular expression: nothing to repeat"),
    ],
)
def test_wrong_rules_are_named(rules, message):
    with pytest.raises(UserError, match=message):
        Cleaning(**rules)
