# %% [markdown]
# # A classifier from few labels
#
# Labels cost somebody's time, text is free. Here an encoder learns from unlabelled news which words go together, and a
# classifier of BBC articles is made on top of it from a handful of labelled examples. How many labels does that save,
# against counting words?

# %%
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import textssl

SMALL = os.environ.get("TEXTSSL_NOTEBOOK_BUDGET") == "small"  # a trial run of a few steps
WORK = Path("runs/few-labels")
WORK.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## An encoder from unlabelled text
#
# As in `sentence_encoder.ipynb`: a tokenizer and a corpus of news, then a static encoder that learns to tell which
# spans come from the same article. No label is involved, and no article of the BBC.

# %%
textssl.train_tokenizer(
    input=["sample:news"], out=WORK / "tokenizer", algorithm="wordpiece", vocab_size=8192, lowercase=True
)
corpus = textssl.prepare(input=["sample:news"], tokenizer=WORK / "tokenizer", out=WORK / "corpus", held_out=0.03)
(WORK / "encoder.yaml").write_text(
    f"""
name: news-encoder
out: {WORK}/encoder
tokenizer: {WORK}/tokenizer
data: {{corpus: {WORK}/corpus}}
model: {{preset: {"static-nano" if SMALL else "static-base"}}}
objective: {{name: crops, view: {{min_tokens: 16, max_tokens: 64, max_gap: 64}}, temperature: 0.07}}
optimizer: {{name: adamw, lr: 3e-3, betas: [0.9, 0.99]}}
schedule: {{name: linear, warmup_steps: 50}}
train: {{max_steps: {10 if SMALL else 400}, batch_size: {64 if SMALL else 1024}, log_every: 50}}
evaluation: {{every: null}}
"""
)
pretrained = textssl.pretrain(WORK / "encoder.yaml")

# %% [markdown]
# ## How many labels does it take?
#
# A third of the BBC articles is set aside for testing. Of the rest, 1, 2, 4, ... articles of each topic are drawn, and
# a logistic regression learns from them: on the encoder's vectors, and on word counts (TF-IDF). Few labels are a matter
# of luck, so every point is the mean of ten draws, the same for both; the band is one standard deviation of the draws.
# The counts know how rare each word is in all the articles that may be drawn, labelled or not. (How strongly the
# regression is regularised, C, hardly changes either curve.)

# %%
lines = (textssl.get_sample("bbc") / "bbc.jsonl").read_text(encoding="utf-8").splitlines()
rows = [json.loads(line) for line in lines]
texts, topics = [row["text"] for row in rows], np.array([row["label"] for row in rows])
train, test = train_test_split(np.arange(len(texts)), test_size=1 / 3, random_state=0, stratify=topics)
vectors = SentenceTransformer(str(WORK / "encoder" / "model")).encode(texts)
counter = TfidfVectorizer(sublinear_tf=True).fit([texts[place] for place in train])
features = {"encoder": vectors, "word counts (TF-IDF)": counter.transform(texts)}

shots = (1, 8) if SMALL else (1, 2, 4, 8, 16, 32, 64)
accuracy = {name: np.zeros((len(shots), 10)) for name in features}
for draw in range(10):
    order = np.random.default_rng(draw).permutation(train)
    for place, count in enumerate(shots):
        few = np.concatenate([order[topics[order] == topic][:count] for topic in sorted(set(topics))])
        for name, matrix in features.items():
            model = LogisticRegression(C=10, max_iter=2000).fit(matrix[few], topics[few])
            accuracy[name][place, draw] = model.score(matrix[test], topics[test])

figure, axes = plt.subplots(figsize=(7, 4))
for (name, scores), colour in zip(accuracy.items(), ("tab:blue", "gray"), strict=True):
    mean, spread = scores.mean(1), scores.std(1)
    axes.plot(shots, mean, marker="o", color=colour, label=name)
    axes.fill_between(shots, mean - spread, mean + spread, color=colour, alpha=0.15)
