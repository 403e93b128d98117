"""`omlx key` and `omlx password`: what a person sees, and what a running server is told by it."""

import asyncio
import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from omlx.access.access_file import AccessFile
from omlx.access.keys import Limits, digest_of
from omlx.access.password import is_password
from omlx.access.usage import KeyUsage
from omlx.cli import main


@pytest.fixture
def omlx(tmp_path):
    def run(*arguments, given=None):
        return CliRunner().invoke(main, [*arguments, "--base-path", str(tmp_path)], input=given, catch_exceptions=False)

    return run


def test_a_key_is_printed_once_alone_and_works(omlx, tmp_path):
    server = AccessFile(tmp_path)
    done = omlx("key", "add", "laptop", "--admin", "--requests-per-minute", "60", "--tokens-per-day", "1000")
    secret = done.stdout.strip()
    assert "write the key down" in done.stderr
    (key,) = server.kept().keys.values()
    assert (key.digest, key.is_admin, key.limits) == (digest_of(secret), True, Limits(60, None, 1000))
    assert secret not in omlx("key", "list").output
    again = omlx("key", "add", "laptop")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "already" in again.stderr


def test_keys_are_listed_with_what_they_may_and_what_they_had(omlx, tmp_path):
    assert "There is no key" in omlx("key", "list").output
    omlx("key", "add", "laptop", "--concurrent-requests", "2")
    omlx("key", "add", "me", "--admin")
    file = AccessFile(tmp_path)
    laptop = next(key for key in file.kept().keys.values() if key.name == "laptop")
    usage = KeyUsage(tmp_path)
    with usage.request(laptop) as taken:
        taken.prompt_tokens, taken.completion_tokens = 1200, 34
    asyncio.run(usage.save())
    first, second = omlx("key", "list").output.splitlines()
    assert first == f"laptop  {laptop.hint}  user  2 at once  1 requests  1,200 in, 34 out"
    assert "administrator  no limits" in second
    assert omlx("key", "limit", "laptop", "--requests-per-minute", "5").output == "laptop: 5 requests a minute\n"
    assert omlx("key", "revoke", "LAPTOP").output == "The key 'laptop' is revoked\n"
    assert "  revoked 20" in omlx("key", "list").output
    assert file.kept().keys[laptop.key_id].revoked
    refused = omlx("key", "forget", "me")
    assert (refused.exit_code, "revoked first" in refused.output) == (1, True)
    assert omlx("key", "forget", "laptop").output == "The key 'laptop' is forgotten\n"
    unknown = omlx("key", "revoke", "laptop")
    assert (unknown.exit_code, "no key 'laptop'" in unknown.output) == (1, True)


def test_a_limit_of_nothing_is_refused(omlx, tmp_path):
    assert omlx("key", "add", "laptop", "--tokens-per-day", "0").exit_code == 2
    assert AccessFile(tmp_path).kept().keys == {}


def test_the_password_comes_from_standard_input_and_only_its_hash_is_kept(omlx, tmp_path):
    done = omlx("password", "set", given="correct horse\n")
    assert (done.exit_code, "access.json" in done.output) == (0, True)
    kept = json.loads((tmp_path / "access.json").read_text())["password"]
    assert is_password(kept, "correct horse")
    short = omlx("password", "set", given="short\n")
    assert (short.exit_code, "8 to 1024" in short.output, "short" in short.output) == (1, True, False)
    assert omlx("password", "forget").output == "The password is forgotten\n"
    assert omlx("password", "forget").output == "No password was set\n"


def test_a_typed_password_isn_t_shown_and_is_typed_twice(tmp_path):
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "omlx.cli", "password", "set", "--base-path", str(tmp_path)]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    for prompt in (b"Password: ", b"Repeat for confirmation: "):
        while not said.endswith(prompt):
            said += os.read(master, 1024)
        os.write(master, b"correct horse\n")
    while b"its hash is in" not in said:
        said += os.read(master, 1024)
    assert process.wait(30) == 0
    os.close(master)
    assert b"horse" not in said
    kept = AccessFile(tmp_path).kept().password
    assert kept is not None
    assert is_password(kept, "correct horse")


@pytest.mark.parametrize("key", ["short", "with a space", "schlüssel-schlüssel", "tab\tseparated"])
def test_a_made_up_key_has_a_form(omlx, key):
    done = omlx("serve", "--api-key", key)
    assert done.exit_code == 2
    assert "8 or more" in done.output
