"""Full stops in languages other than English: what sentencex says, and what it lacks."""

# ruff: noqa: RUF001 (signs that look like others are the subject)

from itertools import pairwise

import pytest

from textssl.data.language.full_stops import FullStops, ends_enumeration, sentence_ends


def test_ends_are_offsets_of_the_text_whatever_is_blanked_out():
    text = "„Ja.“ (Gut.)\n\nZ. B.\u2028hier. • Eins. Zwei."
    ends = [0, *sentence_ends(text, "de")]
    parts = [text[start:stop] for start, stop in pairwise(ends)]
    assert "".join(parts) == text and parts[0] == "„Ja.“ (" and parts[-1] == "Zwei."


def test_a_long_text_is_read_in_pieces_without_a_loss():
    text = "Das ist ein Satz mit vielen Wörtern. " * 6000
    assert sentence_ends(text, "de") == [37 * place for place in range(1, 6001)]
    assert sentence_ends("", "de") == []
    assert sentence_ends("ä" * 300_000, "de")[-1] == 300_000


@pytest.mark.parametrize(
    ("language", "before", "after", "ends"),
    [
        ("fr", "Je vois M", "Dupont", False),  # a title that sentencex does not know
        ("es", "Dijo que no", "Luego", True),  # no abbreviation of "number" before a word
        ("es", "Es el no", "5", False),
        ("ru", "Это было в 1990 г", "Он", True),
        ("ru", "Я видел г", "Иванова", False),
        ("de", "Das ist der 2", "Weltkrieg", False),
        ("de", "Es waren 12", "Danach", True),
        ("de", "Das war gut", "5 Leute", True),  # sentencex begins no sentence with a number
        ("de", "Siehe Abb", "5", False),
        ("de", "In der Hauptstr", "12", False),
        ("ar", "قال د", "أحمد", False),
    ],
)
def test_what_is_mended(language, before, after, ends):
    text = f"{before}. {after} x"
    stop = len(before)
    assert FullStops(text, language).ends_sentence(stop, stop + 2, before.split()[-1]) is ends


@pytest.mark.parametrize("last", ["usw", "etc", "ecc", "и т. д", "и т.п", "itd"])
def test_an_enumeration_ends_before_a_capital(last):
    text = f"a, b {last}. Dann usw. dann"
    stop = len(f"a, b {last}")
    assert ends_enumeration(text, stop, stop + 2)
    assert not ends_enumeration(text, text.rindex("."), text.rindex("dann"))
