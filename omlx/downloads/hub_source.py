"""The Hugging Face Hub, or a mirror of it, as a source: its search, and what it says of a model."""

import json
from collections.abc import Sequence
from dataclasses import replace

from huggingface_hub import ModelInfo, hf_raise_for_status

from omlx.downloads.card import make_card
from omlx.downloads.card_files import card_files
from omlx.downloads.hub import SOURCE, Hub, HubRepository
from omlx.downloads.hub_errors import told
from omlx.downloads.nearest import nearest
from omlx.downloads.parameters import from_counts
from omlx.downloads.patience import Patience
from omlx.downloads.repository import Listing
from omlx.downloads.source import Card, Found, Sort
from omlx.downloads.web import session

_MLX = "mlx"  # the tag and the library's name
_SORTS = {Sort.DOWNLOADS: "downloads", Sort.LIKES: "likes", Sort.UPDATED: "lastModified"}
_EXPAND = ("downloads", "likes", "lastModified", "gated", "library_name", "tags")
_MOST = 100  # of one answer
_LIKE = 50  # names that one that isn't there is compared with
_QUICK_SECONDS = 8.0  # for the next bytes, where somebody waits


class HubSource:
    """See `source.Source`."""

    kind = SOURCE

    def __init__(self, hub: Hub, patience: Patience | None = None) -> None:
        self._hub = hub
        self._quick = replace(
            hub,
            connect_seconds=min(hub.connect_seconds, _QUICK_SECONDS),
            read_seconds=min(hub.read_seconds, _QUICK_SECONDS),
        )
        self._patience = patience or Patience()

    @property
    def endpoint(self) -> str:
        """Its URL, without a slash at the end."""
        return self._hub.endpoint

    def repository(self, name: str, revision: str | None = None) -> HubRepository:
        """One of its models. Asks nothing."""
        return HubRepository(self._hub, name, revision)

    def search(self, words: str, *, sort: Sort = Sort.DOWNLOADS, limit: int = 20, only_mlx: bool = True) -> Sequence[Found]:
        """Models that have to do with some words, 100 at the most. Raises `DownloadError` alone, in about 20 s at the latest."""
        return self._patience.ask(self.endpoint, lambda: self._search(words, sort, limit, only_mlx=only_mlx))

    def card(self, name: str, revision: str | None = None) -> Card:
        """What it says of one model. Raises `DownloadError` alone, in about 20 s at the latest."""
        return self._patience.ask(self.endpoint, lambda: self._card(HubRepository(self._quick, name, revision)))

    def nearest(self, name: str) -> Sequence[str]:
        """Names like one that isn't there; see `source.Source`."""
        return nearest(
            lambda words: [each.repository for each in self._search(words, Sort.DOWNLOADS, _LIKE, only_mlx=False)], name
        )

    def _search(self, words: str, sort: Sort, limit: int, *, only_mlx: bool) -> list[Found]:
        # The library's own `list_models` has no time limit, and waits as long as a busy hub asks for.
        query: dict[str, str | int | list[str]] = {
            "search": words,
            "sort": _SORTS[sort],
            "limit": min(limit, _MOST),
            "expand": list(_EXPAND),
        }
        if only_mlx:
            query["filter"] = _MLX
        http = session()
        with told(self._hub.asked(None)):
            answer = http.get(f"{self.endpoint}/api/models", params=query, headers=self._hub.headers, timeout=self._quick.timeout)
            hf_raise_for_status(answer)
            models = answer.json()
            if not isinstance(models, list):
                raise ValueError("it sends no list of models")  # noqa: TRY004 - the answer is wrong, whatever its type
            found = [_found(ModelInfo(**each)) for each in models]  # type: ignore[no-untyped-call]
        return [each for each in found if each.repository.isprintable()][:limit]

    def _card(self, repository: HubRepository) -> Card:
        info, listing = repository.described()
        readme, config, problem = card_files(repository, listing)
        name = repository.origin.repository
        with told(self._hub.asked(name, repository.origin.revision)):
            card = make_card(
                replace(_found(info), repository=name),
                listing.commit,
                listing.files,
                license_name=_license(info),
                readme=readme,
                config=config,
                parameters=_parameters(info, listing, config),
            )
        return replace(card, problem=card.problem or problem)


def _found(info: ModelInfo) -> Found:
    """A model as a search has it. Raises `ValueError` when it is described wrongly."""
    if not isinstance(info.id, str):
        raise ValueError("it names a model without a name")  # noqa: TRY004
    return Found(
        repository=info.id,
        downloads=_count(info.downloads),
        likes=_count(info.likes),
        updated=info.last_modified.timestamp() if info.last_modified else None,
        is_mlx=info.library_name == _MLX or _MLX in (info.tags or ()),
        is_gated=bool(info.gated),
    )


def _count(value: object) -> int | None:
    return value if type(value) is int else None


def _license(info: ModelInfo) -> str | None:
    named = [_words(info.card_data.get(key)) for key in ("license_name", "license")] if info.card_data else []
    tagged = [str(each).removeprefix("license:") for each in info.tags or () if str(each).startswith("license:")]
    known = [each for each in (*named, *tagged) if each]
    return next((each for each in known if each.isprintable()), None)


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""


def _parameters(info: ModelInfo, listing: Listing, config: bytes | None) -> int | None:
    """What the hub counted, unpacked; None where it didn't."""
    counts = info.safetensors.parameters if info.safetensors is not None else {}
    try:
        described = json.loads(config or b"{}")
    except (ValueError, RecursionError):
        return None
    size = sum(file.size for file in listing.files if file.path.endswith(".safetensors"))
    whole = {dtype: count for dtype, count in counts.items() if type(count) is int and count > 0}
    return from_counts(whole, size, described if isinstance(described, dict) else {}) or None
