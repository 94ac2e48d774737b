# %% [markdown]
# # Your own sentence encoder
#
# A sentence encoder maps a text to a vector, so that texts on the same topic lie near each other. That serves search,
# clustering, and classification with few labels. Here one is trained on unlabelled news, in minutes on two CPU cores,
# compared with baselines, and plotted.

# %%
import json
import os
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from sentence_transformers import SentenceTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

import textssl

SMALL = os.environ.get("TEXTSSL_NOTEBOOK_BUDGET") == "small"  # a trial run of a few steps
WORK = Path("runs/sentence-encoder")
WORK.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## From text to a corpus
#
# A tokenizer made for this text, then the text as arrays of tokens. For meaning, capital letters matter little, so the
# tokenizer lowercases: "Bank" and "bank" share what is learned about them. Your own folder of texts can take the place
# of `sample:news`.

# %%
textssl.train_tokenizer(
    input=["sample:news"], out=WORK / "tokenizer", algorithm="wordpiece", vocab_size=8192, lowercase=True
)
corpus = textssl.prepare(input=["sample:news"], tokenizer=WORK / "tokenizer", out=WORK / "corpus", held_out=0.03)

# %% [markdown]
# ## Training without labels
#
# The objective `crops` takes two spans of every article. The two spans of one article attract each other, the spans of
# all other articles in the step repel. To tell which spans belong together, the model has to learn which words go
# with which matter. The model is a table with a vector for each token; a text is their weighted mean.

# %%
configuration = f"""
name: news-encoder
out: {WORK}/run
tokenizer: {WORK}/tokenizer
data: {{corpus: {WORK}/corpus}}
model: {{preset: {"static-nano" if SMALL else "static-base"}}}
objective: {{name: crops, view: {{min_tokens: 16, max_tokens: 64, max_gap: 64}}, temperature: 0.07}}
optimizer: {{name: adamw, lr: 3e-3, betas: [0.9, 0.99]}}
schedule: {{name: linear, warmup_steps: 50}}
train: {{max_steps: {10 if SMALL else 400}, batch_size: {64 if SMALL else 1024}, log_every: 10, checkpoint_every: 200}}
evaluation: {{every: {5 if SMALL else 50}}}
"""
(WORK / "config.yaml").write_text(configuration)
summary = textssl.pretrain(WORK / "config.yaml")
model = WORK / "run" / "model"

# %% [markdown]
# The loss of the contrast: how hard it is to find the partner of a span among all spans of a step. The held-out
# articles are fewer than the batch, so the partner is easier to find there. Their loss falls at first and then levels off:
# from there on, the model mostly memorises its own articles, and more steps would not help.


# %%
def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


lines = read(WORK / "run" / "metrics.jsonl")
figure, axes = plt.subplots(figsize=(7, 3.2))
for name, label in (("train/loss", "training text"), ("eval/loss", "held-out text")):
    found = [(line["step"], line[name]) for line in lines if name in line]
    axes.plot(*zip(*found, strict=True), marker="o" if name.startswith("eval") else None, label=label)
axes.set(xlabel="step", ylabel="loss, nats", title="Finding the other span of an article")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## A map of other texts
#
# BBC articles on five topics, which were not trained on. The encoder's vectors are drawn in the two directions
# in which they differ most (PCA), and beside them the word counts (TF-IDF) in theirs. The labels colour the points and
# played no part in the training.

# %%
rows = read(textssl.get_sample("bbc") / "bbc.jsonl")
rng = np.random.default_rng(0)
rows = [rows[place] for place in rng.permutation(len(rows))[: 100 if SMALL else 800]]
texts, topics = [row["text"] for row in rows], np.array([row["label"] for row in rows])
encoder = SentenceTransformer(str(model))
vectors = encoder.encode(texts)
words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(texts)
maps = {
    "this encoder": PCA(2, random_state=0).fit_transform(vectors),
    "word counts (TF-IDF)": TruncatedSVD(3, random_state=0).fit_transform(words)[:, 1:],  # the first is the length
}
figure, both = plt.subplots(1, 2, figsize=(9, 4.2))
for axes, (title, places) in zip(both, maps.items(), strict=True):
    for topic in sorted(set(topics)):
        axes.scatter(*places[topics == topic].T, s=8, alpha=0.7, label=topic)
    axes.set(title=title, xticks=[], yticks=[])
    axes.spines[:].set_color("lightgray")
figure.legend(*both[0].get_legend_handles_labels(), loc="lower center", ncols=5, frameon=False, markerscale=2)
figure.tight_layout(rect=(0, 0.06, 1, 1))
plt.show()

# %% [markdown]
# ## Search
#
# The headlines that lie nearest to a question, by the cosine of their vectors. Only the articles below the headlines
# were trained on.

# %%
headlines = sorted({article["title"] for article in read(textssl.get_sample("news") / "news.jsonl")} - {""})
index = encoder.encode(headlines)
for question in (
    "rising sea levels and global warming",
    "a striker moves to another club",
    "quarterly profit of a bank",
):
    cosines = encoder.encode(question) @ index.T
    print(question)
    for place in np.argsort(-cosines)[:3]:
        print(f"  {cosines[place]:.2f}  {headlines[place]}")

# %% [markdown]
# ## What is it worth?
#
# `evaluate` measures on labelled tasks beside baselines that cost nothing: a constant class, TF-IDF, random word
# vectors, and this very model before training. Only what lies above those bars was learned.

# %%
suite = WORK / "suite.yaml"
suite.write_text(
    """
draws: 10
shots: [8]
max_tokens: 128
tasks:
  - {name: bbc, path: "sample:bbc", max_train: 400, max_test: 300}
  - {name: trec, path: "sample:trec", max_train: 2000, max_test: 700}
"""
)
results = textssl.evaluate(model, suite=suite, baselines=True, out=WORK / "evaluation.json")

# %%
answers = {"this encoder": results["tasks"]} | {
    {"tfidf": "word counts", "random_words": "random words", "random_init": "untrained"}.get(name, name): tasks
    for name, tasks in results["baselines"].items()
}
figure, axes = plt.subplots(figsize=(7, 3.4))
width = 0.8 / len(answers)
for place, (answer, tasks) in enumerate(answers.items()):
    figures = [tasks[task]["probe_8"] for task in results["tasks"] if "probe_8" in tasks.get(task, {})]
    means = np.array([figure["mean"] for figure in figures])
    errors = np.array([[one["mean"] - one["low"], one["high"] - one["mean"]] for one in figures]).T
    left = np.arange(len(means)) + (place - len(answers) / 2 + 0.5) * width
    axes.bar(
        left,
        means,
        width * 0.9,
        yerr=errors,
        label=answer,
        color="tab:blue" if place == 0 else f"{0.2 + place / 7:.2f}",
    )
axes.set_xticks(range(len(results["tasks"])), results["tasks"])
axes.set(ylabel="accuracy", ylim=(0, 1), title="8 labels a class, and 95 % intervals")
axes.legend(frameon=False, ncols=len(answers), loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=8)
axes.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
plt.show()

# %% [markdown]
# The topics of BBC articles were learned: the bar stands above all others. The questions of trec are another matter.
# Their classes are kinds of answers (a person, a place, a number), which news says little about, and there counting
# words is better.
#
# The folder `runs/sentence-encoder/run/model` loads with `SentenceTransformer(...)` and needs no textssl. It has a card
# that says how it was made.
