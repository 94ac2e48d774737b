"""Word analogies against the definition, written out."""

import numpy as np

from textssl.evaluation.figures.analogies import analogies, solve


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_answers_are_the_nearest_words_to_b_minus_a_plus_c():
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(12, 5)))
    places = rng.integers(12, size=(40, 4))
    for exclude in (True, False):
        found = solve(vectors, places, exclude=exclude)
        for question, answer in zip(places, found, strict=True):
            a, b, c = question[:3]
            allowed = [word for word in range(12) if not exclude or word not in (a, b, c)]
            wanted = vectors[b] - vectors[a] + vectors[c]
            assert answer == max(allowed, key=lambda word: float(wanted @ vectors[word]))


def test_a_table_with_the_relation_as_one_direction_answers_all():
    base = np.eye(8)[:4]
    table = {f"{kind}{number}": unit((base[number] + shift)[None])[0] for number in range(4)
             for kind, shift in (("man", 0.5 * np.eye(8)[6]), ("woman", 0.5 * np.eye(8)[7]))}  # fmt: skip
    questions = [
        {"a": f"man{i}", "b": f"woman{i}", "c": f"man{j}", "d": f"woman{j}", "section": "family"}
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    found = analogies(lambda words: np.stack([table[word] for word in words]), questions)
    assert found.without_query_words == found.sections["family"] == 1.0
    assert (found.questions, found.words) == (12, 8)
