# SPDX-License-Identifier: Apache-2.0
"""The exporter as a scraper, a browser and a rude client see it."""
import http.client
import os
import re
import socket
import threading
import time

import pytest

from wire import DEADLINE_S

CONF = '''
metric "C" { plugin = "counter"  labels = { "path" } }
metric "G" { plugin = "gauge"    help = "A \\\\ and a \\n line feed" }
metric "H" { plugin = "histogram"  name = "h_seconds"  buckets = { 0.5, 1, 2.5 } }
metric "S" { plugin = "summary"  name = "s_seconds"  quantiles = { 0.5, 0.9 } }
'''
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROCESS = {"process_cpu_seconds_total": "counter", "process_open_fds": "gauge",
           "process_max_fds": "gauge", "process_virtual_memory_bytes": "gauge",
           "process_resident_memory_bytes": "gauge", "process_start_time_seconds": "gauge",
           "process_threads": "gauge"}
OURS = {"rasad_build_info": "gauge", "rasad_agents": "gauge", "rasad_agent_up": "gauge",
        "rasad_messages_total": "counter", "rasad_samples_total": "counter",
        "rasad_rejected_total": "counter", "rasad_series": "gauge", "rasad_plugin_info": "gauge",
        "rasad_reloads_total": "counter", "rasad_commit_seconds": "histogram",
        "rasad_scrape_seconds": "histogram", "rasad_agent_dropped_total": "counter",
        "rasad_agent_forks_total": "counter", "rasad_overflow_samples_total": "counter"}


@pytest.fixture
def server(rasadd, connect):
    """A server with a series of every kind, of the named agent web-1."""
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", "0" * 32)
    client.send({"C": 3, "G": -1.5, "H": [0.5, 0.7, 99], "S": [1, 2, 3]}).wait_ack(1)
    server.named = client
    return server


def raw(server, data, until_closed=False):
    """Sends these bytes on a connection of their own and returns what comes back, as bytes."""
    with socket.create_connection(("127.0.0.1", server.http), timeout=DEADLINE_S) as client:
        client.sendall(data)
        received = b""
        while until_closed or b"\r\n\r\n" not in received:
            more = client.recv(65536)
            if not more:
                break
            received += more
        return received


def test_metrics_come_as_text_0_0_4(server):
    response, body = server.request()
    assert response.status == 200
    assert response.getheader("Content-Type") == TEXT
    assert int(response.getheader("Content-Length", len(body))) == len(body)


def test_every_kind_is_shown_as_it_should_be(server):
    scrape = server.scrape()
    web = {"agent": "web-1"}
    assert scrape.value("C_total", **web) == 3
    assert scrape.value("G", **web) == -1.5
    assert [scrape.value("h_seconds_bucket", le=le, **web) for le in ("0.5", "1", "2.5", "+Inf")] == [1, 2, 2, 3]
    assert scrape.value("h_seconds_sum", **web) == pytest.approx(100.2)
    assert scrape.value("h_seconds_count", **web) == 3
    assert scrape.value("s_seconds", quantile="0.5", **web) == pytest.approx(2, rel=0.05)
    assert scrape.value("s_seconds_sum", **web) == 6
    assert {name: scrape.families[name].type for name in ("C_total", "G", "h_seconds", "s_seconds")} == {
        "C_total": "counter", "G": "gauge", "h_seconds": "histogram", "s_seconds": "summary"}
    assert scrape.families["G"].help == "A \\ and a \n line feed"


def test_created_is_a_gauge_of_its_own_with_the_time_of_the_first_sample(server):
    scrape = server.scrape()
    for name in ("C_created", "h_seconds_created", "s_seconds_created"):
        assert scrape.families[name].type == "gauge"
        assert scrape.value(name, agent="web-1") == pytest.approx(time.time(), abs=60)
    assert "G_created" not in scrape.families


