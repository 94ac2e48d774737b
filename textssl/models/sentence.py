"""Sentence models: a backbone and the stock sentence-transformers modules that make one vector of its tokens."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import scipy.sparse as sparse
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, StaticEmbedding, Transformer
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.losses.unit import unit
from textssl.models.attention.isolation import layout
from textssl.models.build import BROKEN_FOLDER, build_model, quiet
from textssl.models.configuration import Predicts, position_capacity, write_pretext
from textssl.models.heads import LanguageModel
from textssl.models.static import StaticTable, build_static
from textssl.sections import ModelConfig
from textssl.system.files import scratch_folder, written_folder
from textssl.tokenizer.vocabulary import padding_id

POOLED = ("pooler",)  # weights that a stock class adds to its backbone and mean pooling does not use


class SentenceModel(nn.Module):
    """Texts in, one vector each: the forward that is trained is the forward of the exported folder.

    backbone: a LanguageModel (encoder or decoder) or a StaticTable. tail: stock modules that follow (Pooling, Dense,
    Normalize). pad: id of the padding, which is masked. max_seq_length: where the exported folder cuts a text; None:
    as many tokens as the backbone has positions. prompts, similarity: passed on to the exported folder.
    """

    def __init__(
        self,
        backbone: LanguageModel | StaticTable,
        tail: Sequence[nn.Module],
        *,
        pad: int,
        max_seq_length: int | None = None,
        prompts: dict[str, str] | None = None,
        similarity: Any = "cosine",
    ):
        super().__init__()
        self.backbone = backbone
        self.tail = nn.ModuleList(tail)
        self.pad, self.max_seq_length = pad, max_seq_length
        self.prompts, self.similarity = prompts or {}, similarity

    @property
    def static(self) -> bool:
        return isinstance(self.backbone, StaticTable)

    @property
    def width(self) -> int:
        """Size of a vector."""
        sizes = [module.out_features for module in self.tail if isinstance(module, Dense)]
        pooled = [module.get_embedding_dimension() for module in self.tail if isinstance(module, Pooling)]
        return (sizes or pooled or [self.backbone.width])[-1]

    def padded_tokens(self, texts: Texts) -> int:
        """Tokens that the backbone works on, padding included."""
        return texts.tokens if self.static else texts.padded_tokens

    def trainable_vectors(self, texts: Texts) -> Tensor:
        """What losses see: the vectors, without the identity block that a static encoder may have."""
        if isinstance(self.backbone, StaticTable) and self.backbone.config.identity_size:
            return self.backbone.trainable_vectors(texts)
        return self(texts)

    @property
    def trainable_width(self) -> int:
        fixed = self.backbone.config.identity_size if isinstance(self.backbone, StaticTable) else 0
        return self.width - fixed

    def forward(self, texts: Texts) -> Tensor:
        """(texts, width). A batch of no texts still gives every parameter a gradient of zero."""
        if isinstance(self.backbone, StaticTable):
            return self.finish({"sentence_embedding": self.backbone(texts)})
        if not len(texts):
            return self(one_token(texts))[:0]
        return self.finish({"token_embeddings": self.hidden(texts), "attention_mask": texts.mask.long()})

    def hidden(self, texts: Texts) -> Tensor:
        """Last hidden states of the tokens, (texts, longest, width), padded at the end."""
        assert isinstance(self.backbone, LanguageModel)
        if layout(self.backbone.model) != "separate":
            return self.backbone.states(texts.as_rows(self.pad))
        options = {"use_cache": False} if self.backbone.model.can_generate() else {}
        arguments = {"input_ids": texts.padded(self.pad), "attention_mask": texts.mask.long(), **options}
        return self.backbone.backbone(**arguments).last_hidden_state

    def finish(self, features: dict[str, Any]) -> Tensor:
        """(texts, width): what the modules of `tail` make of the backbone's output."""
        for module in self.tail:
            if isinstance(module, Normalize):
                features["sentence_embedding"] = unit(features["sentence_embedding"])
            else:
                features = module(features)
        return features["sentence_embedding"]

    def cut_at(self, max_tokens: int) -> None:
        """Let the exported folder cut texts at `max_tokens`, specials included; a static encoder reads whole texts."""
        self.max_seq_length = min(self.max_seq_length or max_tokens, max_tokens)

    def export(self, path: str | Path, tokenizer: PreTrainedTokenizerBase) -> Path:
        """Write a folder of stock classes, whole or not at all: SentenceTransformer(path) loads it, and AutoModel too
        where the backbone is a transformer.
        """
        tail = [copy.deepcopy(module).to("cpu", torch.float32) for module in self.tail]
        with written_folder(path) as aside, quiet(), scratch_folder() as folder:
            if isinstance(self.backbone, StaticTable):
                first: nn.Module = StaticEmbedding(
                    copy.deepcopy(tokenizer).backend_tokenizer,  # type: ignore[attr-defined]
                    embedding_weights=self.backbone.folded(),
                )
            else:
                first = self.stock_transformer(folder, tokenizer)
            stock = SentenceTransformer(
                modules=[first, *tail], device="cpu", prompts=self.prompts, similarity_fn_name=self.similarity
            )
            stock.save(str(aside), create_model_card=False)
        return Path(path)

    def stock_transformer(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> Transformer:
        """The backbone without its language-model head, as sentence-transformers' module; `folder` is scratch."""
        assert isinstance(self.backbone, LanguageModel)
        backbone = self.backbone.backbone
        assert isinstance(backbone, PreTrainedModel)
        config = copy.deepcopy(backbone.config)
        write_pretext(config, None)  # there is no head to be read
        with torch.random.fork_rng(devices=[]):  # a pooler that the backbone lacks is the same in every export
            torch.manual_seed(0)
            stock = AutoModel.from_config(config, dtype=torch.float32)
        missing, unexpected = stock.load_state_dict(backbone.state_dict(), strict=False)
        assert not unexpected and all(any(part in name for part in POOLED) for name in missing), (missing, unexpected)
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.padding_side = "right"  # on the left, learned positions would be others than in training
        limits = [most for most in (self.max_seq_length, position_capacity(config)) if most is not None]
        limit = min(limits, default=None)
        if limit is not None:
            tokenizer.model_max_length = limit
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        stock.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        local = {"local_files_only": True, "trust_remote_code": False}
        module = Transformer(
            str(folder), max_seq_length=limit, model_kwargs=local, processor_kwargs=local, config_kwargs=local
        )
        module.model.config.name_or_path = ""  # a result must not carry the paths of the machine that made it
        return module


def one_token(texts: Texts) -> Texts:
    """A text of one token, for a batch that has none."""
    one = torch.ones(1, dtype=torch.int64, device=texts.ids.device)
    return Texts(one * 0, one, one * 0, one.double(), one * 0, one * 0)


def build_sentence_model(
    spec: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    head: Predicts,
    sequence_length: int,
    seed: int,
    counts: sparse.csr_matrix | None = None,
) -> SentenceModel:
    """A sentence model from a preset, a configuration or a folder; the same seed gives the same weights.

    spec: as for `build_model`; also static presets, {model_type: static}, and sentence-transformers folders, whose
    pooling, dense layer and length stay unless spec says otherwise. head: the language-model head that another
    objective on the same backbone needs: True causal, False masked, None for none. counts: (vocabulary, documents)
    of the text to train on, from which a static encoder starts. Raises UserError.
    """
    folder = Path(spec.pretrained) if spec.pretrained is not None else None
    stock = load_stock(folder) if folder is not None and (folder / "modules.json").is_file() else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        static = build_static(spec, tokenizer, stock, head, counts, seed)
        if static is not None:
            backbone: LanguageModel | StaticTable = static
        else:
            model = build_model(spec, tokenizer, causal=head, sequence_length=sequence_length, seed=seed)
            backbone = LanguageModel(model)
            check_pooling(spec, backbone)
        width = backbone.width if isinstance(backbone, StaticTable) else backbone.model.config.hidden_size
        tail = build_tail(spec, width, stock, static=static is not None)
    limit = None if stock is None or static is not None else int(stock[0].max_seq_length)  # type: ignore[union-attr]
    kept = {} if stock is None else {"prompts": stock.prompts, "similarity": stock.similarity_fn_name}
    return SentenceModel(backbone, tail, pad=padding_id(tokenizer), max_seq_length=limit, **kept)


def token_reader(model: nn.Module) -> nn.Module:
    """What reads the tokens: the backbone of a sentence model, any other model itself."""
    return model.backbone if isinstance(model, SentenceModel) else model


def load_stock(folder: Path) -> SentenceTransformer:
    """A sentence-transformers folder, without running code from it. Raises UserError."""
    try:
        with quiet():
            model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, trust_remote_code=False)
    except BROKEN_FOLDER as error:
        raise UserError(f"{folder} cannot be loaded by sentence-transformers: {' '.join(str(error).split())}") from None
    known = (Transformer, StaticEmbedding), (Pooling, Dense, Normalize)
    first, *rest = model.children()
    if not isinstance(first, known[0]) or not all(isinstance(module, known[1]) for module in rest):
        kinds = ", ".join(type(module).__name__ for module in model.children())
        raise UserError(
            f"{folder} is made of {kinds}; training goes on from Transformer or StaticEmbedding followed by Pooling, "
            "Dense and Normalize"
        )
    if model.default_prompt_name is not None:
        raise UserError(
            f"{folder} puts the prompt {model.default_prompt_name!r} before every text, which training does not do: "
            "take default_prompt_name out of its config_sentence_transformers.json"
        )
    return model


