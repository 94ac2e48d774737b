"""What an evaluation's kept tasks depend on."""

import shutil

from tests.data.corpus.written import write
from textssl.assembly.measured import file_facts


def test_facts_of_a_corpus_change_when_it_is_prepared_again(tmp_path):
    corpus, file = tmp_path / "corpus", tmp_path / "a.txt"
    sources = [corpus, file, "sample:bbc"]
    file.write_text("text")
    write(corpus, [10, 20])
    facts = file_facts(sources)
    assert file_facts(sources) == facts and ["sample:bbc", None] in facts
    shutil.rmtree(corpus)
    write(corpus, [20, 10])
    again = file_facts(sources)
    assert again != facts and again[-2:] == facts[-2:]
