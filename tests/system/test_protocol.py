# SPDX-License-Identifier: Apache-2.0
"""The protocol of named senders: hello, welcome, ack, skip, ping, and what exactly-once hangs on."""
import json
import threading

import pytest

from wire import chain, counted

CONF = '''
metric "C" { plugin = "counter" }
metric "A_Pressed" { plugin = "letter_counter"  letters = "aA" }
'''
STREAM = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2
FRESH = {"applied": 0, "committed": 0, "chain": "00000000"}


def test_a_new_stream_is_welcomed_with_nothing_applied(rasadd, connect):
    assert connect(rasadd(CONF)).hello("web-1", STREAM) == FRESH


def test_samples_of_a_named_sender_carry_its_name(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"C": 1}, {"C": 2}).wait_ack(2)
    scrape = server.scrape()
    assert scrape.series("C_total") == [({"agent": "web-1"}, 3)]
    assert scrape.value("rasad_agent_up", agent="web-1") == 1
    assert scrape.value("rasad_agents") == 1


def test_a_second_hello_on_the_connection_gets_a_new_welcome(rasadd, connect):
    client = connect(rasadd(CONF))
    client.hello("web-1", STREAM)
    client.send(b'{"C": 1}').wait_ack(1)
    again = client.hello("web-1", STREAM)
    assert again == {"applied": 1, "committed": 1, "chain": chain([b'{"C": 1}'])}


