# SPDX-License-Identifier: Apache-2.0
"""harness: the real programs as objects that a test can start, watch, signal and end.

Everything listens on 127.0.0.1 on free ports, lives in the test's folder, and is ended by its own
process id. A program that died, or whose log holds a sanitizer's report, fails the test that
started it, with its log.
"""
import http.client
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import exposition
from wire import DEADLINE_S, until

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("RASAD_BUILD", ROOT / "build" / "release")).resolve()
REPORT = re.compile(r"(Address|Thread|Leak|UndefinedBehavior)Sanitizer|runtime error:")
LISTENING = re.compile(r"info listening address=127\.0\.0\.1:(\d+)$")
SERVING = re.compile(r"info serving address=127\.0\.0\.1:(\d+)$")
REASONS = ("bad_json bad_utf8 unknown_key bad_value bad_label bad_name too_long mixed truncated "
           "plugin_crash").split()


def built_with(word):
    """Whether the programs were built with this sanitizer."""
    cache = BUILD / "CMakeCache.txt"
    match = re.search(r"^RASAD_SANITIZE:\w+=(.*)$", cache.read_text(), re.M) if cache.exists() else None
    return bool(match) and word in match[1]


def program(name):
    """The path of a program of the build."""
    for folder in ("bin", "sbin"):
        if (BUILD / folder / name).exists():
            return str(BUILD / folder / name)
    raise FileNotFoundError(f"no {name} in {BUILD} (build it, or set RASAD_BUILD)")


