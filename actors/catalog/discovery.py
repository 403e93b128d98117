"""Finds the models on disk. Remembers what it read, and reads again only what has changed."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from actors.catalog.fingerprint import UNKNOWN, Fingerprint
from actors.catalog.layout import Place, blobs, decides_snapshot, place_of, snapshot, subfolders
from actors.catalog.libraries import Libraries
from actors.catalog.model_folder import Reading, read_folder
from actors.catalog.model_ids import model_ids
from actors.catalog.reasons import Reason
from actors.models import Inventory, ModelInfo, Skipped


class Discovery:
    """The models in some folders, and in a Hugging Face cache. Calls block, and may come from several threads.

    A model's folder may stand in a model folder (`models/Name`), one further down (`models/org/Name`), or be given itself; folders
    whose name begins with a dot are not looked into. docs/models.md says what is skipped and how models of one name are told apart.
    """

    def __init__(self, model_dirs: Sequence[Path], hf_cache: Path | None = None, libraries: Libraries | None = None) -> None:
        self._roots = [each.absolute() for each in (*model_dirs, *([hf_cache] if hf_cache else []))]
        self._libraries = libraries or Libraries.installed()
        self._known: dict[Path, Reading] = {}
        self._lock = threading.Lock()

    def scan(self) -> Inventory:
        """What is on disk now. Never raises: what can't be read is among the skipped."""
        with self._lock:
            return self._scan()

    def refresh(self) -> Inventory:
        """The same, with everything read anew."""
        with self._lock:
            self._known.clear()
            return self._scan()

    def _scan(self) -> Inventory:
        before, self._known = self._known, {}
        models: dict[tuple[str, ...], ModelInfo] = {}
        skipped: dict[Path, Skipped] = {}
        met: set[tuple[str, tuple[int, int]]] = set()
        for place, reading in self._walk(before):
            match reading.found:
                case ModelInfo() as model:
                    # Links, and folders given twice, may lead to one model on several paths; under another name it is another.
                    if (place.name, reading.identity) not in met:
                        met.add((place.name, reading.identity))
                        models[place.label] = model
                case Skipped() as each:
                    skipped[each.path] = each
        ids = model_ids(models)
        named = {
            ids[label]: model if model.model_id == ids[label] else replace(model, model_id=ids[label])
            for label, model in models.items()
        }
        return Inventory(dict(sorted(named.items())), tuple(skipped[path] for path in sorted(skipped)))

    def _walk(self, before: dict[Path, Reading]) -> Iterator[tuple[Place, Reading]]:
        entered: set[tuple[int, int]] = set()
        for root in self._roots:
            place = place_of(root)
            reading = self._look(place, before)
            yield place, reading
            if place.in_cache:
                continue
            for child, found in self._below(root, reading, before, entered):
                yield child, found
                if not child.in_cache:
                    yield from self._below(child.folder, found, before, entered)

    def _below(
        self, folder: Path, reading: Reading, before: dict[Path, Reading], entered: set[tuple[int, int]]
    ) -> Iterator[tuple[Place, Reading]]:
        """What is directly in a folder, unless that is a model's own or has been entered on another path, as by a loop of links."""
        if reading.is_model or reading.identity in entered:
            return
        entered.add(reading.identity)
        try:
            inside = subfolders(folder)
        except OSError:
            return  # which the reading of the folder itself has told
        for each in inside:
            place = place_of(each)
            yield place, self._look(place, before)

    def _look(self, place: Place, before: dict[Path, Reading]) -> Reading:
        if place.folder in self._known:
            return self._known[place.folder]
        last = before.get(place.folder)
        reading = last if last is not None and last.fingerprint.is_current() else self._read(place)
        self._known[place.folder] = reading
        return reading

    def _read(self, place: Place) -> Reading:
        if not place.in_cache:
            return read_folder(place.folder, place.name, self._libraries)
        fingerprint = Fingerprint.take(decides_snapshot(place.folder))
        try:
            folder = snapshot(place.folder)
        except OSError as error:
            return Reading(Skipped(place.folder, Reason.UNREADABLE.format(error=error.strerror)), True, (0, 0), UNKNOWN)
        reading = read_folder(folder or place.folder, place.name, self._libraries, blobs(place.folder))
        return replace(reading, fingerprint=fingerprint + reading.fingerprint)
