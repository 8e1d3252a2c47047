# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind: counted with its reason, harmless to all else.

Each case sends its bytes on a connection of its own. Then the refusals are exactly the ones named
and no other, what stands behind them on the same connection is applied, the connection beside it
counts exactly, and the server has not grown.
"""
import socket

import pytest

from harness import REASONS, built_with
from wire import counted, until

CONF = '''
metric "C" { plugin = "counter"  labels = { "path" } }
metric "G" { plugin = "gauge" }
metric "H" { plugin = "histogram"  buckets = { 1, 2 } }
metric "L" { plugin = "letter_counter"  letters = "aA" }
'''
MIB = 1 << 20
GROWTH_KIB = 16 * 1024 * (8 if built_with("address") or built_with("thread") else 1)

# (what it is, the bytes, the refusals, what C has gained by them)
GOES_ON = [
    ("a word", b"hello world\n", {"bad_json": 1}, 0),
    ("a line of prose with a brace", b'GET / HTTP/1.1 {"C": 5}\n', {"bad_json": 1}, 0),
    ("a top-level array", b'[{"C": 1}]', {"bad_json": 1}, 0),
    ("a top-level string", b'"C"', {"bad_json": 1}, 0),
    ("a top-level true", b"true ", {"bad_json": 1}, 0),
    ("a top-level null", b"null ", {"bad_json": 1}, 0),
    ("10,000-deep arrays", b"[" * 10_000 + b"]" * 10_000 + b"\n", {"bad_json": 1}, 0),
    ("10,000-deep arrays as a value", b'{"C": ' + b"[" * 10_000 + b"\n", {"bad_json": 1}, 0),
    ("10,000-deep objects", b'{"C": ' * 10_000 + b"\n", {"bad_json": 1}, 0),
    ("a depth of 33", b'{"C": ' + b"[" * 32 + b"1" + b"]" * 32 + b"}\n", {"bad_json": 1}, 0),
    ("an overlong form", b'{"L": "\xc0\xaf"}\n', {"bad_utf8": 1}, 0),
    ("an overlong form of three", b'{"L": "\xe0\x80\xaf"}\n', {"bad_utf8": 1}, 0),
    ("a surrogate in UTF-8", b'{"L": "\xed\xa0\x80"}\n', {"bad_utf8": 1}, 0),
    ("beyond U+10FFFF", b'{"L": "\xf4\x90\x80\x80"}\n', {"bad_utf8": 1}, 0),
    ("the byte F5", b'{"L": "\xf5\x80\x80\x80"}\n', {"bad_utf8": 1}, 0),
    ("the byte FF", b'{"L": "\xff"}\n', {"bad_utf8": 1}, 0),
    ("a lone continuation", b'{"L": "\x80"}\n', {"bad_utf8": 1}, 0),
    ("a character cut by the quote", b'{"L": "\xe2\x82"}\n', {"bad_utf8": 1}, 0),
    ("bad UTF-8 in a key", b'{"\xfe": 1}\n', {"bad_utf8": 1}, 0),
    ("bad UTF-8 in counted bytes", counted(b'{"L": "\xff"}'), {"bad_utf8": 1}, 0),
    ("a NUL between values", b"\0\n", {"bad_json": 1}, 0),
    ("a NUL in a string", b'{"L": "a\0a"}\n', {"bad_json": 1}, 0),
    ("a raw line feed in a string", b'{"L": "a\na"}\n', {"bad_json": 2}, 0),
    ("a raw tab in a string", b'{"L": "a\ta"}\n', {"bad_json": 1}, 0),
    ("\\u0000 in a key", rb'{"C\u0000": 1, "C": 2}', {"unknown_key": 1}, 2),
    ("a lone high surrogate", rb'{"L": "\ud800"}' b"\n", {"bad_json": 1}, 0),
    ("a lone low surrogate", rb'{"L": "\udc00"}' b"\n", {"bad_json": 1}, 0),
    ("surrogates the wrong way round", rb'{"L": "\udc00\ud800"}' b"\n", {"bad_json": 1}, 0),
    ("an unknown escape", rb'{"L": "\x41"}' b"\n", {"bad_json": 1}, 0),
    ("an escape cut short", rb'{"L": "\u00"}' b"\n", {"bad_json": 1}, 0),
    ("a number that overflows", b'{"C": 1e999}', {"bad_value": 1}, 0),
    ("one that overflows downwards", b'{"G": -1e999}', {"bad_value": 1}, 0),
    ("an overflowing decimal string", b'{"C": "1e999", "L": "1e999"}', {"bad_value": 2}, 0),
    ("NaN", b'{"C": NaN}\n', {"bad_json": 1}, 0),
    ("Infinity", b'{"G": Infinity}\n', {"bad_json": 1}, 0),
    ("-Infinity", b'{"G": -Infinity}\n', {"bad_json": 1}, 0),
    ("NaN as a string", b'{"C": "NaN", "G": "nan", "H": "inf"}', {"bad_value": 3}, 0),
    ("a number that begins with a point", b'{"C": .5}\n', {"bad_json": 1}, 0),
    ("one that ends with a point", b'{"C": 5.}\n', {"bad_json": 1}, 0),
    ("a leading zero", b'{"C": 01}\n', {"bad_json": 1}, 0),
    ("a leading plus", b'{"C": +1}\n', {"bad_json": 1}, 0),
    ("hexadecimal", b'{"C": 0x10}\n', {"bad_json": 1}, 0),
    ("a leading zero in a string", b'{"C": "01", "G": "+1", "H": " 1"}', {"bad_value": 3}, 0),
    ("single quotes", b"{'C': 1}\n", {"bad_json": 1}, 0),
    ("no quotes", b"{C: 1}\n", {"bad_json": 1}, 0),
    ("a trailing comma", b'{"C": 1,}\n', {"bad_json": 1}, 0),
    ("a trailing comma in an array", b'{"C": [1,]}\n', {"bad_json": 1}, 0),
    ("a missing colon", b'{"C" 1}\n', {"bad_json": 1}, 0),
    ("the wrong bracket", b'{"C": [1}\n', {"bad_json": 1}, 0),
    ("a closing brace alone", b"}\n", {"bad_json": 1}, 0),
    ("a comment", b'{"C": 1 /* one */}\n', {"bad_json": 1}, 0),
    ("a line comment", b'// {"C": 1}\n', {"bad_json": 1}, 0),
    ("a BOM", b'\xef\xbb\xbf{"C": 1}\n', {"bad_json": 1}, 0),
    ("true, false, null and {}", b'{"C": true, "G": false, "H": null, "L": {}}',
     {"bad_value": 4}, 0),
    ("an array in an array", b'{"C": [1, [2], 4]}', {"bad_value": 1}, 5),
    ("bad elements among good ones", b'{"C": [1, true, "x", -1, 2]}', {"bad_value": 3}, 3),
    ("text for a number", b'{"C": "fast", "G": "fast", "H": "fast"}', {"bad_value": 3}, 0),
    ("an empty string", b'{"C": "", "G": ""}', {"bad_value": 2}, 0),
    ("a counter that falls", b'{"C": -1}', {"bad_value": 1}, 0),
    ("letters that fall or are cut", b'{"L": -1, "C": 1}{"L": 1.5}', {"bad_value": 2}, 1),
    ("an unknown key", b'{"D": 1, "": 2, "C": 3}', {"unknown_key": 2}, 3),
    ("an unknown member of a value", b'{"C": {"value": 1, "unit": "s"}}', {"bad_value": 1}, 0),
    ("value and add", b'{"G": {"value": 1, "add": 1}}', {"bad_value": 1}, 0),
    ("neither value nor add", b'{"C": {"labels": {"path": "/"}}}', {"bad_value": 1}, 0),
    ("a value that is an object", b'{"C": {"value": {"value": 1}}}', {"bad_value": 1}, 0),
    ("a time that is text", b'{"C": {"value": 1, "time": "now"}}', {"bad_value": 1}, 0),
    ("a label that is a number", b'{"C": {"value": 1, "labels": {"path": 1}}}', {"bad_label": 1}, 0),
    ("an undeclared label", b'{"C": {"value": 1, "labels": {"host": "x"}}}', {"bad_label": 1}, 0),
    ("the label agent", b'{"C": {"value": 1, "labels": {"agent": "x"}}}', {"bad_label": 1}, 0),
    ("the label le", b'{"H": {"value": 1, "labels": {"le": "1"}}}', {"bad_label": 1}, 0),
    ("a label of 4097 bytes", b'{"C": {"value": 1, "labels": {"path": "' + b"x" * 4097 + b'"}}}',
     {"too_long": 1}, 0),
    ("a key of 1025 bytes", b'{"' + b"k" * 1025 + b'": 1, "C": 2}', {"too_long": 1}, 2),
    ("a key of 1 MiB", b'{"' + b"k" * MIB + b'": 1}\n', {"too_long": 1}, 0),
    ("a string of 1 MiB", b'{"L": "' + b"a" * MIB + b'"}\n', {"too_long": 1}, 0),
    ("a number of 1 MiB", b'{"C": ' + b"1" * MIB + b'}\n', {"too_long": 1}, 0),
    ("max_message and 1", b'{"C": 1' + b" " * (MIB - 7) + b"}", {"too_long": 1}, 0),
    ("16 MiB of blanks in an object", b'{"C":' + b" " * (16 * MIB) + b"1}", {"too_long": 1}, 0),
    ("a length of 0", b"0".ljust(64), {"bad_json": 1}, 0),
    ("a length above max_message", counted(b" " * (MIB + 1)), {"too_long": 1}, 0),
    ("counted bytes that are none", counted(b"hello"), {"bad_json": 1}, 0),
    ("counted blanks", counted(b"     "), {"bad_json": 1}, 0),
    ("two objects in one counted message", counted(b'{"C": 1}{"C": 1}'), {"bad_json": 1}, 0),
    ("half an object counted", counted(b'{"C": 1'), {"bad_json": 1}, 0),
    ("other members beside an @", b'{"@ping": 7, "C": 1, "G": 1}', {"mixed": 2}, 0),
    ("a goodbye misspelt", b"!DISCONNECTED\n", None, 0),
]

# What looks odd and is fine: (what it is, the bytes, what C has gained by them).
FINE = [
    ("16 MiB of blanks between values", b" \t\r\n" * (4 * MIB), 0),
    ("a depth of 32", b'{"H": ' + b"[" * 31 + b"]" * 31 + b"}", None),
    ("max_message exactly", b'{"C": 1' + b" " * (MIB - 8) + b"}", 1),
    ("a key of 1024 bytes", b'{"' + b"k" * 1024 + b'": 1}', None),
    ("a label of 4096 bytes", b'{"C": {"value": 1, "labels": {"path": "' + b"x" * 4096 + b'"}}}', 0),
    ("a member given twice: the last wins", b'{"C": 1, "C": 2}', 2),
    ("an empty object", b"{}", 0),
    ("an empty array", b'{"C": []}', 0),
    ("unknown @ members", b'{"@future": {"a": [1]}, "@x": 1}', 0),
    ("bare numbers", b"1 -2 3.5e7 0 \n12", 0),
    ("an empty label, as if absent", b'{"C": {"value": 3, "labels": {"path": ""}}}', 3),
    ("minus zero", b'{"C": -0}', 0),
    ("a number that vanishes", b'{"C": 1e-999}', 0),
    ("an escaped key", rb'{"\u0043": 4}', 4),
    ("a pair of surrogates", rb'{"L": "\ud83d\ude00"}', 0),
    ("decimal strings", b'{"C": ["1", "2.5", "1e1", {"value": "4"}]}', 17.5),
    ("a counted message with blanks around", counted(b'  {"C": 5}\r\n'), 5),
    ("counted messages run together", counted(b'{"C": 1}') + counted(b'{"C": 1}\n') + b'{"C": 1}', 3),
]


class Scene:
    """A server, a neighbour on it, and the one who misbehaves."""

    def __init__(self, rasadd, connect):
        self.server = rasadd(CONF)
        self.neighbour, self.bad = connect(self.server), connect(self.server)
        self.neighbour.send({"C": 1}).ping()
        self.bad.send({"C": 0}).ping()
        self.rss = self.server.status_kib("VmRSS")

    def check(self, refused):
        """The neighbour didn't notice, memory is bounded, and just this was refused."""
        self.neighbour.send({"C": 1}).ping()
        scrape = self.server.scrape()
        assert scrape.value("C_total", agent=self.neighbour.agent) == 2
        if refused is not None:
            assert scrape.rejected() == refused, self.server.log
        assert self.server.status_kib("VmRSS") - self.rss < GROWTH_KIB
        return scrape


