"""How long a place asks to wait."""

import email.utils
import time

from omlx.downloads.web import retry_after


def test_a_wait_is_asked_for_in_seconds_by_a_date_or_in_the_hub_s_own_header():
    assert retry_after({"retry-after": " 7 "}) == 7
    assert 50 < retry_after({"retry-after": email.utils.formatdate(time.time() + 60, usegmt=True)}) <= 60
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"ratelimit": '"api";r=0;t=55'}) == 55
    assert retry_after({"ratelimit": '"api";r=3;t=55'}) is None
    assert retry_after({}) is None
    assert retry_after({"retry-after": "soon"}) is None
