"""What models are called, so that each has a name of its own."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

Label = tuple[str, ...]


def model_ids(labels: Iterable[Label]) -> Mapping[Label, str]:
    """An id for each label: its last part where no other has that, else `org/Name`, else as many parts from the end as it takes.

    All that share a name get longer ids, so that none is taken for another.
    """
    by_name: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        by_name[label[-1]].append(label)
    ids: dict[Label, str] = {}
    for name, group in by_name.items():
        if len(group) == 1:
            ids[group[0]] = name
            continue
        length, left = 2, group
        while left:
            times = Counter(label[-length:] for label in left)
            for label in left:
                if times[label[-length:]] == 1 or len(label) < length:
                    ids[label] = "/".join(part.strip("/") for part in label[-length:]).strip("/")
            left = [label for label in left if label not in ids]
            length += 1
    return ids