@pytest.fixture
def scene(rasadd, connect):
    return Scene(rasadd, connect)


@pytest.mark.parametrize("data, refused, gained", [case[1:] for case in GOES_ON],
                         ids=[case[0] for case in GOES_ON])
def test_what_is_bad_is_counted_and_the_stream_goes_on(scene, data, refused, gained):
    if refused is None:  # "!DISCONNECT" has been said, whatever comes behind it
        scene.bad.send(data)
        assert scene.bad.rest() == []
        scene.check(None)
        return
    scene.bad.send(data, b'{"C": 1000}')
    scene.bad.ping()
    scrape = scene.check(refused)
    assert scrape.value("C_total", agent=scene.bad.agent) == 1000 + gained


@pytest.mark.parametrize("data, gained", [case[1:] for case in FINE],
                         ids=[case[0] for case in FINE])
def test_what_only_looks_odd_is_taken(scene, data, gained):
    scene.bad.send(data, b' {"C": 1000}').ping()
    scrape = scene.check({} if gained is not None else None)
    assert scrape.value("C_total", agent=scene.bad.agent) == 1000 + (gained or 0)
    assert not {"bad_json", "too_long"} & set(scrape.rejected())


TRUNCATED = [
    ("within an object", b'{"C": 1'),
    ("within a string", b'{"L": "aaa'),
    ("within a character", b'{"L": "\xe2'),
    ("within counted bytes", b"20".ljust(64) + b'{"C": 1}'),
    ("behind a length header", b"20".ljust(64)),
]