most_frequent = max((topics[test] == topic).mean() for topic in set(topics))
axes.axhline(most_frequent, color="black", linestyle=":", linewidth=1, label="always the most frequent topic")
axes.set_xscale("log", base=2)
axes.set_xticks(shots, [str(count) for count in shots])
axes.set(xlabel="labelled articles of each topic", ylabel="accuracy on articles not seen", ylim=(0, 1))
axes.set_title("What unlabelled text is worth in labels")
axes.legend(frameon=False, loc="lower right")
axes.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
plt.show()
for place, count in enumerate(shots):
    means = ", ".join(f"{name} {scores[place].mean():.3f}" for name, scores in accuracy.items())
    print(f"{count:>3} of each topic: {means}")

# %% [markdown]
# With one label a topic the encoder is far ahead, and two of its labels are worth four for word counts. From about
# sixteen labels on, counting words is better: it can weigh every single word, while the encoder only knows what news
# taught it. Unlabelled text replaces labels where they are few.
#
# ## A classifier to keep
#
# `finetune` with few labels goes one step further: `pairs` pulls the vectors of texts with the same label together and
# pushes the others apart (the idea of SetFit, arXiv:2209.11055), then fits a linear layer on them. Eight articles of
# each topic are all it sees (`shots: 8`). The baselines have the same labels: TF-IDF, and a linear layer on the frozen
# encoder (`probe`). Whether contrastive training helps depends on the encoder and on the learning rate: ten times this
# rate memorises these forty articles and does worse than the frozen encoder.

# %%
(WORK / "classifier.yaml").write_text(
    f"""
name: bbc-topics
out: {WORK}/classifier
data: {{train: "sample:bbc", shots: 8, test_share: 0.33}}
model: {{pretrained: {WORK}/encoder/model}}
objective: {{name: pairs, temperature: 0.1}}
optimizer: {{name: adamw, lr: 1e-4}}
train: {{max_steps: {3 if SMALL else 60}, max_epochs: null, batch_size: 32, log_every: 20}}
evaluation: {{baselines: [majority, tfidf, probe]}}
"""
)
result = textssl.finetune(WORK / "classifier.yaml")

# %% [markdown]
# Where does it err? Each row is a true topic, each column what the classifier says.

# %%
table = np.array(result.confusion)
shares = table / table.sum(1, keepdims=True)
figure, axes = plt.subplots(figsize=(5, 4.4))
axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
for row, column in np.ndindex(*table.shape):
    axes.text(
        column,
        row,
        str(table[row, column]),
        ha="center",
        va="center",
        color="white" if shares[row, column] > 0.5 else "black",
    )
axes.set_xticks(range(len(result.labels)), result.labels, rotation=40, ha="right")
axes.set_yticks(range(len(result.labels)), result.labels)
axes.set(
    xlabel="answer", ylabel="true topic", title=f"{result.test['accuracy']['mean']:.1%} of {table.sum()} articles right"
)
axes.spines[:].set_visible(False)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Using it
#
# `predict` reads a file and writes a label and the probabilities for every text. These passages are made up; the last
# one belongs to none of the topics, and a classifier has to choose all the same. Eight labels a topic leave it
# cautious: the probabilities are far from 1.

# %%
passages = [
    "The striker scored twice in the second half, and the coach praised his players. They now lead the league.",
    "Shares in the bank fell by four per cent after it lowered its forecast of profit. Analysts blamed rising costs.",
    "The new phone has a better camera and twice the memory. Users can download its software from the internet.",
    "My grandmother's soup needs three carrots and a little salt.",
]
(WORK / "new.jsonl").write_text("".join(json.dumps({"text": passage}) + "\n" for passage in passages))
textssl.predict(WORK / "classifier" / "model", WORK / "new.jsonl", WORK / "answers.jsonl")
for passage, line in zip(passages, (WORK / "answers.jsonl").read_text().splitlines(), strict=True):
    answer = json.loads(line)
    print(f"{answer['label']:>14} {answer['probabilities'][answer['label']]:.2f}  {passage}")

# %% [markdown]
# The folder `runs/few-labels/classifier/model` has a card with these figures, and code that uses it without textssl.