class Process:
    """A running program and what it has said on standard error so far."""

    def __init__(self, arguments, folder, terminal=False, environment=None, stdin=None, descriptors=()):
        self.arguments = [str(a) for a in arguments]
        self.lines, self.ended = [], False
        self.news = threading.Condition()
        self.expected = False  # to be dead by now
        source, target = pty.openpty() if terminal else os.pipe()
        home = {"HOME": str(folder), "STATE_DIRECTORY": str(folder), "LC_ALL": "C.UTF-8",
                "ASAN_OPTIONS": "exitcode=99:quarantine_size_mb=16", "TSAN_OPTIONS": "exitcode=99"}
        try:
            self.popen = subprocess.Popen(
                self.arguments, cwd=folder, stderr=target, stdout=subprocess.DEVNULL,
                stdin=stdin or subprocess.DEVNULL, pass_fds=descriptors,
                env=os.environ | home | (environment or {}))
        finally:
            os.close(target)
        self.pid = self.popen.pid
        self.reader = threading.Thread(target=self.read_log, args=(source,), daemon=True)
        self.reader.start()

    def read_log(self, source):
        rest = b""
        while True:
            try:
                more = os.read(source, 65536)
            except OSError:  # how the end of a terminal looks
                more = b""
            *lines, rest = (rest + more).split(b"\n")
            with self.news:
                self.lines += [line.decode("utf-8", "surrogateescape").rstrip("\r")
                               for line in lines + ([rest] if not more and rest else [])]
                self.ended = not more
                self.news.notify_all()
            if not more:
                break
        os.close(source)

    @property
    def log(self):
        with self.news:
            return "\n".join(self.lines)

    def wait_line(self, pattern, after=0, deadline_s=DEADLINE_S):
        """The first match of the pattern in a line of the log, from line `after` on."""
        end = time.monotonic() + deadline_s
        with self.news:
            while True:
                for line in self.lines[after:]:
                    match = re.search(pattern, line)
                    if match:
                        return match
                left = end - time.monotonic()
                assert left > 0 and not self.ended, f"never said {pattern!r}:\n" + "\n".join(self.lines)
                self.news.wait(left)

    def kill(self, number):
        os.kill(self.pid, number)
        return self

    def wait(self, deadline_s=DEADLINE_S):
        """Waits for the end and returns the exit code."""
        self.expected = True
        code = self.popen.wait(deadline_s)
        self.reader.join(deadline_s)
        return code

    def stop(self, number=signal.SIGTERM):
        """Ends it as a service manager would; returns the exit code."""
        if self.popen.poll() is None:
            self.expected = True
            self.kill(number)
        return self.wait()

    def clean_up(self):
        """Ends it whatever happens. Returns what was wrong with it, or None."""
        code = self.popen.poll()
        if code is None:
            self.expected = True
            self.kill(signal.SIGTERM)
            try:
                code = self.wait()
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
                return "didn't end on SIGTERM"
        self.reader.join(DEADLINE_S)
        if REPORT.search(self.log):
            return "has a sanitizer's report in its log"
        if not self.expected:
            return f"died by itself with {code}"
        return None

    def status_kib(self, field):
        """A field of /proc/PID/status, such as VmRSS."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB$", text, re.M)[1])

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    """A rasadd with its conf. `port` takes agents, `http` scrapers; restart() keeps both."""

    HEAD = {
        "listen": 'listen {{ address = "127.0.0.1"  port = {port} }}',
        "http": 'http {{ address = "127.0.0.1"  port = {http} }}',
        "state_dir": 'state_dir = ""',
        "admin_socket": 'admin_socket = "{folder}/rasad.sock"',
    }

    def __init__(self, folder, conf="", port=0, http=0, arguments=(), terminal=False,
                 environment=None, wrapper=()):
        self.folder, self.conf, self.port, self.http = folder, conf, port, http
        self.arguments, self.terminal = list(arguments), terminal
        self.environment, self.wrapper = environment, list(wrapper)
        self.process, self.past = None, []
        self.start()

    def write_conf(self):
        """Writes the conf: ours in front, without what the test's own sets."""
        head = [text.format(port=self.port, http=self.http, folder=self.folder)
                for word, text in self.HEAD.items()
                if not re.search(rf"^\s*{word}\b", self.conf, re.M)]
        path = self.folder / "rasad.conf"
        path.write_text("\n".join(head) + "\n" + self.conf + "\n")
        return path

    def start(self):
        self.process = Process(
            [*self.wrapper, program("rasadd"), "-c", self.write_conf(), *self.arguments],
            self.folder, self.terminal, self.environment)
        self.past.append(self.process)
        if not self.terminal:
            self.port = int(self.process.wait_line(LISTENING)[1])
            self.http = int(self.process.wait_line(SERVING)[1])
        return self

    def restart(self, number=signal.SIGINT):
        """Stops it cleanly and starts it again on the same ports."""
        assert self.process.stop(number) == 0, self.process.log
        return self.start()

    # What it shows.

    def request(self, path="/metrics", method="GET", headers=None):
        """One request on a connection of its own: (response, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=DEADLINE_S)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def scrape(self, path="/metrics"):
        """A scrape that went through the strict parser."""
        response, body = self.request(path)
        assert response.status == 200, (response.status, body)
        return exposition.parse(body)

    def wait_for(self, metric, /, equals=None, at_least=None, deadline_s=DEADLINE_S, **labels):
        """Scrapes until the series is there with the value; returns that scrape."""
        seen = []

        def question():
            scrape = self.scrape()
            value = scrape.get(metric, **labels)
            seen[:] = [value]
            right = value is not None and (equals is None or value == equals)
            return scrape if right and (at_least is None or value >= at_least) else None

        try:
            return until(question, "", deadline_s)
        except AssertionError:
            raise AssertionError(f"{metric}{labels} is {seen}, wants equals={equals}, "
                                 f"at_least={at_least}") from None

    def __getattr__(self, name):
        """What the process can do (kill, stop, log, wait_line, …) the server can."""
        return getattr(self.__dict__["process"], name)


class Agent:
    """A rasad-agent."""

    def __init__(self, folder, server, name=None, collectors=None, interval=None, lines=None,
                 arguments=(), conf=None, terminal=False):
        servers = server if isinstance(server, (list, tuple)) else [server]
        command = [program("rasad-agent")]
        for target in servers:
            command += ["-s", target if isinstance(target, str) else f"127.0.0.1:{target.port}"]
        for flag, value in (("-n", name), ("-C", collectors), ("-i", interval)):
            command += [flag, value] if value is not None else []
        if conf is not None:
            path = folder / f"agent-{name}.conf"
            path.write_text(conf)
            command += ["-c", path]
        stdin = None
        if lines is not None:
            command.append("--stdin")
            path = folder / f"lines-{name}.json"
            path.write_text("".join(line + "\n" for line in lines))
            stdin = path.open("rb")
        try:
            self.process = Process([*command, *arguments], folder, terminal, stdin=stdin)
        finally:
            if stdin:
                stdin.close()

    def wait_all_acked(self, deadline_s=60):
        """For an agent with lines: it ends once all of them are acknowledged."""
        assert self.process.wait(deadline_s) == 0, self.process.log

    def __getattr__(self, name):
        return getattr(self.__dict__["process"], name)


def free_port():
    """A port that nobody listens on now, for a program that takes no 0."""
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get_json(port, path):
    """The JSON that an HTTP server on this machine answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
