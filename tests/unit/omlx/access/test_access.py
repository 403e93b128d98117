"""Who may do what, before there is a key, with keys and a password, and where other machines can reach the server."""

import asyncio
from types import SimpleNamespace

import pytest

from omlx.access import access as module
from omlx.access.access import Access
from omlx.access.access_file import AccessFile
from omlx.access.attempts import MOST, SECONDS, Attempts
from omlx.access.errors import AttemptsError, WrongSecretError
from omlx.access.keys import Limits
from omlx.access.sessions import SECONDS as SESSION_SECONDS
from omlx.access.sessions import Grant, Sessions
from tests.fakes.access import quick_hash

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def password():
    return quick_hash("correct horse")


@pytest.fixture
def clock():
    return SimpleNamespace(now=1000.0)


@pytest.fixture
def made(tmp_path, clock):
    """Makes the rules over one folder."""

    def make(**more):
        return Access(AccessFile(tmp_path), clock=lambda: clock.now, **more)

    return make


def may(access, *secrets, session=None, is_local=True):
    """Whether it may use models, and administer."""
    caller = access.caller(secrets, session, is_local=is_local)
    return caller.may_use, caller.may_administer


def sign_in(access, secret="", address=HERE, *, is_local=True):
    return asyncio.run(access.sign_in(secret, address, is_local=is_local))


def test_without_a_key_or_a_password_this_machine_alone_may_everything(made):
    access = made()
    assert may(access) == (True, True)
    assert may(access, "none") == (True, True)  # as clients without a key send
    assert may(access, is_local=False) == (True, False)


def test_a_user_s_key_asks_models_and_leaves_the_administration_to_this_machine(made):
    access = made()
    _, secret = access.file.add_key("laptop")
    assert may(access, secret) == (True, True)
    assert may(access) == (False, True)
    assert may(access, "wrong") == (False, True)
    access.file.set_password("scrypt$…")
    assert may(access, secret) == (True, False)
    assert may(access, "wrong", secret) == (True, False)  # one that counts is enough


def test_an_administrator_s_key_does_both_and_closes_the_administration(made):
    access = made()
    _, secret = access.file.add_key("me", is_admin=True)
    assert may(access, secret) == (True, True)
    assert may(access) == may(access, "wrong") == (False, False)
    option = made(option_key="sesame-sesame")
    assert may(option, "sesame-sesame") == may(option, secret) == (True, True)
    assert may(option) == (False, False)


def test_a_revoked_key_gets_nowhere_though_it_was_the_only_one(made):
    access = made()
    key, secret = access.file.add_key("me", is_admin=True)
    session = sign_in(access, secret)
    assert may(access, session=session) == (True, True)
    access.file.revoke_key(key.key_id)
    assert may(access, secret) == may(access) == may(access, session=session) == (False, False)
    with pytest.raises(WrongSecretError):
        sign_in(access, secret)
    access.file.forget_key(key.key_id)  # which says: begin anew
    assert may(access, session=session) == (True, True)
    assert access.caller((), session, is_local=True).has_session is False


def test_a_server_that_others_reach_is_open_to_nobody_whatever_was_forgotten(made, password):
    access = made(is_exposed=True)
    assert may(access) == may(access, is_local=False) == (False, False)
    with pytest.raises(WrongSecretError):
        sign_in(access)
    assert (access.can_be_used(), access.can_be_administered()) == (False, False)
    key, _ = access.file.add_key("a")
    assert (access.can_be_used(), access.can_be_administered()) == (True, False)
    access.file.set_password(password)
    assert (access.can_be_used(), access.can_be_administered()) == (True, True)
    access.file.revoke_key(key.key_id)
    access.file.set_password(None)
    assert (access.can_be_used(), access.can_be_administered()) == (False, False)
    assert may(access) == (False, False)
    access.file.add_key("b", is_admin=True)
    assert (access.can_be_used(), access.can_be_administered()) == (True, True)
    assert made(is_exposed=True, option_key="sesame-sesame").can_be_administered()


def test_who_signs_in_may_use_models_too_until_the_password_changes(made, password, clock):
    access = made()
    access.file.add_key("laptop")
    opened = sign_in(access)  # nothing is asked of this machine yet
    assert may(access, session=opened) == (True, True)
    access.file.set_password(password)
    assert may(access, session=opened) == (False, False)
    with pytest.raises(WrongSecretError):
        sign_in(access, "correct horsf")
    session = sign_in(access, "correct horse")
    assert may(access, session=session) == (True, True)
    other = sign_in(access, "correct horse")
    access.sign_out(other)
    access.sign_out("nobody")
    assert may(access, session=other) == may(access, session="nobody") == (False, False)
    assert may(access, session=session) == (True, True)
    clock.now += SESSION_SECONDS
    assert may(access, session=session) == (False, False)
    session = sign_in(access, "correct horse")
    access.file.set_password(quick_hash("another horse"))
    assert may(access, session=session) == (False, False)


