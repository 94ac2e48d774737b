"""What `textssl tokenizer train` says of its result."""

import pytest

from textssl.commands.tokenizer import train_tokenizer

TEXTS = {
    "Hindi": ("हिन्दी विश्व की एक प्रमुख भाषा है। यह भारत की राजभाषा है। ", True),
    "Thai": ("ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอน ", True),
    "French": ("Le bateau a traversé la rivière, où l'été était passé. ", False),
}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("strip_accents", [False, True])
def test_vowel_signs_that_count_as_accents_are_named(language, strip_accents, tmp_path, capsys):
    text, has_signs = TEXTS[language]
    (tmp_path / "text.txt").write_text("\n\n".join(f"{text * 3}{number}" for number in range(20)))
    train_tokenizer(tmp_path / "text.txt", tmp_path / "out", vocab_size=400, strip_accents=strip_accents)
    said = " ".join(capsys.readouterr().out.split())
    assert ("are vowel signs and the like, which --strip-accents removes" in said) == (has_signs and strip_accents)