@pytest.mark.parametrize("data", [case[1] for case in TRUNCATED], ids=[case[0] for case in TRUNCATED])
def test_a_message_cut_by_the_end_is_counted_as_truncated(scene, data):
    scene.bad.send(b'{"C": 1}', data)
    assert scene.bad.end() == []
    scrape = scene.check({"truncated": 1})
    assert scrape.value("C_total", agent=scene.bad.agent) == 1


@pytest.mark.parametrize("data", [b"", b" \n ", b"12", b'{"C": 1}'], ids=repr)
def test_an_end_between_messages_is_no_refusal(scene, data):
    scene.bad.send(data)
    assert scene.bad.end() == []
    scene.check({})


def test_a_huge_length_is_refused_at_once_and_reserves_nothing(scene):
    scene.bad.send(b"999999999999".ljust(64))
    scrape = scene.server.wait_for("rasad_rejected_total", reason="too_long", equals=1)
    assert scrape.rejected() == {"too_long": 1}
    scene.bad.send(b"x" * MIB)
    assert scene.bad.end() == []
    scene.check({"too_long": 1})


def pour(client, chunk, total):
    for _ in range(total // len(chunk)):
        client.socket.sendall(chunk)


def test_1_gib_of_blanks_between_values_is_nothing(scene):
    pour(scene.bad, b" " * MIB, 1024 * MIB)
    scene.bad.send({"C": 1}).ping()
    scrape = scene.check({})
    assert scrape.value("C_total", agent=scene.bad.agent) == 1


@pytest.mark.parametrize("begin, filler", [(b'{"C": ', b" "), (b'{"L": "', b"a"), (b"[", b"["),
                                           (b"?", b"?"), (b'{"', b"k"), (b'{"C": 1', b"1")], ids=repr)
def test_256_mib_within_a_message_take_no_memory(scene, begin, filler):
    scene.bad.send(begin)
    pour(scene.bad, filler * MIB, 256 * MIB)
    assert scene.bad.end() == []
    refused = scene.check(None).rejected()
    assert refused in ({"too_long": 1}, {"bad_json": 1})


def test_who_pings_and_never_reads_is_closed(rasadd, connect):
    server = rasadd(CONF)
    neighbour, deaf = connect(server), connect(server, receive_buffer=4096)
    ping = b'{"@ping": "' + b"x" * 200 + b'"}\n'
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(64):
            deaf.socket.sendall(ping * 5000)
            neighbour.send({"C": 1}).ping()
    scrape = server.wait_for("rasad_agents", equals=1)
    assert scrape.rejected() == {}
    neighbour.send({"C": 1}).ping()


def test_one_byte_at_a_time_is_never_cut_off(scene):
    for byte in b'{"C": 41, "G": "1.5"}':
        scene.bad.send(bytes([byte])).drained()
        scene.neighbour.ping()
    scene.bad.ping()
    assert scene.check({}).value("C_total", agent=scene.bad.agent) == 41


def test_silent_and_reset_connections_harm_nobody(scene, connect):
    silent = [connect(scene.server) for _ in range(100)]
    scene.server.wait_for("rasad_agents", equals=102)
    for client in silent[:50]:
        client.send(b'{"C": 1}{"C": ').drained()
        client.reset()
    for client in silent[50:]:
        client.close()
    scrape = scene.server.wait_for("rasad_agents", equals=2)
    assert set(scrape.rejected()) <= {"truncated"}
    assert sum(scrape.get("C_total", agent=client.agent) for client in silent[:50]) == 50


def test_every_reason_is_there_from_the_start(rasadd):
    scrape = rasadd(CONF).scrape()
    reasons = {labels["reason"]: value for labels, value in scrape.series("rasad_rejected_total")}
    assert reasons == dict.fromkeys(REASONS, 0)


def test_refusals_are_logged_with_sender_key_and_reason_at_a_bounded_rate(scene):
    scene.bad.send(b'{"Nobody": 1}\n').ping()
    line = scene.server.wait_line("Nobody").string
    assert scene.bad.agent in line and "unknown_key" in line
    scene.bad.send(b'{"Nobody": 1}\n' * 100_000).ping()
    assert len(scene.server.lines) < 1000
    scene.check({"unknown_key": 100_001})


def test_half_closed_senders_still_get_their_pongs(scene):
    scene.bad.send({"@ping": "x"})
    scene.bad.socket.shutdown(socket.SHUT_WR)
    assert scene.bad.rest() == [{"@pong": "x"}]
    until(lambda: scene.server.scrape().value("rasad_agents") == 1, "it is gone")
