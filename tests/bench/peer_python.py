#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The server that one would write first: a thread a connection, a JSON message a line, and
prometheus_client's metrics. Prints its port; a connection is closed when all of it is handled."""

import json
import socketserver

from prometheus_client import Counter, Gauge

GAUGES = {"CPU_Utilization": Gauge("CPU_Utilization", "Utilization of CPU", ["agent"])}
COUNTERS = {"A_Pressed": Counter("A_Pressed", "Number of 'a' pressed", ["agent"])}


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        agent = "%s:%d" % self.client_address
        for line in self.rfile:
            for key, value in json.loads(line).items():
                if key in GAUGES:
                    GAUGES[key].labels(agent).set(float(value))
                elif key in COUNTERS:
                    COUNTERS[key].labels(agent).inc(float(value))


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 128
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Connection) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
