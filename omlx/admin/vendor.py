"""Fetches the libraries of others that the page uses, as npm has them at the versions named here.

python -m omlx.admin.vendor        # needs npm
"""

import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "static" / "vendor"


@dataclass(frozen=True, slots=True)
class Library:
    """One package.

    Attributes:
        package: With its version, as npm takes it.
        files: Where each of its files that is kept goes, by its path in the package.
    """

    package: str
    files: dict[str, str]


# Those that answers have code in; each is fetched by a browser when it is needed.
LANGUAGES = (
    "bash", "c", "cpp", "css", "diff", "go", "java", "javascript", "json", "python", "ruby", "rust", "sql", "swift", "typescript", "xml", "yaml",
)  # fmt: skip
LIBRARIES = (
    Library("htm@3.1.1", {"preact/standalone.module.js": "htm-preact.js", "LICENSE": "LICENSE.htm"}),
    Library("preact@10.7.0", {"LICENSE": "LICENSE.preact"}),  # which is in htm's file
    Library("marked@18.2.1", {"lib/marked.esm.js": "marked.js", "LICENSE": "LICENSE.marked"}),
    Library("dompurify@3.5.0", {"dist/purify.es.mjs": "purify.js", "LICENSE": "LICENSE.dompurify"}),
    Library(
        "@highlightjs/cdn-assets@11.12.0",
        {
            "es/core.min.js": "highlight/core.js",
            **{f"es/languages/{name}.min.js": f"highlight/{name}.js" for name in LANGUAGES},
            "LICENSE": "LICENSE.highlight",
        },
    ),
)


def fetch(library: Library, into: Path) -> None:
    """Get a package's files into a folder. Raises `subprocess.CalledProcessError` where npm fails."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(["npm", "pack", "--silent", library.package], cwd=place, check=True, capture_output=True, text=True)
        with tarfile.open(Path(place) / done.stdout.strip()) as archive:
            for name, kept in library.files.items():
                found = archive.extractfile(f"package/{name}")
                assert found is not None, f"{library.package} has no {name}"
                (into / kept).parent.mkdir(exist_ok=True)
                (into / kept).write_bytes(found.read())


if __name__ == "__main__":
    for each in LIBRARIES:
        fetch(each, FOLDER)
