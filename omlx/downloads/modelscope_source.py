"""ModelScope, or a mirror of it, as a source: its search, and what it says of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from omlx.downloads.card import make_card
from omlx.downloads.card_files import card_files
from omlx.downloads.errors import AccessError, UnknownModelError
from omlx.downloads.modelscope_client import ModelScope
from omlx.downloads.modelscope_errors import told
from omlx.downloads.modelscope_repository import SOURCE, ModelScopeRepository
from omlx.downloads.nearest import nearest
from omlx.downloads.patience import Patience
from omlx.downloads.source import Card, Found, Sort

_MLX = "mlx"
_MLX_TAGS = {_MLX, f"library:{_MLX}", f"custom_tag:{_MLX}"}
_LICENSE = "license:"
_SORTS = {Sort.DOWNLOADS: "downloads", Sort.LIKES: "likes", Sort.UPDATED: "last_modified"}
_PAGE = 50  # the most that it answers with
_MOST = 100
_QUICK_SECONDS = 8.0  # for the next bytes, where somebody waits


class ModelScopeSource:
    """See `source.Source`."""

    kind = SOURCE

    def __init__(self, place: ModelScope, patience: Patience | None = None) -> None:
        self._place = place
        self._quick = replace(
            place,
            connect_seconds=min(place.connect_seconds, _QUICK_SECONDS),
            read_seconds=min(place.read_seconds, _QUICK_SECONDS),
        )
        self._patience = patience or Patience()

    @property
    def endpoint(self) -> str:
        """Its URL, without a slash at the end."""
        return self._place.endpoint

    def repository(self, name: str, revision: str | None = None) -> ModelScopeRepository:
        """One of its models. Asks nothing."""
        return ModelScopeRepository(self._place, name, revision)

    def search(self, words: str, *, sort: Sort = Sort.DOWNLOADS, limit: int = 20, only_mlx: bool = True) -> Sequence[Found]:
        """Models that have to do with some words, 100 at the most. Raises `DownloadError` alone, in about 20 s at the latest."""
        return self._patience.ask(self.endpoint, lambda: self._search(words, sort, limit, only_mlx=only_mlx))

    def card(self, name: str, revision: str | None = None) -> Card:
        """What it says of one model. Raises `DownloadError` alone, in about 20 s at the latest."""
        return self._patience.ask(self.endpoint, lambda: self._card(ModelScopeRepository(self._quick, name, revision)))

    def nearest(self, name: str) -> Sequence[str]:
        """Names like one that isn't there; see `source.Source`."""
        return nearest(
            lambda words: [each.repository for each in self._search(words, Sort.DOWNLOADS, _PAGE, only_mlx=False)], name
        )

    def _search(self, words: str, sort: Sort, limit: int, *, only_mlx: bool) -> list[Found]:
        limit = min(limit, _MOST)
        size = min(limit, _PAGE)
        query: dict[str, str | int] = {"search": words, "sort": _SORTS[sort], "page_number": 1, "page_size": size}
        if only_mlx:
            query["filter.library"] = _MLX
        found: list[Found] = []
        for page in range(1, -(-limit // size) + 1):
            models = self._page({**query, "page_number": page})
            # A filter that it doesn't know is one that it doesn't heed.
            found += [each for each in models if each.repository.isprintable() and (each.is_mlx or not only_mlx)]
            if len(models) < size:
                break
        return found[:limit]

    def _page(self, query: Mapping[str, str | int]) -> list[Found]:
        asked = self._place.asked(None)
        from modelscope_hub.constants import OPENAPI_PREFIX

        answer = self._quick.document(asked, f"{OPENAPI_PREFIX}/models", query)
        with told(asked):
            models = answer["models"]
            if not isinstance(models, list):
                raise ValueError("it sends no list of models")  # noqa: TRY004 - the answer is wrong, whatever its type
            return [_found(each) for each in models]

    def _card(self, repository: ModelScopeRepository) -> Card:
        listing = repository.listing()
        readme, config, problem = card_files(repository, listing)
        name = repository.origin.repository
        described = self._described(name)
        with told(self._place.asked(name, repository.origin.revision)):
            card = make_card(
                replace(_found(described), repository=name),
                listing.commit,
                listing.files,
                license_name=_license(described),
                readme=readme,
                config=config,
            )
        return replace(card, problem=card.problem or problem)

    def _described(self, name: str) -> Mapping[str, Any]:
        """What it says of a model beside its files; no more than its name where it says nothing, as of those that are private."""
        from modelscope_hub.constants import OPENAPI_PREFIX

        try:
            described = self._quick.document(self._place.asked(name), f"{OPENAPI_PREFIX}/models/{name}")
        except (UnknownModelError, AccessError):
            return {"id": name}
        return described if isinstance(described, dict) else {}


def _found(described: Mapping[str, Any]) -> Found:
    """A model as a search has it. Raises `ValueError` or `TypeError` when it is described wrongly."""
    from modelscope_hub import RepoInfo

    info = RepoInfo.from_dict(described)  # which knows the forms that a date may have
    changed = info.last_modified
    if not isinstance(info.id, str) or not isinstance(changed, datetime | None):
        raise ValueError("it describes a model in another form")  # noqa: TRY004 - as above
    return Found(
        repository=info.id,
        downloads=_count(described.get("downloads")),
        likes=_count(described.get("likes")),
        updated=None if changed is None else (changed if changed.tzinfo else changed.replace(tzinfo=UTC)).timestamp(),
        is_mlx=not _MLX_TAGS.isdisjoint(_tags(described)),
        is_gated=bool(described.get("gated")),
    )


def _count(value: object) -> int | None:
    return value if type(value) is int else None


def _tags(described: Mapping[str, Any]) -> list[str]:
    return [str(each) for each in described.get("tags") or ()]


def _license(described: Mapping[str, Any]) -> str | None:
    tagged = [each.removeprefix(_LICENSE) for each in _tags(described) if each.startswith(_LICENSE)]
    named = [described.get("license"), *tagged]
    return next((each for each in named if isinstance(each, str) and each and each.isprintable()), None)
