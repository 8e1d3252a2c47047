# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes the server, and its answers are what arithmetic says."""
import json
import shutil
import subprocess
import urllib.parse

import pytest

from harness import free_port, get_json
from wire import until

CONF = '''
metric "CPU_Utilization" { plugin = "gauge"           help = "Utilization of CPU" }
metric "A_Pressed"       { plugin = "letter_counter"  help = "Number of 'a' or 'A' pressed"  letters = "aA" }
metric "RTT"             { plugin = "histogram"  name = "rtt_seconds"  help = "Round-trip time"
                           buckets = { 0.0001, 0.001, 0.01, 0.1, 1 } }
metric "size"            { plugin = "summary"  name = "size_bytes"  help = "Size"  quantiles = { 0.5, 0.9 } }
metric "jobs"            { plugin = "counter"  help = "Jobs done"  labels = { "kind" } }
'''

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="wants Debian's prometheus")


class Prometheus:
    """A Prometheus that scrapes one server once a second."""

    def __init__(self, run, folder, server):
        self.port = free_port()
        conf = folder / "prometheus.yml"
        conf.write_text(json.dumps({"scrape_configs": [{  # JSON is YAML
            "job_name": "rasad", "scrape_interval": "1s",
            "static_configs": [{"targets": [f"127.0.0.1:{server.http}"]}]}]}))
        self.process = run("prometheus", f"--config.file={conf}", f"--storage.tsdb.path={folder}/tsdb",
                           f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn")

    def query(self, expression):
        """The result of an instant query: a list of {"metric": …, "value" or "values": …}."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            answer = get_json(self.port, path)
        except (ConnectionError, ValueError):  # it isn't up yet
            return []
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def value(self, expression):
        result = self.query(expression)
        return float(result[0]["value"][1]) if len(result) == 1 else None

    def wait_value(self, expression, value):
        until(lambda: self.value(expression) == value, f"{expression} is {value}", deadline_s=60)


def rate_of(values, at, window):
    """What rate() makes of these samples (Prometheus promql/functions.go, extrapolatedRate)."""
    times, counts = [t for t, _ in values], [float(v) for _, v in values]
    span, increase = times[-1] - times[0], counts[-1] - counts[0]
    average = span / (len(values) - 1)
    to_start, to_end = times[0] - (at - window), at - times[-1]
    if increase > 0 and counts[0] >= 0:
        to_start = min(to_start, span * counts[0] / increase)
    reach = span
    reach += to_start if to_start < average * 1.1 else average / 2
    reach += to_end if to_end < average * 1.1 else average / 2
    return increase * (reach / span) / window


@needs_prometheus
def test_prometheus_scrapes_and_answers_rightly(rasadd, run, connect, tmp_path):
    server = rasadd(CONF)
    prometheus = Prometheus(run, tmp_path, server)
    one, two = connect(server), connect(server)
    one.hello("web-1", "0" * 32)
    prometheus.wait_value("up", 1)

    rounds = []

    def grow():
        """Another few samples, until the scrapes of several seconds have seen the count rise."""
        one.send({"RTT": [0.0005] * 7, "A_Pressed": "a"})
        two.send({"RTT": [0.005, 0.05, 0.5], "A_Pressed": "3"})
        one.ping()
        two.ping()
        rounds.append(1)
        seen = prometheus.query('rtt_seconds_count{agent="web-1"}[10s]')
        return bool(seen) and len({value for _, value in seen[0]["values"]}) >= 4
    until(grow, "Prometheus has seen four values of the count", deadline_s=60)

    n = len(rounds)
    prometheus.wait_value("sum(rtt_seconds_count)", 10 * n)
    prometheus.wait_value("sum(A_Pressed_total)", 4 * n)
    assert prometheus.value('A_Pressed_total{agent="web-1"}') == n
    # 70 % lie up to 0.001, 80 % up to 0.01 and 90 % up to 0.1: the 0.9 quantile is that bound.
    assert prometheus.value("histogram_quantile(0.9, sum by (le) (rtt_seconds_bucket))") == pytest.approx(0.1)
    # Halfway from 0 (bound 0.0001, nothing) through the bucket with 70 %.
    assert prometheus.value("histogram_quantile(0.35, sum by (le) (rtt_seconds_bucket))") == pytest.approx(
        0.0001 + (0.001 - 0.0001) * 0.5)
    check_rate(prometheus)
    assert prometheus.value("scrape_samples_scraped") > 20


def check_rate(prometheus):
    """rate() at a fixed moment, against the samples of the same window."""
    last = prometheus.query('rtt_seconds_count{agent="web-1"}[10s]')[0]["values"][-1][0]
    at = f"{last:.3f}"
    (raw,) = prometheus.query(f'rtt_seconds_count{{agent="web-1"}}[10s] @ {at}')
    rate = prometheus.value(f'rate(rtt_seconds_count{{agent="web-1"}}[10s] @ {at})')
    assert rate == pytest.approx(rate_of(raw["values"], last, 10))
    assert rate > 0


@needs_prometheus
def test_prometheus_sees_a_restart_as_a_reset(rasadd, run, connect, tmp_path):
    server = rasadd(CONF)
    prometheus = Prometheus(run, tmp_path, server)
    client = connect(server)
    client.hello("web-1", "0" * 32)
    client.send({"A_Pressed": "1000"}).wait_ack(1)
    prometheus.wait_value("A_Pressed_total", 1000)
    server.restart()
    client = connect(server)
    client.hello("web-1", "0" * 32)
    client.send({"A_Pressed": "5"}).wait_ack(1)
    prometheus.wait_value("A_Pressed_total", 5)
    prometheus.wait_value("resets(A_Pressed_total[5m])", 1)


@needs_prometheus
def test_promtool_has_nothing_to_say(rasadd, connect):
    server = rasadd(CONF)
    client = connect(server)
    client.hello("web-1", "0" * 32)
    client.send({"CPU_Utilization": 1, "A_Pressed": "a", "RTT": 0.1, "size": [1, 2],
                 "jobs": {"value": 1, "labels": {"kind": 'a"\\\n'}}, "nobody": 1}).wait_ack(1)
    server.scrape()
    _, body = server.request()
    check = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True,
                           timeout=60, check=False)
    assert (check.returncode, check.stdout + check.stderr) == (0, b"")
