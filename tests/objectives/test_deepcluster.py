"""DeepCluster: the balanced cross entropy, clusters by document, numbers that stay or a head that begins anew."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.objectives.embedded import built, draw, loss_of, two_view_features
from textssl.errors import UserError
from textssl.models.pretext.clusters import entropy_of, matched, spherical_k_means

KEYS = torch.arange(100) * 7 + 5000


def vectors_of(seed=0, clumps=4):
    """100 documents around a few directions, unevenly."""
    centres = draw(clumps, seed=50)
    return centres[(torch.arange(100) ** 2 // 2500) % clumps] + 0.05 * draw(100, seed=seed)


def refreshed(**options):
    objective = built("deepcluster", num_clusters=4, **options)
    shuffle = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    objective.refresh(lambda: (KEYS[shuffle], vectors_of()[shuffle]))
    return objective


def features_of(documents):
    features = two_view_features(len(documents))
    features["content"][:, 1] = torch.tensor(documents).repeat_interleave(2) * 7 + 5000
    return features


@pytest.mark.parametrize("balanced", [True, False])
def test_the_loss_is_the_formula(balanced):
    objective, documents = refreshed(balanced=balanced), [3, 60, 99]
    features = features_of(documents)
    clusters = objective.clusters.numpy()
    sizes = np.bincount(clusters, minlength=4)
    assert sorted(sizes) == [13, 15, 21, 51] or sizes.std() > 1
    weight, bias = (value.detach().numpy() for value in (objective.classifier.weight, objective.classifier.bias))
    found = []
    for row, vector in enumerate(features["text"].numpy()):
        cluster = clusters[documents[row // 2]]
        logits = (weight @ (vector / np.linalg.norm(vector)) + bias) / 0.1
        share = np.exp(logits[cluster] - logits.max()) / np.exp(logits - logits.max()).sum()
        found.append(-np.log(share) * (100 / (4 * sizes[cluster]) if balanced else 1))
    assert loss_of(objective, features) == pytest.approx(np.mean(found), rel=1e-9)


def test_balanced_weights_equal_drawing_clusters_alike():
    objective = refreshed()
    weights = objective.weights[objective.clusters]
    assert float(weights.mean()) == pytest.approx(1)
    sums = torch.zeros(4, dtype=torch.float64).index_add(0, objective.clusters, weights)
    assert torch.allclose(sums, torch.full((4,), 25.0, dtype=torch.float64))


def test_clusters_are_those_of_the_documents_whatever_the_order_of_the_pass():
    objective = refreshed()
    unit = F.normalize(vectors_of(), dim=1)
    expected = (unit @ objective.centroids.T).argmax(1)
    assert torch.equal(objective.clusters, expected) and torch.equal(objective.keys, KEYS)
    targets = objective.targets(features_of([3, 60, 99]))
    assert torch.equal(targets, expected[[3, 3, 60, 60, 99, 99]])


def test_a_document_that_was_never_clustered_has_the_nearest_centroid():
    objective, features = refreshed(), features_of([3, 60])
    features["content"][:, 1] = 1
    nearest = (F.normalize(features["text"], dim=1) @ objective.centroids.T).argmax(1)
    assert torch.equal(objective.targets(features), nearest)


def test_matched_clusters_keep_their_numbers():
    objective = refreshed()
    before, weight = objective.clusters.clone(), objective.classifier.weight.detach().clone()
    assert objective.figures({}).keys() == {"clusters/entropy"}
    objective.refresh(lambda: (KEYS, vectors_of(seed=9)))
    assert torch.equal(objective.clusters, before), "the same clumps, found from another start"
    assert torch.equal((F.normalize(vectors_of(seed=9), dim=1) @ objective.centroids.T).argmax(1), before)
    assert torch.equal(objective.classifier.weight, weight)
    assert float(objective.figures({})["clusters/agreement"]) == pytest.approx(1)


def test_a_head_may_begin_anew():
    objective = refreshed(head="anew")
    weight = objective.classifier.weight
    version, before = weight._version, weight.detach().clone()
    objective.refresh(lambda: (KEYS, draw(100, seed=3)))
    assert weight._version > version and not torch.equal(weight, before)
    assert float(objective.figures({})["clusters/agreement"]) < 0.5
    again = refreshed(head="anew")
    again.refresh(lambda: (KEYS, draw(100, seed=3)))
    assert torch.equal(again.classifier.weight, weight), "the same on every rank"


def test_matching_moves_numbers_and_centroids_together():
    before = np.array([0, 0, 0, 1, 1, 2])
    found, centroids = matched(before, np.array([2, 2, 1, 0, 0, 1]), np.array([[10.0], [11.0], [12.0]]))
    assert found.tolist() == [0, 0, 2, 1, 1, 2] and centroids[:, 0].tolist() == [12, 10, 11]


def test_k_means_is_spherical_repeats_itself_and_bears_equal_rows():
    unit = F.normalize(vectors_of(), dim=1).numpy()
    clusters, centroids = spherical_k_means(unit, 4, seed=0)
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1)
    assert np.array_equal(clusters, (unit @ centroids.T).argmax(1))
    again, same = spherical_k_means(unit, 4, seed=0)
    assert np.array_equal(clusters, again) and np.array_equal(centroids, same)
    assert set(spherical_k_means(np.tile(unit[:2], (10, 1)), 4, seed=0)[0]) <= {0, 1, 2, 3}


def test_entropy_is_1_for_equal_clusters_and_0_for_one():
    assert entropy_of(np.array([5, 5, 5])) == pytest.approx(1) and entropy_of(np.array([9, 0, 0])) == 0


def test_options_that_cannot_be():
    with pytest.raises(UserError, match=r"objective.view is dropout, which draws sentences"):
        built("deepcluster", view="dropout")
    with pytest.raises(UserError, match=r"objective.num_clusters is 101, but there are 100 documents"):
        built("deepcluster", num_clusters=101)
