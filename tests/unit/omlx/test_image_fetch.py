"""Pictures come from public addresses alone, whatever a name says later, a redirect asks for, or a host sends."""

import asyncio

import pytest

from omlx.api.image_error import ImageError
from omlx.api.image_fetch import ImageFetcher, resolve
from omlx.api.public_address import is_public

PNG = b"picture bytes"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 13\r\n\r\n" + PNG


def redirect(to, status=302, more=""):
    return f"HTTP/1.1 {status} Found\r\nLocation: {to}\r\n{more}Content-Length: 0\r\n\r\n".encode()


class Host:
    """A server on this machine that answers by path, and keeps what it was asked; with its own names and addresses."""

    def __init__(self, answers, addresses=None, **options):
        self.answers = answers
        self.asked = []
        self.looked_up = []
        self._addresses = addresses or {}
        self._options = {"is_allowed": lambda address: address == "127.0.0.1" or is_public(address), **options}

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(head.decode())
                answer = self.answers[head.split()[1].decode()]
                if callable(answer):
                    answer = await answer(writer)
                writer.write(answer.replace(b"PORT", str(self.port).encode()))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _resolve(self, host, port):
        self.looked_up.append(host)
        assert port == self.port
        found = self._addresses.get(host, ["127.0.0.1"])
        found = found() if callable(found) else found
        if isinstance(found, Exception):
            raise found
        return found

    async def _fetch(self, urls, take):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            fetcher = ImageFetcher(resolve=self._resolve, **self._options)
            return await asyncio.gather(*(fetcher.fetch(url.replace("PORT", str(self.port)), take) for url in urls))

    def fetch(self, *urls, take=lambda _count: None):
        return asyncio.run(asyncio.wait_for(self._fetch(urls, take), 10))

    def refusal(self, url, **options):
        with pytest.raises(ImageError) as caught:
            self.fetch(url, **options)
        assert caught.value.code == "invalid_image_url"
        return str(caught.value)


def headers(asked):
    return dict(line.split(": ", 1) for line in asked.strip().split("\r\n")[1:])


def test_a_picture_comes_as_it_is():
    host = Host({"/a%20b/c.png?x=1&y=%C3%A4": OK})
    took = []
    assert host.fetch("http://pictures.test:PORT/a b/c.png?x=1&y=ä#part", take=took.append) == [PNG]
    assert sum(took) == len(PNG)
    assert headers(host.asked[0])["Host"] == f"pictures.test:{host.port}"
    assert set(headers(host.asked[0])) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


def test_a_chunked_one_does_too():
    chunked = (
        b"HTTP/1.1 200 OK\r\nContent-Type: Image/JPEG; q=1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert Host({"/": chunked}).fetch("http://pictures.test:PORT") == [b"abcde"]


def test_proxies_of_the_environment_are_not_asked(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.test:1")
    host = Host({"/": OK})
    assert host.fetch("http://pictures.test:PORT/") == [PNG]
    assert host.looked_up == ["pictures.test"]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:10.0.0.1"],
        ["127.0.0.1", "192.168.0.1"],
    ],
)
def test_a_private_address_is_told_as_such_and_not_asked(addresses):
    host = Host({"/": OK}, {"inner.test": addresses})
    assert host.refusal("http://inner.test:PORT/") == "is not fetched: its host has a private or reserved address."
    assert host.asked == []


def test_this_machine_is_none_to_fetch_from():
    host = Host({"/": OK}, is_allowed=is_public)
    for name in ("localhost", "127.0.0.1", "[::1]", "0x7f.1"):
        assert "private" in host.refusal(f"http://{name}:PORT/")
    assert host.asked == []


def test_names_are_looked_up_as_the_system_does():
    assert asyncio.run(resolve("127.0.0.1", 80)) == ["127.0.0.1"]
    assert asyncio.run(resolve("::ffff:10.0.0.1", 80)) == ["::ffff:10.0.0.1"]


def test_the_address_that_was_checked_is_the_one_that_is_asked():
    says = [["127.0.0.1"], ["10.0.0.1"]]  # first, and then
    assert Host({"/": OK}, {"turning.test": lambda: says.pop(0)}).fetch("http://turning.test:PORT/") == [PNG]
    assert says == [["10.0.0.1"]]
    says = [["127.0.0.1"], ["10.0.0.1"]]
    leaving = Host({"/": redirect("/b"), "/b": OK}, {"turning.test": lambda: says.pop(0)})
    assert "private" in leaving.refusal("http://turning.test:PORT/")


def test_the_next_address_is_tried_where_one_does_not_answer():
    host = Host({"/": OK}, {"two.test": ["127.0.0.9", "127.0.0.1"]}, is_allowed=lambda address: address.startswith("127."))
    assert host.fetch("http://two.test:PORT/") == [PNG]