def test_numbers_are_implied_by_every_top_level_value(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send(b'{"C": 1}\n 17 {"@ping": 0}', b'[1, 2]\n', b'"text"\n', b'true\n', b"no json at all\n",
                b'{"Nobody": 1}\n', counted(b'{"C": 2}'), counted(b"rubbish"), b'{"@future": 1}\n')
    acks = client.ping()
    assert acks[0] == {"@ack": 1} or acks[0] == {"@pong": 0}
    welcome = client.hello("web-1", STREAM)
    counted_ones = [b'{"C": 1}', b"[1, 2]", b'"text"', b"true", b"no json at all",
                    b'{"Nobody": 1}', b'{"C": 2}', b"rubbish"]
    assert welcome["applied"] == len(counted_ones)
    assert welcome["chain"] == chain(counted_ones)
    # rasad_messages_total knows every object: two hellos, two pings and an unknown one as well.
    assert server.scrape().value("rasad_messages_total") == len(counted_ones) + 5


def test_the_chain_is_over_the_exact_bytes(rasadd, connect):
    client = connect(rasadd(CONF))
    messages = [b'{ "C" : 1 }', b'{"C":[1,\r\n2]}', '{"é": 1}'.encode(), b"{}", b'{"C": "1"}']
    client.hello("web-1", STREAM)
    client.send(b"\r\n \t".join(messages), b"\n").wait_ack(len(messages))
    assert client.hello("web-1", STREAM)["chain"] == chain(messages)


def test_a_sender_goes_on_where_it_was_cut(rasadd, connect):
    server = rasadd(CONF)
    messages = [json.dumps({"C": n}).encode() for n in range(1, 101)]
    sent = 0
    for stop in (10, 11, 60, 100):
        client = connect(server)
        welcome = client.hello("web-1", STREAM)
        assert (welcome["applied"], welcome["chain"]) == (sent, chain(messages[:sent]))
        client.send(*messages[sent:stop]).wait_ack(stop)
        client.send(messages[min(stop, 99)][:4]).drained()  # a message that the cut swallows
        client.reset()
        sent = stop
    scrape = server.scrape()
    assert scrape.value("C_total", agent="web-1") == sum(range(1, 101))


def test_a_cut_message_of_a_stream_is_not_applied(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send(b'{"C": 1}{"C": 2')
    client.end()
    again = connect(server).hello("web-1", STREAM)
    assert (again["applied"], again["chain"]) == (1, chain([b'{"C": 1}']))


def test_a_hello_fences_the_older_connection(rasadd, connect):
    server = rasadd(CONF)
    old, new = connect(server), connect(server)
    old.hello("web-1", STREAM)
    old.send({"C": 1}).wait_ack(1)
    assert new.hello("web-1", STREAM)["applied"] == 1
    assert all("@ack" in reply or "@error" in reply for reply in old.rest())
    new.send({"C": 1}).wait_ack(2)
    assert server.scrape().value("C_total", agent="web-1") == 2


@pytest.mark.parametrize("times", [20])
def test_fencing_in_full_flight_loses_and_doubles_nothing(rasadd, connect, times):
    server = rasadd(CONF)
    total = 40_000
    line = b'{"C": 1}\n'
    client = connect(server)
    applied = client.hello("web-1", STREAM)["applied"]
    for _ in range(times):
        flood = threading.Thread(target=flood_until_fenced, args=(client, line * (total - applied)))
        flood.start()
        newer = connect(server)
        welcome = newer.hello("web-1", STREAM)
        assert applied <= welcome["applied"] <= total
        applied = welcome["applied"]
        assert welcome["chain"] == chain([line[:-1]] * applied)
        flood.join()
        client = newer
    client.send(line * (total - applied))
    client.ping()
    assert client.hello("web-1", STREAM)["applied"] == total
    assert server.scrape().value("C_total", agent="web-1") == total


def flood_until_fenced(client, data):
    try:
        client.socket.sendall(data)
        client.rest()
    except (OSError, AssertionError):
        pass  # the fence may cut a reply or refuse our bytes


def test_two_streams_of_one_agent_live_side_by_side(rasadd, connect):
    server = rasadd(CONF)
    one, two = connect(server), connect(server)
    one.hello("web-1", STREAM)
    two.hello("web-1", OTHER)
    one.send({"C": 1}).wait_ack(1)
    two.send({"C": 10}).wait_ack(1)
    one.send({"C": 1}).wait_ack(2)
    scrape = server.scrape()
    assert scrape.series("C_total") == [({"agent": "web-1"}, 12)]


def test_a_hole_in_front_is_counted_and_gone_over(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    before = chain([b"whatever was lost"])
    welcome = client.hello("web-1", STREAM, first=10, chain=before)
    assert welcome == {"applied": 9, "committed": 9, "chain": before}
    client.send(b'{"C": 1}').wait_ack(10)
    scrape = server.scrape()
    assert scrape.value("rasad_agent_dropped_total", agent="web-1") == 9
    assert client.hello("web-1", STREAM)["chain"] == chain([b'{"C": 1}'], int(before, 16))


def test_first_is_no_hole_when_the_server_has_more(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"C": 1}, {"C": 1}, {"C": 1}).wait_ack(3)
    again = connect(server)
    for first in (1, 2, 4):
        assert again.hello("web-1", STREAM, first=first, chain="00000000")["applied"] == 3
    assert server.scrape().get("rasad_agent_dropped_total", 0, agent="web-1") == 0


def test_a_skip_moves_the_number_and_is_counted(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"C": 1}).wait_ack(1)
    client.send({"@skip": {"to": 5, "chain": "0000beef"}}, b'{"C": 1}').ping()
    welcome = client.hello("web-1", STREAM)
    assert (welcome["applied"], welcome["chain"]) == (6, chain([b'{"C": 1}'], 0xBEEF))
    scrape = server.scrape()
    assert scrape.value("rasad_agent_dropped_total", agent="web-1") == 4
    assert scrape.value("C_total", agent="web-1") == 2


def test_without_a_stream_a_sender_is_named_and_gets_no_acks(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1")
    client.send({"C": 1}, {"C": 1})
    assert client.ping() == []
    assert server.scrape().value("C_total", agent="web-1") == 2


def test_unnamed_senders_get_pongs_and_nothing_else(rasadd, connect):
    client = connect(rasadd(CONF))
    client.send({"C": 1}, b"rubbish\n", {"Nobody": 1}, {"@future": 1})
    assert client.ping() == []


PINGS = [1, "text", None, [1, {"a": 2}], {"b": []}, 0.1, True, "é😀", "x" * 250]


def test_a_ping_comes_back_as_it_was_before_and_after_hello(rasadd, connect):
    server = rasadd(CONF)
    for client, name in ((connect(server), None), (connect(server), "web-1")):
        if name:
            client.hello(name, STREAM)
        for value in PINGS:
            client.send({"@ping": value})
            assert client.read() == {"@pong": value}
        client.send(b'{"@ping": "\\u00e9\\n"}')
        assert client.read() == {"@pong": "é\n"}
    assert server.scrape().rejected() == {}


def test_a_reply_is_one_compact_object_on_a_line(rasadd, connect):
    client = connect(rasadd(CONF))
    client.send(b'{ "@ping" : { "a" : [ 1 , 2 ] } }')
    assert client.read_line() == b'{"@pong":{"a":[1,2]}}'
    client.send(b'{"@ping": [ "a b",\r\n\t2 ]}')
    assert client.read_line() == b'{"@pong":["a b",2]}'
    client.send(b'{"@hello": {"agent": "web-1", "stream": "' + STREAM.encode() + b'"}}')
    assert b" " not in client.read_line()


def test_a_ping_of_more_than_256_bytes_gets_no_pong(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.send({"@ping": "x" * 254})
    assert client.read() == {"@pong": "x" * 254}
    client.send({"@ping": "x" * 255}, {"@ping": "end"})
    replies = [client.read()]
    while replies[-1] is not None and replies[-1] != {"@pong": "end"}:
        replies.append(client.read())
    assert {"@pong": "x" * 255} not in replies
    assert sum(server.scrape().rejected().values()) == 1 or any("@error" in r for r in replies if r)


WRONG = [
    ("an empty name", {"agent": ""}),
    ("a name of 256 bytes", {"agent": "x" * 256}),
    ("a name of 256 bytes in 128 letters", {"agent": "é" * 128}),
    ("a line feed in the name", {"agent": "a\nb"}),
    ("an escape in the name", {"agent": "a\x1b[2Jb"}),
    ("a NUL in the name", {"agent": "a\0b"}),
    ("a DEL in the name", {"agent": "a\x7fb"}),
    ("a C1 control in the name", {"agent": "a\x9bb"}),
    ("a name that is a number", {"agent": 7}),
    ("no name", {"stream": STREAM}),
    ("a short stream", {"agent": "a", "stream": "abc"}),
    ("a stream that isn't hexadecimal", {"agent": "a", "stream": "g" * 32}),
    ("a stream that is a number", {"agent": "a", "stream": 5}),
    ("a hello that is text", "web-1"),
    ("a hello that is null", None),
]


@pytest.mark.parametrize("words", [case[1] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_hello_is_an_error_and_the_end(rasadd, connect, words):
    server = rasadd(CONF)
    client = connect(server)
    client.send({"@hello": words}, {"C": 1})
    (error,) = client.rest()
    assert set(error) == {"@error"} and set(error["@error"]) == {"reason", "text"}
    assert all(isinstance(text, str) and text for text in error["@error"].values())
    scrape = server.wait_for("rasad_agents", equals=0)
    assert scrape.series("C_total") == []


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "a b", 'we"b\\1', "😀", "127.0.0.1:1", "{}", "\u202eabc"])
def test_odd_names_are_names(rasadd, connect, name):
    server = rasadd(CONF)
    client = connect(server)
    client.hello(name, STREAM)
    client.send({"C": 1}).wait_ack(1)
    assert server.scrape().value("C_total", agent=name) == 1


def test_a_hello_behind_samples_is_an_error(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.send({"C": 1}, {"@hello": {"agent": "web-1", "stream": STREAM}})
    (error,) = client.rest()
    assert "@error" in error
    scrape = server.wait_for("rasad_agents", equals=0)
    assert scrape.series("C_total") == [({"agent": client.agent}, 1)]


def test_a_hello_of_another_agent_on_the_connection_is_an_error(rasadd, connect):
    client = connect(rasadd(CONF))
    client.hello("web-1", STREAM)
    client.send({"@hello": {"agent": "web-2", "stream": STREAM}})
    (error,) = client.rest()
    assert "@error" in error


def test_a_hello_with_other_members_is_heard_and_they_are_refused(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.send({"@hello": {"agent": "web-1", "stream": STREAM}, "C": 1})
    assert client.read() == {"@welcome": FRESH}
    scrape = server.scrape()
    assert scrape.rejected() == {"mixed": 1}
    assert scrape.series("C_total") == []


def test_unknown_members_of_a_hello_are_no_matter(rasadd, connect):
    client = connect(rasadd(CONF))
    assert client.hello("web-1", STREAM, instance="abc", future=[1]) == FRESH


def test_pings_may_come_before_the_hello(rasadd, connect):
    client = connect(rasadd(CONF))
    client.ping()
    assert client.hello("web-1", STREAM) == FRESH


def test_a_restarted_server_without_state_answers_0(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", STREAM)
    client.send({"C": 1}).wait_ack(1)
    server.restart()
    again = connect(server)
    assert again.hello("web-1", STREAM) == FRESH
    again.send({"C": 1}, {"C": 1}).wait_ack(2)
    assert server.scrape().value("C_total", agent="web-1") == 2


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_agents_on_any_number_of_threads_keep_their_own_numbers(rasadd, connect, threads):
    server = rasadd(f"threads = {threads}\n" + CONF)
    clients = [connect(server) for _ in range(40)]
    for n, client in enumerate(clients):
        # The hello and what stands behind it come in one read, and move to another thread together.
        client.send({"@hello": {"agent": f"web-{n}", "stream": f"{n:032x}"}}, *[{"C": n}] * 10)
    for client in clients:
        assert client.read() == {"@welcome": FRESH}
        client.wait_ack(10)
    scrape = server.scrape()
    assert [scrape.value("C_total", agent=f"web-{n}") for n in range(40)] == [10 * n for n in range(40)]


def test_two_living_processes_with_one_stream_are_noticed(rasadd, connect):
    server = rasadd(CONF)
    for instance in "abbcbc":  # one that is started anew, or a hello that is late, is nothing special
        connect(server).hello("web-1", STREAM, instance=instance)
    assert server.scrape().value("rasad_agent_forks_total", agent="web-1") == 0
    for instance in "bcbcbc":
        connect(server).hello("web-1", STREAM, instance=instance)
    assert server.scrape().value("rasad_agent_forks_total", agent="web-1") == 1
    server.wait_line(r"two processes send one stream .* agent=web-1 ")
