# SPDX-License-Identifier: Apache-2.0
"""Which family and which series a sample goes to: names, globs, labels, bounds, and an end."""
import threading

import pytest

from wire import until

COUNTER = 'metric "C" { plugin = "counter" %s }\n'


def test_a_gauge_is_set_and_changed(rasadd, connect):
    server = rasadd('metric "G" { plugin = "gauge" }')
    client = connect(server)
    client.send({"G": {"add": 2}}, {"G": 10}, {"G": {"add": -2.5}}, {"G": {"add": "0.25"}}).ping()
    assert server.scrape().value("G", agent=client.agent) == 7.75


def test_members_and_elements_are_taken_each_by_itself(rasadd, connect):
    server = rasadd('metric "G" { plugin = "gauge" }\n' + COUNTER % 'labels = { "path" }')
    client = connect(server)
    client.send({"G": "1.5", "no": 1, "C": [
        1, "2", {"value": 4, "labels": {"path": "/"}, "time": 1700000000.5},
        {"value": "8", "labels": {"path": "/"}}, {"value": 16, "labels": {"other": "x"}}]}).ping()
    scrape = server.scrape()
    assert scrape.value("G", agent=client.agent) == 1.5
    assert scrape.value("C_total", agent=client.agent) == 3
    assert scrape.value("C_total", agent=client.agent, path="/") == 12
    assert scrape.rejected() == {"unknown_key": 1, "bad_label": 1}
    assert scrape.value("rasad_samples_total", metric="C") == 4


def test_letters_are_counted_in_text_and_numbers_added(rasadd, connect):
    server = rasadd('metric "L" { plugin = "letter_counter"  letters = "aAé" }')
    client = connect(server)
    client.send({"L": "Anna and a banana"}, {"L": "é\u0000a"}, {"L": 100}, {"L": "1000"},
                {"L": ""}, {"L": "xyz"}, {"L": "1e1"}).ping()
    assert server.scrape().value("L_total", agent=client.agent) == 7 + 2 + 100 + 1000 + 10


def test_a_summary_knows_count_sum_and_quantiles(rasadd, connect):
    server = rasadd('metric "S" { plugin = "summary"  quantiles = { 0, 0.5, 0.9, 1 } }')
    client = connect(server)
    client.send({"S": list(range(1, 1001))}).ping()
    scrape = server.scrape()
    for quantile, value in (("0", 1), ("0.5", 500), ("0.9", 900), ("1", 1000)):
        assert scrape.value("S", agent=client.agent, quantile=quantile) == pytest.approx(value, rel=0.03)
    assert scrape.value("S_sum", agent=client.agent) == 500500
    assert scrape.value("S_count", agent=client.agent) == 1000