def test_who_closes_the_administration_stays_in_and_nobody_else(made, password):
    access = made()
    mine, other = sign_in(access), sign_in(access)
    asyncio.run(access.change_password(password, mine))
    assert (may(access, session=mine), may(access, session=other)) == ((True, True), (True, False))
    asyncio.run(access.change_password(None, mine))
    assert may(access, session=mine) == (True, True)
    key, _ = asyncio.run(access.make_key("me", is_admin=True, limits=Limits(), session=mine))
    assert (may(access, session=mine), may(access, session=other)) == ((True, True), (False, False))
    access.file.revoke_key(key.key_id)
    assert may(access, session=mine) == (False, False)
    asyncio.run(access.change_password(password, "nobody"))
    assert may(access, session="nobody") == (False, False)


def test_a_user_s_key_signs_nobody_in(made, password):
    access = made()
    access.file.set_password(password)
    _, secret = access.file.add_key("laptop")
    with pytest.raises(WrongSecretError):
        sign_in(access, secret)


def test_an_address_that_is_wrong_too_often_waits_though_it_is_right_then(made, password, clock):
    access = made()
    access.file.set_password(password)
    for _ in range(MOST):
        with pytest.raises(WrongSecretError):
            sign_in(access, "wrong")
    with pytest.raises(AttemptsError) as refused:
        sign_in(access, "correct horse")
    assert refused.value.retry_after == SECONDS
    with pytest.raises(AttemptsError):
        asyncio.run(access.confirm("correct horse", HERE))
    assert sign_in(access, "correct horse", "192.0.2.7")
    clock.now += SECONDS
    assert sign_in(access, "correct horse")


def test_confirming_counts_wrong_attempts_too(made, password):
    access = made()
    access.file.set_password(password)
    asyncio.run(access.confirm("correct horse", HERE))
    for _ in range(MOST):
        with pytest.raises(WrongSecretError):
            asyncio.run(access.confirm("wrong", HERE))
    with pytest.raises(AttemptsError):
        sign_in(access, "correct horse")


def test_attempts_sent_all_at_once_are_no_more_than_those_one_after_the_other(made, password, monkeypatch):
    compared = []
    monkeypatch.setattr(module, "is_password", lambda _kept, text: compared.append(text))
    access = made()
    access.file.set_password(password)

    async def test():
        found = []
        for _ in range(3):
            found += await asyncio.gather(
                *(access.sign_in("wrong", HERE, is_local=True) for _ in range(20)), return_exceptions=True
            )
        return found

    refused = asyncio.run(test())
    assert len(compared) == MOST
    assert {type(each) for each in refused} == {WrongSecretError, AttemptsError}
    assert access._waiting == 0


def test_addresses_of_one_network_are_one_and_the_oldest_are_forgotten(clock):
    attempts = Attempts(lambda: clock.now)
    for number in range(MOST):
        attempts.wrong(f"2001:db8::{number + 1}")
    with pytest.raises(AttemptsError):
        attempts.check("2001:db8::ffff")
    attempts.check("2001:db8:1::1")
    for number in range(MOST):
        attempts.wrong("::ffff:192.0.2.1" if number % 2 else "192.0.2.1")
    with pytest.raises(AttemptsError):
        attempts.check("192.0.2.1")
    for number in range(10_000):
        attempts.wrong(f"10.0.{number // 256}.{number % 256}")
    attempts.check("192.0.2.1")
    assert len(attempts._wrong) == 10_000
    attempts.wrong("unknown")
    attempts.right("unknown")
    assert "unknown" not in attempts._wrong


def test_of_a_thousand_sessions_the_oldest_ends_and_no_token_is_kept(clock):
    sessions = Sessions(lambda: clock.now)
    tokens = [sessions.begin(Grant("open")) for _ in range(1001)]
    assert sessions.grants(tokens[0]) == frozenset()
    assert sessions.grants(tokens[1]) == {Grant("open")}
    assert tokens[1] not in str(vars(sessions))
    clock.now += SESSION_SECONDS
    sessions.begin(Grant("open"))
    assert len(sessions._granted) == 1