def check_pooling(spec: ModelConfig, backbone: LanguageModel) -> None:
    """UserError where every text would get the vector of its first token, which has seen nothing else."""
    if spec.pooling == "cls" and backbone.causal:
        raise UserError(
            f"model.pooling is cls, but {backbone.model.config.model_type} reads from left to right, so that the first "
            "token is the same for all texts: choose mean, weightedmean or lasttoken"
        )


def build_tail(spec: ModelConfig, width: int, stock: SentenceTransformer | None, *, static: bool) -> list[nn.Module]:
    """What follows the backbone: the folder's own modules, or mean pooling and Normalize, changed as spec says."""
    tail: list[nn.Module] = list(stock.children())[1:] if stock is not None else [Normalize()]
    if spec.reinitialise:
        for module in tail:
            if isinstance(module, Dense):
                module.linear.reset_parameters()
    if static:
        if spec.pooling not in (None, "mean"):
            raise UserError(
                f"model.pooling is {spec.pooling}, but a static encoder always takes the mean of its tokens"
            )
    else:
        width = put_pooling(tail, spec.pooling, width)
    if spec.dense_width is not None:
        tail = [module for module in tail if not isinstance(module, Dense)]
        layer = Dense(width, spec.dense_width, bias=False, activation_function=nn.Identity())
        tail.insert(0 if static else 1, layer)
    if spec.normalize is False:
        tail = [module for module in tail if not isinstance(module, Normalize)]
    elif spec.normalize and not any(isinstance(module, Normalize) for module in tail):
        tail.append(Normalize())
    return tail


def put_pooling(tail: list[nn.Module], mode: str | None, width: int) -> int:
    """The pooling that is asked for (null: what is there, else mean) at the head of `tail`; returns its width."""
    there = tail and isinstance(tail[0], Pooling)
    if mode is not None or not there:
        tail[: 1 if there else 0] = [Pooling(width, pooling_mode=mode or "mean")]  # type: ignore[arg-type]
    pooling = tail[0]
    assert isinstance(pooling, Pooling)
    return pooling.get_embedding_dimension()