def test_histogram_bounds_are_inclusive(rasadd, connect):
    server = rasadd('metric "H" { plugin = "histogram"  buckets = { -1, 0.1, 1 } }'
                    'metric "D" { plugin = "histogram" }')
    client = connect(server)
    client.send({"H": [-1, 0.1, 0.1000001, 1, 1.5], "D": 0.005}).ping()
    scrape = server.scrape()
    buckets = {labels["le"]: value for labels, value in scrape.series("H_bucket")}
    assert buckets == {"-1": 1, "0.1": 2, "1": 4, "+Inf": 5}
    assert [labels["le"] for labels, _ in scrape.series("D_bucket")] == [
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
    assert scrape.value("D_bucket", agent=client.agent, le="0.005") == 1


def test_a_glob_takes_what_no_plain_title_takes_and_the_first_glob_wins(rasadd, connect):
    server = rasadd('metric "req_*" { plugin = "counter" }'
                    'metric "req_s*" { plugin = "gauge" }'
                    'metric "*_s" { plugin = "gauge" }'
                    'metric "req_size" { plugin = "histogram"  buckets = { 1 } }')
    client = connect(server)
    client.send({"req_a": 1, "req_size": 2, "req_s": 4, "t_s": 8, "none": 16}).ping()
    scrape = server.scrape()
    assert scrape.value("req_a_total", agent=client.agent) == 1
    assert scrape.value("req_size_sum", agent=client.agent) == 2
    assert scrape.value("req_s_total", agent=client.agent) == 4
    assert scrape.value("t_s", agent=client.agent) == 8
    assert scrape.rejected() == {"unknown_key": 1}


def test_a_name_beside_a_glob_merges_its_keys(rasadd, connect):
    server = rasadd('metric "in_*" { plugin = "counter"  name = "inputs" }')
    client = connect(server)
    client.send({"in_a": 1, "in_b": 2}, {"in_c": 4}).ping()
    assert server.scrape().series("inputs_total") == [({"agent": client.agent}, 7)]


def test_keys_are_made_legal_names(rasadd, connect):
    server = rasadd('metric "*" { plugin = "counter" }')
    client = connect(server)
    client.send({"a.b-c": 1, "a b c": 2, "9x": 4, "é": 8}).ping()
    scrape = server.scrape()
    assert scrape.value("a_b_c_total", agent=client.agent) == 3  # two keys, one legal name
    assert scrape.value("_9x_total", agent=client.agent) == 4
    assert scrape.rejected() == {}
    assert scrape.total("__total") + scrape.total("___total") == 8


def test_a_later_key_whose_names_would_clash_is_refused(rasadd, connect):
    server = rasadd('metric "x" { plugin = "histogram"  buckets = { 1 } }'
                    'metric "*" { plugin = "gauge" }')
    client = connect(server)
    client.send({"x": 1, "x_count": 2, "x_bucket": 3, "x_sum": 4, "x.": 5, "rasad_agents": 6,
                 "process_threads": 7, "y": 8}).ping()
    scrape = server.scrape()
    assert scrape.rejected() == {"bad_name": 5}
    assert scrape.value("y", agent=client.agent) == 8
    assert scrape.value("x_", agent=client.agent) == 5
    assert scrape.value("rasad_agents") == 1


def test_a_glob_makes_no_more_than_max_families(rasadd, connect):
    server = rasadd('metric "m*" { plugin = "counter"  max_families = 2 }')
    client = connect(server)
    client.send({"m1": 1}, {"m2": 1}, {"m3": 1}, {"m4": 1}, {"m1": 1}).ping()
    scrape = server.scrape()
    assert (scrape.total("m1_total"), scrape.total("m2_total"), scrape.series("m3_total")) == (2, 1, [])
    assert scrape.rejected() == {"bad_name": 2}


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_max_series_is_exact_over_all_threads_and_totals_stay_exact(rasadd, connect, threads):
    server = rasadd(f"threads = {threads}\n" + COUNTER % 'labels = { "path" }  max_series = 10')
    clients = [connect(server) for _ in range(8)]
    for client in clients:
        client.send(*[{"C": {"value": 1, "labels": {"path": f"/{n % 5}"}}} for n in range(50)])
    for client in clients:
        client.ping()
    scrape = server.scrape()
    beyond = scrape.value("C_total", overflow="true")
    within = [(labels, value) for labels, value in scrape.series("C_total") if "overflow" not in labels]
    assert len(within) == 10
    assert all(value == 10 and set(labels) == {"agent", "path"} for labels, value in within)
    assert beyond == 8 * 50 - 100
    assert scrape.value("rasad_overflow_samples_total", metric="C") == beyond
    assert scrape.rejected() == {}
    assert scrape.value("rasad_samples_total", metric="C") == 400


def test_without_an_agent_label_all_senders_are_one_series(rasadd, connect):
    server = rasadd('agent_label = ""\nthreads = 3\n' + COUNTER % "" +
                    'metric "H" { plugin = "histogram"  buckets = { 1 } }')
    clients = [connect(server) for _ in range(9)]
    for n, client in enumerate(clients):
        if n % 2:
            client.hello(f"web-{n}", f"{n:032x}")
        client.send(*[{"C": 1, "H": 1}] * 100).ping()
    scrape = server.scrape()
    assert scrape.series("C_total") == [({}, 900)]
    assert scrape.value("H_count") == 900


def test_the_agent_label_can_have_another_name(rasadd, connect):
    server = rasadd('agent_label = "host_name"\n' + COUNTER % 'labels = { "agent" }')
    client = connect(server)
    client.send({"C": {"value": 1, "labels": {"agent": "mine"}}}).ping()
    assert server.scrape().value("C_total", host_name=client.agent, agent="mine") == 1


def test_labels_keep_one_order_however_they_come(rasadd, connect):
    server = rasadd(COUNTER % 'labels = { "z", "a" }')
    client = connect(server)
    client.send(b'{"C": {"value": 1, "labels": {"a": "1", "z": "2"}}}'
                b'{"C": {"value": 1, "labels": {"z": "2", "a": "1"}}}'
                b'{"C": {"labels": {"z": "3"}, "value": 1}}').ping()
    scrape = server.scrape()
    assert scrape.value("C_total", agent=client.agent, a="1", z="2") == 2
    assert scrape.value("C_total", agent=client.agent, z="3") == 1


def test_a_series_not_updated_for_so_long_expires_and_begins_anew(rasadd, connect):
    server = rasadd(COUNTER % 'labels = { "path" }  expire = "500ms"')
    client = connect(server)
    old = {"C": {"value": 5, "labels": {"path": "old"}}}
    client.send(old, {"C": 1}).ping()
    created = server.scrape().value("C_created", agent=client.agent, path="old")

    def gone():
        client.send({"C": 1}).ping()
        return server.scrape().get("C_total", agent=client.agent, path="old") is None
    until(gone, "the series that nobody updates has expired")
    assert server.scrape().value("C_total", agent=client.agent) > 1
    client.send(old).ping()
    scrape = server.scrape()
    assert scrape.value("C_total", agent=client.agent, path="old") == 5
    assert scrape.value("C_created", agent=client.agent, path="old") > created


def test_expired_series_make_room_below_max_series(rasadd, connect):
    server = rasadd(COUNTER % 'labels = { "path" }  expire = "200ms"  max_series = 2')
    client = connect(server)
    for name in ("a", "b", "c"):
        client.send({"C": {"value": 1, "labels": {"path": name}}}).ping()
    server.wait_for("rasad_series", metric="C", equals=0)
    client.send({"C": {"value": 1, "labels": {"path": "d"}}}).ping()
    assert server.scrape().value("C_total", agent=client.agent, path="d") == 1


def test_series_of_an_unnamed_sender_go_some_time_after_its_end(rasadd, connect):
    server = rasadd('anonymous_expire = "200ms"\n' + COUNTER % "")
    gone, here, named = connect(server), connect(server), connect(server)
    named.hello("web-1", "0" * 32)
    for client in (gone, here, named):
        client.send({"C": 1}).ping()
    gone.close()
    named.close()
    until(lambda: server.scrape().get("C_total", agent=gone.agent) is None, "its series is gone")
    scrape = server.scrape()
    assert scrape.value("C_total", agent=here.agent) == 1
    assert scrape.value("C_total", agent="web-1") == 1


def test_gauges_of_an_agent_long_gone_are_hidden_and_back_with_it(rasadd, connect):
    server = rasadd('stale_after = "200ms"\nmetric "G" { plugin = "gauge" }\n' + COUNTER % "")
    client = connect(server)
    client.hello("web-1", "0" * 32)
    client.send({"G": 7, "C": 1}).wait_ack(1)
    assert server.scrape().value("G", agent="web-1") == 7
    client.close()
    until(lambda: server.scrape().get("G", agent="web-1") is None, "the gauge is hidden")
    assert server.scrape().value("C_total", agent="web-1") == 1
    connect(server).hello("web-1", "0" * 32)
    server.wait_for("G", agent="web-1", equals=7)


def test_many_threads_send_to_many_series_exactly(rasadd, connect):
    server = rasadd("threads = 4\n" + COUNTER % 'labels = { "path" }')
    clients = [connect(server) for _ in range(8)]

    def pour(client):
        block = b"".join(b'{"C": {"value": %d, "labels": {"path": "/%d"}}}\n' % (n, n) for n in range(100))
        client.send(block * 50).ping()
    threads = [threading.Thread(target=pour, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scrape = server.scrape()
    for client in clients:
        series = {labels["path"]: value for labels, value in scrape.series("C_total", agent=client.agent)}
        assert series == {f"/{n}": n * 50 for n in range(100)}
