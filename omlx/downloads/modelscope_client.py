"""Where a ModelScope is, and how it is asked: in the words of `modelscope_hub`, its own client, over the client that all places share."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from omlx import __version__
from omlx.downloads.modelscope_errors import KIND, data_of, refuse, told
from omlx.downloads.web import Asked, session

if TYPE_CHECKING:
    from modelscope_hub import HubApi

DEFAULT_ENDPOINT = "https://modelscope.cn"


@dataclass(frozen=True, slots=True)
class ModelScope:
    """Where it is, and how it is asked.

    Attributes:
        endpoint: Its URL, without a slash at the end.
        token: Opens private and gated repositories; never part of what is printed.
        connect_seconds, read_seconds: How long a connection, and the next bytes of an answer, may take.
    """

    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = field(default=None, repr=False)
    connect_seconds: float = 10
    read_seconds: float = 30

    @property
    def api(self) -> "HubApi":
        """The client, for how things are asked for; it isn't to make requests."""
        return _api(self.endpoint, self.token or "")  # an empty token keeps it from looking for one itself

    @property
    def headers(self) -> dict[str, str]:
        """What each request says of itself: what the client's say, without what they tell of this machine and its user."""
        headers = {"User-Agent": f"omlx/{__version__}"}
        if self.token:  # new routes heed one of these, old ones the other
            cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.api.get_cookies() or ())
            headers |= {"Authorization": f"Bearer {self.token}", "Cookie": cookies}
        return headers

    @property
    def timeout(self) -> httpx2.Timeout:
        """The time limits of each request."""
        return httpx2.Timeout(self.read_seconds, connect=self.connect_seconds)

    def asked(self, repository: str | None, revision: str | None = None) -> Asked:
        """A question to it, for its errors."""
        return Asked(KIND, self.endpoint, repository, revision, has_token=self.token is not None)

    def document(self, asked: Asked, path: str, query: Mapping[str, str | int] | None = None) -> Any:
        """What it answers, out of its envelope. Raises `DownloadError` or `TransientError`.

        Args:
            asked: What for.
            path: Behind the endpoint.
            query: Behind the path.
        """
        http = session()
        with told(asked):
            answer = http.get(f"{self.endpoint}{path}", params=query, headers=self.headers, timeout=self.timeout)
            refuse(answer, asked)
            return data_of(answer, asked)


@lru_cache(8)
def _api(endpoint: str, token: str) -> "HubApi":
    log = logging.getLogger("modelscope_hub")
    log.addHandler(logging.NullHandler())  # where it finds none, it writes to standard error
    log.propagate = False
    from modelscope_hub import HubApi, HubConfig

    nowhere = Path(os.devnull)  # else it keeps an identifier of this machine, and reads another login
    return HubApi(HubConfig(endpoint=endpoint, token=token, config_dir=nowhere, cache_dir=nowhere))