def test_all_families_of_the_server_itself_are_there(server):
    scrape = server.scrape()
    families = {name: family.type for name, family in scrape.families.items()}
    assert {name: families.get(name) for name in OURS} == OURS
    assert scrape.value("rasad_agents") == 1
    assert scrape.value("rasad_agent_up", agent="web-1") == 1
    assert scrape.value("rasad_messages_total") == 2  # the hello and the samples
    assert {labels["metric"]: value for labels, value in scrape.series("rasad_samples_total")} == {
        "C": 1, "G": 1, "h_seconds": 3, "s_seconds": 3}
    assert {labels["metric"]: value for labels, value in scrape.series("rasad_series")} == {
        "C": 1, "G": 1, "h_seconds": 1, "s_seconds": 1}
    plugins = {labels["plugin"]: labels for labels, _ in scrape.series("rasad_plugin_info")}
    assert set(plugins) == {"counter", "gauge", "histogram", "summary"}
    assert all(set(labels) == {"plugin", "version", "abi", "path"} and labels["abi"] == "1"
               and os.path.exists(labels["path"]) for labels in plugins.values())
    assert scrape.series("rasad_build_info")[0][1] == 1


def test_scrapes_are_timed(server):
    server.scrape()
    assert server.scrape().value("rasad_scrape_seconds_count") >= 1


def test_the_process_families_are_sane(server):
    scrape = server.scrape()
    families = {name: family.type for name, family in scrape.families.items()}
    assert {name: families.get(name) for name in PROCESS} == PROCESS
    assert scrape.value("process_resident_memory_bytes") == pytest.approx(
        server.status_kib("VmRSS") * 1024, rel=0.5)
    assert 0 < scrape.value("process_start_time_seconds") <= time.time()
    assert abs(scrape.value("process_start_time_seconds") - time.time()) < 300
    assert scrape.value("process_start_time_seconds") == server.scrape().value("process_start_time_seconds")
    fds = len(os.listdir(f"/proc/{server.pid}/fd"))
    assert abs(scrape.value("process_open_fds") - fds) <= 3
    assert scrape.value("process_threads") == len(os.listdir(f"/proc/{server.pid}/task"))
    assert 0 <= scrape.value("process_cpu_seconds_total") < 60
    limits = open(f"/proc/{server.pid}/limits", encoding="ascii").read()
    assert scrape.value("process_max_fds") == int(re.search(r"Max open files\s+(\d+)", limits)[1])


def test_head_has_the_headers_and_no_body_and_the_connection_lives_on(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=DEADLINE_S)
    connection.request("HEAD", "/metrics")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert response.getheader("Content-Type") == TEXT
    for _ in range(3):
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.status == 200 and b"G{" in response.read()
    connection.close()


@pytest.mark.parametrize("path", ["/metricsxyz", "/nothing", "/metrics/", "/-/", "//", "/..%2fetc/passwd"])
def test_an_unknown_path_is_404_with_a_text(server, path):
    response, body = server.request(path)
    assert response.status == 404
    assert body.strip()
    assert b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy"])
def test_other_methods_are_405_with_allow(server, method, path):
    response, _ = server.request(path, method)
    assert response.status == 405
    assert {word.strip() for word in response.getheader("Allow").split(",")} >= {"GET", "HEAD"}


def test_the_body_of_a_refused_request_is_no_next_request(server):
    body = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(server, b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
                 + str(len(body)).encode() + b"\r\n\r\n" + body, until_closed=True)
    assert answer.count(b"HTTP/1.1 ") == 1 and b" 405 " in answer


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready"])
def test_it_says_that_it_is_well(server, path):
    response, body = server.request(path)
    assert response.status == 200 and body.strip()


def test_the_landing_page_links_what_is_there(server):
    response, body = server.request("/")
    assert response.status == 200
    assert response.getheader("Content-Type").startswith("text/html")
    links = re.findall(r'href="([^"]+)"', body.decode())
    assert {"/metrics", "/-/healthy", "/-/ready"} <= set(links)
    for link in links:
        assert not link.startswith("/") or server.request(link)[0].status == 200


