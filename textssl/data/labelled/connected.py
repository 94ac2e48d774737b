"""Groups of pairs that share a text, and parts of a set that keep such groups whole."""

from collections import Counter, defaultdict
from collections.abc import Sequence


def connected(pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
    """Indices of the pairs by group: pairs that share a text, directly or through others, are in the same one."""
    above: dict[str, str] = {}  # union-find: text -> another of its group, or itself if it is the root

    def root(text: str) -> str:
        while above[text] != text:
            above[text] = above[above[text]]
            text = above[text]
        return text

    for left, right in pairs:
        above.setdefault(left, left)
        above.setdefault(right, right)
        above[root(right)] = root(left)
    groups: dict[str, list[int]] = defaultdict(list)
    for place, (left, _) in enumerate(pairs):
        groups[root(left)].append(place)
    return list(groups.values())


def whole_groups(
    groups: Sequence[Sequence[int]], strata: Sequence[Sequence[int]], wanted: Sequence[int], hashes: Sequence[int]
) -> set[int]:
    """Indices of the items of whole groups that hold about as many of every stratum as `wanted` says.

    Groups are tried in the order of their lowest hash, and taken if that brings the counts nearer to the wanted ones;
    at least one item of each stratum is left over. If every group has a single item, these are the items with the
    lowest hashes of each stratum, exactly as many as wanted. strata: indices by stratum. wanted: (strata,) counts.
    hashes: (items,).
    """
    stratum = {place: number for number, places in enumerate(strata) for place in places}
    missing = list(wanted)
    left = [len(places) for places in strata]
    chosen: set[int] = set()
    ordered = sorted(groups, key=lambda group: min(hashes[place] for place in group))
    for least in (0.5, 0.0):  # a group that mostly overshoots is taken only where the others left a gap
        for group in ordered:
            counts = Counter(stratum[place] for place in group)
            gain = sum(abs(missing[number]) - abs(missing[number] - count) for number, count in counts.items())
            stays = all(count < left[number] for number, count in counts.items())
            if group[0] not in chosen and stays and gain > least * len(group):
                chosen.update(group)
                for number, count in counts.items():
                    missing[number] -= count
                    left[number] -= count
    return chosen
