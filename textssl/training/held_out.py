"""The loss on text that was never trained on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import torch

from textssl.batch import Batch
from textssl.data.batches.loader import Steps
from textssl.distributed import rank, sum_over_ranks
from textssl.objectives.base import Encoded, Objective
from textssl.training.step import even_out, gather, seed_torch

HELD_OUT_SEED = 0  # the same masks whatever the run's seed, so that runs can be compared


@torch.no_grad()
def held_out_loss(
    objective: Objective,
    encode: Callable[[Batch], Encoded],
    dataset: Steps,
    device: torch.device,
    tokens_per_byte: float | None,
) -> dict[str, float]:
    """Mean loss of the held-out samples, dealt over ranks: `eval/loss` and, where they exist, `eval/bits_per_byte`,
    each of several terms as `eval/TERM`, and counts of no term. Dropout is off, except where it makes the views.

    tokens_per_byte: of the whole held-out split, end-of-text tokens included; None where tokens do not hold all text.
    """
    was_training = objective.training
    totals: dict[str, float] = defaultdict(float)
    counts: dict[str, float] = defaultdict(float)
    batch_losses: dict[str, list[float]] = defaultdict(list)
    weights: dict[str, float] = {}
    for step in range(len(dataset)):
        batches = [batch.to(device) for batch in even_out(dataset[step], device)]
        features = []
        for number, batch in enumerate(batches):
            seed_torch(HELD_OUT_SEED, step, rank(), number)
            objective.train(objective.keeps_dropout(batch))
            encoded = encode(batch)
            for name, count in objective.counts(batch).items():
                counts[name] += count
                if name in encoded.terms:
                    totals[name] += float(encoded.terms[name].total)
                    weights[name] = encoded.terms[name].weight
            features.append(encoded.features)
        objective.eval()
        if objective.has_batch_loss:
            for name, loss in objective.batch_loss(gather(features, batches).features).items():
                batch_losses[name].append(float(loss))
    objective.train(was_training)
    return summarize(objective, totals, counts, weights, batch_losses, device, tokens_per_byte)


def summarize(
    objective: Objective,
    totals: dict[str, float],
    counts: dict[str, float],
    weights: dict[str, float],
    batch_losses: dict[str, list[float]],
    device: torch.device,
    tokens_per_byte: float | None,
) -> dict[str, float]:
    """The figures of `held_out_loss`, from this rank's sums and counts, and the batch losses of all steps."""
    names, alone = sorted(totals), sorted(counts.keys() - totals.keys())  # counts of no term are figures themselves
    summed = sum_over_ranks(
        [totals[name] for name in names] + [counts[name] for name in [*names, *alone]],
        device,
    )
    means = {
        name: weights[name] * total / (count or 1.0)  # a sum of weights may be below 1
        for name, total, count in zip(names, summed[: len(names)], summed[len(names) : 2 * len(names)], strict=True)
    }
    loss = sum(means.values())
    for name, losses in batch_losses.items():
        means[name] = sum(losses) / len(losses)
        loss += means[name]
    figures = {"eval/loss": loss, **({f"eval/{name}": mean for name, mean in means.items()} if len(means) > 1 else {})}
    figures |= {f"eval/{name}": count for name, count in zip(alone, summed[2 * len(names) :], strict=True)}
    if objective.codes_text and tokens_per_byte is not None:
        coded = objective.codes_text if isinstance(objective.codes_text, str) else next(iter(means))
        nats_per_token = means[coded] / weights[coded]
        figures["eval/bits_per_byte"] = nats_per_token * tokens_per_byte / math.log(2)
    return figures