def test_name_selects_families(server):
    scrape = server.scrape("/metrics?name[]=G&name[]=C_total&name%5B%5D=rasad_agents&name[]=none")
    assert set(scrape.families) == {"G", "C_total", "rasad_agents"}
    assert set(server.scrape("/metrics?name[]=h_seconds").families) == {"h_seconds"}


@pytest.mark.parametrize("query", ["x=1", "name=G", "name[", "&&=", "name%5", "a[]=b&" * 100])
def test_other_parameters_are_ignored(server, query):
    assert "G" in server.scrape("/metrics?" + query).families


def test_a_request_without_host_is_400(server):
    assert b" 400 " in raw(server, b"GET /metrics HTTP/1.1\r\n\r\n").split(b"\r\n")[0]
    answer = raw(server, b"GET /metrics HTTP/1.0\r\n\r\n", until_closed=True)
    assert b" 200 " in answer.split(b"\r\n")[0]


@pytest.mark.parametrize("data", [b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"{}\r\n\r\n",
                                  b"GET /metrics HTTP/9.9\r\nHost: x\r\n\r\n"], ids=repr)
def test_rubbish_on_the_web_port_harms_nobody(server, data):
    with socket.create_connection(("127.0.0.1", server.http), timeout=DEADLINE_S) as client:
        client.sendall(data)
        assert server.scrape().value("rasad_agents") == 1
        client.shutdown(socket.SHUT_WR)
        assert server.scrape().value("rasad_agents") == 1


def test_a_half_closed_scraper_gets_its_answer(server):
    with socket.create_connection(("127.0.0.1", server.http), timeout=DEADLINE_S) as client:
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_endless_headers_are_refused(server):
    with socket.create_connection(("127.0.0.1", server.http), timeout=DEADLINE_S) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        answer = b""
        try:
            for _ in range(1000):
                client.sendall(b"X-Filler: " + b"x" * 4096 + b"\r\n")
            answer = client.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert answer == b"" or b" 431 " in answer or b" 413 " in answer
    server.scrape()


def test_slow_readers_and_idle_connections_delay_nobody(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.send({"C": [{"value": 1, "labels": {"path": f"/{n}" + "x" * 500}} for n in range(1500)]}).ping()
    slow = []
    for n in range(24):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", server.http))
        if n % 2:
            reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert reader.recv(1)
        slow.append(reader)
    for n in range(5):
        begun = time.monotonic()
        client.send({"C": 1}).ping()
        assert server.scrape().value("C_total", agent=client.agent) == n + 1
        assert time.monotonic() - begun < 5
    received = b""
    slow[1].settimeout(DEADLINE_S)
    while b"rasad_build_info{" not in received:
        more = slow[1].recv(65536)
        assert more, "a slow reader gets all of it in the end"
        received += more
    for reader in slow:
        reader.close()


@pytest.mark.parametrize("name", ['we"b', "we\\b", "we\\nb", "😀 {}=,", "a" * 255])
def test_label_values_are_escaped(rasadd, connect, name):
    server = rasadd(CONF)
    client = connect(server)
    client.hello(name, "0" * 32)
    odd = 'a"b\\c\nd'
    client.send({"C": {"value": 1, "labels": {"path": odd}}, "G": 1}).wait_ack(1)
    scrape = server.scrape()
    assert scrape.value("G", agent=name) == 1
    assert scrape.value("C_total", agent=name, path=odd) == 1


def test_a_histogram_is_of_one_instant_while_samples_pour_in(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    stop = threading.Event()

    def pour():
        while not stop.is_set():
            client.socket.sendall(b'{"H": [0.25, 0.75, 8]}' * 200)
    flood = threading.Thread(target=pour)
    flood.start()
    try:
        last = 0
        for _ in range(100):
            scrape = server.scrape()  # whose parser compares buckets, sum and count
            count = scrape.get("h_seconds_count", 0, agent=client.agent)
            total = scrape.get("h_seconds_sum", 0, agent=client.agent)
            assert count >= last
            if count % 3 == 0:
                assert total == count * 3
            last = count
    finally:
        stop.set()
        flood.join()
    assert last > 0