def test_encryption_asks_for_the_name_not_the_address():
    asked = []

    async def fetch():
        async def serve(reader, writer):
            asked.append(await reader.read(4096))
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:

            async def here(host, port):
                return ["127.0.0.1"]

            url = f"https://pictures.test:{server.sockets[0].getsockname()[1]}/"
            await ImageFetcher(resolve=here, is_allowed=lambda _: True).fetch(url, lambda _: None)

    with pytest.raises(ImageError, match="can't be reached"):
        asyncio.run(fetch())
    assert b"pictures.test" in asked[0]


def test_redirects_are_followed_three_times_without_cookies():
    hops = {
        "/1": redirect("/2", more="Set-Cookie: a=b\r\n"),
        "/2": redirect("//other.test:PORT/3", 307),
        "/3": redirect("http://third.test:PORT/4", 301),
        "/4": OK,
    }
    host = Host(hops)
    assert host.fetch("http://pictures.test:PORT/1") == [PNG]
    assert host.looked_up == ["pictures.test", "pictures.test", "other.test", "third.test"]
    assert [headers(asked)["Host"].partition(":")[0] for asked in host.asked] == host.looked_up
    assert not any("Cookie" in asked for asked in host.asked)
    hops["/0"] = redirect("/1", 308)
    assert host.refusal("http://pictures.test:PORT/0") == "could not be fetched: it is redirected more than 3 times."


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("http://inner.test:PORT/b", "private"),
        ("http://10.0.0.1:PORT/b", "private"),
        ("file:///etc/passwd", "must begin with"),
        ("data:image/png;base64,AAAA", "must begin with"),
        ("http://me:pass@pictures.test:PORT/b", "a name or a password"),
        ("http://[pictures", "isn't valid"),
    ],
)
def test_every_redirect_is_checked_anew(to, reason):
    host = Host({"/a": redirect(to), "/b": OK}, {"inner.test": ["10.0.0.1"], "10.0.0.1": ["10.0.0.1"]})
    assert reason in host.refusal("http://pictures.test:PORT/a")
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://a/b", "file:///etc/passwd", "gopher://a", "http://", "http:///a", "https://:80/", "//a/b", "/a",
        "http://a:b/", "http://a:99999/", "http://[::1/", "http://" + "a" * 64 + ".test/", "http://a..b/", "http://\ud800/",
        "http://me@a/", "http://:secret@a/", "http://a\u2100b/", "iVBORw0KGgo=",
    ],
)  # fmt: skip
def test_what_is_no_url_to_fetch_is_refused(url):
    host = Host({})
    assert host.refusal(url).startswith("has a URL ")
    assert host.looked_up == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OK.replace(b"image/png", b"text/html"), "its host doesn't send it as a picture."),
        (OK.replace(b"Content-Type: image/png\r\n", b""), "its host doesn't send it as a picture."),
        (OK.replace(b"200", b"404"), "its host answered 404."),
        (OK.replace(b"200", b"206"), "its host answered 206."),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "its host answered 302."),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "its host can't be reached, or doesn't speak HTTP."),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, "its host can't be reached, or doesn't speak HTTP."),
    ],
)
def test_what_a_host_says_that_is_no_picture(answer, reason):
    assert Host({"/": answer}).refusal("http://pictures.test:PORT/") == f"could not be fetched: {reason}"


def test_a_picture_that_breaks_off_is_not_taken():
    async def break_off(writer):
        writer.write(OK[:-3])
        await writer.drain()
        raise ConnectionError

    assert "can't be reached" in Host({"/": break_off}).refusal("http://pictures.test:PORT/")


def test_a_host_that_is_not_there():
    host = Host({}, {"gone.test": OSError("no such name: resolver.internal"), "none.test": []})
    assert host.refusal("http://gone.test:PORT/") == "could not be fetched: its host is not known."
    assert "can't be reached" in host.refusal("http://none.test:PORT/")


def test_a_fetch_ends_with_the_bytes_that_may_come():
    left = []

    async def endless(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
        except ConnectionError:
            left.append(True)
            raise

    took = []

    def take(count):
        took.append(count)
        if sum(took) > 100_000:
            raise ImageError("is too large.", code="invalid_image_url")

    assert Host({"/": endless}).refusal("http://pictures.test:PORT/", take=take) == "is too large."
    assert sum(took) < 400_000
    assert left == [True]


@pytest.mark.parametrize("begun", [b"", OK[:40], OK[:-3]])
def test_a_host_that_says_no_more_is_given_up(begun):
    async def silent(writer):
        writer.write(begun)
        await asyncio.Event().wait()

    assert "in time" in Host({"/": silent}, total_seconds=0.05).refusal("http://pictures.test:PORT/")


def test_several_are_fetched_at_the_same_time():
    async def both(_writer):
        nonlocal waiting
        waiting = waiting or asyncio.Barrier(2)
        await waiting.wait()
        return OK

    waiting = None
    assert Host({"/a": both, "/b": both}).fetch("http://pictures.test:PORT/a", "http://pictures.test:PORT/b") == [PNG, PNG]
