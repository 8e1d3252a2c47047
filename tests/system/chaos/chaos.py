# SPDX-License-Identifier: Apache-2.0
"""chaos: senders that push through a bad network into a server that is killed, stopped, restarted and
reloaded; and what must be true all the same.

    Chaos(folder, Options(seed=7, seconds=20)).run()

raises Found with what the server (or an agent) did wrong, and is silent if there was nothing. All that
is decided (what is done to whom, and when) is drawn from the seed before it begins; how the processes
then meet is the machine's.

While it runs:
  - each sender checks every answer (sender.c: nothing acknowledged is lost, the chain is right);
  - a poller scrapes: no counter, bucket, count or sum falls, no series vanishes, nothing is created anew,
    and a scrape fails only while the server is down by our doing.
In the end:
  - every sender has all of its messages acknowledged;
  - every count and sum is exact, gauges show the last value sent; the same after a restart and a kill;
  - the server knows each stream's number and chain.
"""
import collections
import ctypes
import heapq
import http.client
import itertools
import json
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import exposition  # noqa: E402
import tear  # noqa: E402
from harness import BUILD, LISTENING, REPORT, SERVING, Process, program  # noqa: E402
from wire import Client  # noqa: E402

PROGRAMS = BUILD / "tests" / "system" / "chaos"
PATIENCE_S = 60  # for what should take moments: a start, the next ack once nothing is in the way
BOUNDS = (5, 10, 25, 50)  # as in workload.c
LIBC = ctypes.CDLL(None)

CONF = """
listen {{ address = "127.0.0.1"  port = {port} }}
http {{ address = "127.0.0.1"  port = {http} }}
admin_socket = "{folder}/rasad.sock"
state_dir = "{folder}/state"
threads = 2
metric "chaos_pushes" {{ plugin = "counter"  help = "{help}" }}
metric "chaos_letters" {{ plugin = "letter_counter"  letters = "aA" }}
metric "chaos_sizes" {{ plugin = "histogram"  buckets = {{ 5, 10, 25, 50 }} }}
metric "chaos_last" {{ plugin = "gauge" }}
metric "chaos_level" {{ plugin = "gauge" }}
metric "chaos_paths" {{ plugin = "counter"  labels = {{ {labels} }} }}
{more}
"""


class Found(AssertionError):
    """The server or an agent has broken its word."""


@dataclass
class Options:
    """What a run is made of."""
    seed: int = 1
    seconds: int = 150           # how long there are disturbances
    disturbances: int = 200
    messages: int = 1_000_000    # of each sender
    senders: dict = field(default_factory=lambda: {"reference": 8})  # kind → how many
    kinds: dict = field(default_factory=dict)     # of disturbances → weight; default WEIGHTS
    environment: dict = field(default_factory=dict)  # of the server
    agent_environment: dict = field(default_factory=dict)  # of senders
    log: object = print


# How often each kind of disturbance comes, beside the others.
WEIGHTS = {
    "cut": 6, "delay": 2, "stall": 3, "zombie": 5, "dribble": 1,
    "sender-kill": 4, "sender-stop": 2, "sender-restart": 1,
    "server-kill": 6, "server-restart": 2, "server-stop": 2, "server-reload": 2, "server-upgrade": 2,
}


def end_cleanly():
    """From now on SIGTERM ends this process as Ctrl+C does: after its children."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


# ---- What is done, and when ---------------------------------------------------------------------

@dataclass(frozen=True)
class Disturbance:
    at_s: float
    kind: str
    words: tuple  # what the kind needs; see the functions of Chaos

    def __str__(self):
        return f"{self.at_s:8.3f} s  {self.kind} {' '.join(str(w) for w in self.words)}"


def draw_words(rng, kind):
    """The details of one disturbance."""
    milliseconds = lambda most: int(10 ** rng.uniform(0, 1) / 10 * most)  # noqa: E731  short ones more often
    many = rng.choice((1, 1, 2, 8))
    return {
        "cut": lambda: (many, rng.choice(("fin", "rst")), rng.choice((0, 100, 5000, 100_000)),
                        milliseconds(300), int(rng.random() < 0.4)),
        "delay": lambda: (many, milliseconds(200), milliseconds(3000)),
        "stall": lambda: (many, rng.choice(("up", "down", "both")), milliseconds(1500)),
        "dribble": lambda: (1, milliseconds(500)),
        "zombie": lambda: (many, milliseconds(300),
                           rng.choice(("hello", "hello", milliseconds(60), milliseconds(600)))),
        "sender-kill": lambda: (rng.randrange(1000), milliseconds(400)),
        "sender-stop": lambda: (rng.randrange(1000), milliseconds(1500)),
        "sender-restart": lambda: (rng.randrange(1000), milliseconds(400)),
        # So many microseconds behind the first write of a commit, or at any moment; down for so long; and
        # killed again after so long a start, or not.
        "server-kill": lambda: (rng.choice((-1, milliseconds(1000), milliseconds(5000))),
                                rng.choice((0, 0, 0, milliseconds(500))),
                                rng.choice((-1, -1, rng.randrange(40)))),
        "server-restart": lambda: (rng.choice((0, milliseconds(300))),),
        "server-stop": lambda: (milliseconds(1200),),
        "server-reload": lambda: (rng.choice(("help", "label", "metric", "metric", "broken")),
                                  rng.randrange(100)),
        "server-upgrade": lambda: (),
    }[kind]()


def draw_plan(options):
    """All disturbances of a run, in order."""
    rng = random.Random(options.seed)
    weights = options.kinds or WEIGHTS
    times = sorted(rng.uniform(0.3, options.seconds) for _ in range(options.disturbances))
    kinds = rng.choices(list(weights), list(weights.values()), k=options.disturbances)
    return [Disturbance(at, kind, draw_words(rng, kind)) for at, kind in zip(times, kinds)]


# ---- The processes ------------------------------------------------------------------------------

def free_port(rng=random.SystemRandom()):
    """A port that stays ours while nobody listens: none that the kernel gives to outgoing connections."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = rng.randrange(min(10000, low - 1000), low)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    """A rasadd that may be down by our doing."""

    def __init__(self, folder, environment):
        self.folder, self.environment = folder, environment
        self.port, self.http = free_port(), free_port()
        self.labels, self.help, self.more = '"path"', "", ""
        self.process = None
        self.lock = threading.Lock()
        self.is_down, self.downs = True, 0

    def write_conf(self, more=""):
        path = self.folder / "rasad.conf"
        text = CONF.format(port=self.port, http=self.http, folder=self.folder, labels=self.labels,
                           help=self.help, more=self.more + more)
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").rename(path)
        return path

    def launch(self):
        self.process = Process([program("rasadd"), "-c", self.write_conf()], self.folder,
                               environment=self.environment)
        self.process.expected = True

    def start(self):
        self.launch()
        for pattern in (LISTENING, SERVING):
            self.says(pattern, 0)
        with self.lock:
            self.is_down = False

    def says(self, pattern, after):
        """Waits for a line of its log, from line `after` on."""
        try:
            return self.process.wait_line(pattern, after, PATIENCE_S)
        except AssertionError as error:
            raise Found(f"of the server: {str(error)[-8000:]}") from None

    def goes_down(self):
        with self.lock:
            self.is_down, self.downs = True, self.downs + 1

    def end(self, number):
        """Ends it by a signal; what it says and how it ends is looked at."""
        self.goes_down()
        self.check_alive()
        self.process.kill(number)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Found(f"the server doesn't end on signal {number}:\n{self.tail()}") from None
        self.check_log()
        if code != (-number if number == signal.SIGKILL else 0):
            raise Found(f"the server ended with {code} on signal {number}:\n{self.tail()}")

    def wait_write(self):
        """Waits for the next write to the state on disk; a tenth of a second at most."""
        watch = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            LIBC.inotify_add_watch(watch, str(self.folder / "state").encode(), 2)  # IN_MODIFY
            select.select([watch], [], [], 0.1)
        finally:
            os.close(watch)

    def check_alive(self):
        code = self.process.popen.poll()
        if code is not None:
            raise Found(f"the server died by itself with {code}:\n{self.tail()}")

    def check_log(self):
        if REPORT.search(self.process.log):
            raise Found(f"a sanitizer's report:\n{self.process.log}")

    def tail(self):
        return "\n".join(self.process.lines[-40:])

    def request(self, path="/metrics"):
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise OSError(f"{path} is {response.status}: {body[:200]}")
            return body
        finally:
            connection.close()

    def clean_up(self):
        if self.process and self.process.popen.poll() is None:
            self.process.kill(signal.SIGKILL)
            self.process.wait(PATIENCE_S)


class Proxy:
    """The bad network."""

    def __init__(self, server, seed):
        self.port = free_port()
        self.popen = subprocess.Popen([PROGRAMS / "chaos_proxy", str(self.port), str(server.port), str(seed)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout.readline() == "ready\n", "the proxy does not come up"

    def command(self, *words):
        """Does it, and returns to how many connections it was done."""
        self.popen.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.popen.stdin.flush()
        answer = self.popen.stdout.readline().split()
        assert answer[:1] == ["ok"], f"the proxy answers {answer} to {words}"
        return int(answer[1])

    def clean_up(self):
        self.popen.stdin.close()
        self.popen.wait(PATIENCE_S)
        self.popen.stdout.close()


class Sender:
    """A process that pushes the workload of one index. `plain`: nothing malformed in it."""

    plain, survives = True, ()  # which disturbances it may be put to

    def __init__(self, chaos, index):
        self.chaos, self.index, self.name = chaos, index, f"{type(self).__name__.lower()}-{index}"
        self.folder = chaos.folder / self.name
        self.folder.mkdir()
        self.popen, self.done, self.stopped, self.starts = None, False, False, 0

    def words(self):
        """What the sender's program must know of the workload."""
        options = self.chaos.options
        steps = (0, 20, 250, 1000)  # some push evenly, some in bursts
        return [f"index={self.index}", f"messages={options.messages}", f"plain={int(self.plain)}",
                f"begin={self.chaos.begin_ns}", f"seconds={options.seconds}",
                f"step={steps[self.index % len(steps)]}"]

    def launch(self, command, **more):
        self.starts += 1
        with (self.folder / "log").open("ab") as log:
            self.popen = subprocess.Popen(
                [str(word) for word in command], stderr=log, stdout=subprocess.DEVNULL, cwd=self.folder,
                env=os.environ | {"HOME": str(self.folder), "STATE_DIRECTORY": str(self.folder),
                                  "LC_ALL": "C.UTF-8"} | self.chaos.options.agent_environment, **more)

    def check(self):
        """Notes that it is done; Found if it ended in another way."""
        if self.done or self.popen is None or self.popen.poll() is None:
            return
        if self.popen.returncode != 0:
            raise Found(f"{self.name} ended with {self.popen.returncode}:\n{self.log()}")
        self.done = True

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def end(self, number):
        """Ends the process, as nobody else does; start() goes on."""
        self.popen.send_signal(number)
        self.popen.send_signal(signal.SIGCONT)
        self.popen.wait(PATIENCE_S)
        self.check_end(number)
        self.popen, self.stopped = None, False

    def check_end(self, number):
        if self.popen.returncode not in (0, -number):
            raise Found(f"{self.name} ended with {self.popen.returncode}:\n{self.log()}")

    def progress(self):
        """Anything that changes as the sender gets on."""
        return None

    def clean_up(self):
        if self.popen and self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(PATIENCE_S)


class Reference(Sender):
    """sender.c: needs no spool, survives everything, and checks what the server says."""

    plain, survives = False, ("sender-kill", "sender-stop", "sender-restart")

    def __init__(self, chaos, index):
        super().__init__(chaos, index)
        self.stream = f"{random.Random(chaos.options.seed * 1000 + index).getrandbits(128):032x}"

    def start(self):
        self.launch([PROGRAMS / "chaos_sender", "push", *self.words(), f"port={self.chaos.proxy.port}",
                     f"name={self.name}", f"stream={self.stream}", "state=acked",
                     f"seed={self.chaos.options.seed * 1000 + self.index * 100 + self.starts}"])

    def progress(self):
        path = self.folder / "acked"
        state = path.read_bytes() if path.exists() else b""
        return struct.unpack_from("Q", state)[0] if len(state) >= 8 else 0


class Stdin(Sender):
    """rasad-agent --stdin, fed with the workload. Its input can't be had twice, so it is not killed."""

    survives, feeder = ("sender-stop",), None

    def start(self):
        self.feeder = subprocess.Popen([str(PROGRAMS / "chaos_sender"), "print", *self.words()],
                                       stdout=subprocess.PIPE)
        self.launch([program("rasad-agent"), "-s", f"127.0.0.1:{self.chaos.proxy.port}", "-n", self.name,
                     "--stdin"], stdin=self.feeder.stdout)
        self.feeder.stdout.close()

    def clean_up(self):
        super().clean_up()
        if self.feeder:
            self.feeder.kill()
            self.feeder.wait(PATIENCE_S)


class Spool(Sender):
    """pusher.c: librasad-client with a spool. Killed, it goes on behind what the spool ever took.

    A power cut leaves what a kill never does, a torn tail, so now and then the end of the spool is torn
    as well, behind what was safe.
    """

    survives = ("sender-kill", "sender-stop", "sender-restart")

    def __init__(self, chaos, index):
        super().__init__(chaos, index)
        self.rng = random.Random(chaos.options.seed * 1000 + index)

    def start(self):
        self.launch([PROGRAMS / "chaos_pusher", *self.words(), f"name={self.name}",
                     f"port={self.chaos.proxy.port}", "spool=spool", "state=synced"])

    def end(self, number):
        super().end(number)
        spool = self.folder / "spool"
        if self.rng.random() < 0.5 and tear.tear_group(spool, self.rng, self.message):
            self.chaos.counts["torn group"] += 1
        elif self.rng.random() < 0.5:
            tear.tear_garbage(spool, self.rng)
            self.chaos.counts["torn tail"] += 1

    def message(self, k):
        """What pusher.c pushes as number k."""
        if k > self.chaos.options.messages:
            return None
        return subprocess.run([PROGRAMS / "chaos_sender", "print", f"index={self.index}", f"first={k}",
                               f"messages={k}", "plain=1"], check=True, stdout=subprocess.PIPE).stdout.rstrip(b"\n")


SENDERS = {kind.__name__.lower(): kind for kind in (Reference, Spool, Stdin)}


# ---- What is watched all the time ---------------------------------------------------------------

NEVER_FALLS = re.compile(r"(chaos_\w+(_total|_bucket|_count|_sum)|chaos_last)(\{|$)")
NEVER_CHANGES = re.compile(r"chaos_\w+_created(\{|$)")
STAYS_ZERO = re.compile(r'rasad_(agent_(forks|dropped|lost_messages)_total(\{|$)|rejected_total\{reason='
                        r'"(bad_utf8|bad_label|bad_name|too_long|mixed|plugin_crash)")')


class Poller(threading.Thread):
    """Scrapes over and over. `found` is what was wrong, or None."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.found, self.last = server, None, {}
        self.over = threading.Event()
        self.scrapes, self.failures, self.longest_s = 0, 0, 0.0

    def run(self):
        try:
            while not self.over.wait(0.03):
                self.scrape()
        except Found as found:
            self.found = found
        except Exception as error:  # a fault of ours must not pass for silence
            self.found = error

    def scrape(self):
        with self.server.lock:
            was_down, downs = self.server.is_down, self.server.downs
        began = time.monotonic()
        try:
            body = self.server.request()
        except (OSError, http.client.HTTPException) as error:
            self.failures += 1
            with self.server.lock:
                if not was_down and downs == self.server.downs:
                    raise Found(f"a scrape failed while the server was up: {error!r}") from None
            return
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.scrapes += 1
        if self.scrapes % 25 == 1:
            try:
                exposition.parse(body)
            except ValueError as error:
                raise Found(f"a malformed scrape: {error}") from None
        self.compare(body.decode())

    def compare(self, text):
        fresh = {}
        for line in text.split("\n"):
            if not line.startswith(("chaos_", "rasad_agent_", "rasad_rejected_")):
                continue
            series, _, value = line.rpartition(" ")
            if NEVER_FALLS.match(series):
                fresh[series] = number = float(value)
                if number < self.last.get(series, 0):
                    raise Found(f"{series} fell from {self.last[series]:.0f} to {number:.0f}")
            elif NEVER_CHANGES.match(series):
                fresh[series] = value
                if self.last.get(series, value) != value:
                    raise Found(f"{series} went from {self.last[series]} to {value}")
            elif float(value) != 0 and STAYS_ZERO.match(series):
                raise Found(f"{series} is {value}")
        gone = self.last.keys() - fresh.keys()
        if gone:
            raise Found(f"{len(gone)} series vanished, such as {min(gone)}")
        self.last = fresh

    def stop(self):
        self.over.set()
        self.join(PATIENCE_S)
        if self.found:
            raise self.found


# ---- What must be true in the end ---------------------------------------------------------------

def expected(sender, messages):
    """What the sender's messages add up to, as sender.c says."""
    output = subprocess.run([PROGRAMS / "chaos_sender", "expect", f"index={sender.index}",
                             f"messages={messages}", f"plain={int(sender.plain)}"],
                            check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


def expected_series(sender, totals):
    """The same as series of a scrape: (name, labels) → value."""
    def key(name, **labels):
        return name, frozenset({"agent": sender.name, **labels}.items())

    series = {key("chaos_pushes_total"): totals["pushes"], key("chaos_letters_total"): totals["letters"],
              key("chaos_sizes_sum"): totals["sizes_sum"], key("chaos_sizes_count"): totals["sizes"],
              key("chaos_last"): totals["last"], key("chaos_level"): totals["level"]}
    series |= {key("chaos_sizes_bucket", le=le): count for le, count in totals["buckets"].items()}
    series |= {key("chaos_paths_total", path=path): sum_ for path, sum_ in totals["paths"].items()}
    return series


def differences(scrape, series):
    """What of the plugins' families is not as it must be, as lines."""
    shown = {key: value for key, value in scrape.values.items()
             if key[0].startswith("chaos_") and not key[0].endswith("_created")}
    return [f"{name}{dict(labels)} is {shown.get((name, labels))}, must be {series.get((name, labels))}"
            for name, labels in sorted(series.keys() | shown.keys(), key=repr)
            if shown.get((name, labels)) != series.get((name, labels))]


# ---- The run ------------------------------------------------------------------------------------

class Chaos:
    def __init__(self, folder, options):
        self.folder, self.options = Path(folder), options
        self.plan = draw_plan(options)
        self.later = []  # what must be undone, and when: (steady time, number, function)
        self.numbers = itertools.count()
        self.counts = collections.Counter()
        self.begin_ns = 0
        self.server = self.proxy = self.poller = None
        self.senders = []

    def run(self):
        try:
            self.set_up()
            for disturbance in self.plan:
                self.wait_until(self.begin_ns / 1e9 + disturbance.at_s)
                self.disturb(disturbance)
            self.settle()
            self.finish()
        finally:
            self.clean_up()

    def set_up(self):
        self.begin_s = time.monotonic()
        self.server = Server(self.folder, self.options.environment)
        self.server.start()
        self.proxy = Proxy(self.server, self.options.seed)
        self.poller = Poller(self.server)
        self.begin_ns = time.monotonic_ns()
        index = itertools.count(1)
        for kind, count in self.options.senders.items():
            self.senders += [SENDERS[kind](self, next(index)) for _ in range(count)]
        for sender in self.senders:
            sender.start()
        self.poller.start()

    def clean_up(self):
        for part in (*self.senders, self.proxy, self.server):
            if part:
                part.clean_up()
        if self.poller and self.poller.is_alive():
            self.poller.over.set()
            self.poller.join(PATIENCE_S)

    # Time.

    def wait_until(self, end_s):
        """Lets time pass, undoes what is due, and looks after everybody."""
        while True:
            self.check()
            now_s = time.monotonic()
            if self.later and self.later[0][0] <= now_s:
                heapq.heappop(self.later)[2]()
                continue
            if now_s >= end_s:
                return
            next_s = min(end_s, self.later[0][0]) if self.later else end_s
            time.sleep(min(0.05, max(0, next_s - now_s)))

    def after(self, milliseconds, action):
        heapq.heappush(self.later, (time.monotonic() + milliseconds / 1000, next(self.numbers), action))

    def check(self):
        if self.poller.found:
            raise self.poller.found
        for sender in self.senders:
            sender.check()
        if not self.server.is_down:
            self.server.check_alive()

    # Disturbances.

    def disturb(self, disturbance):
        kind, words = disturbance.kind, disturbance.words
        hit = getattr(self, kind.replace("-", "_"), None)
        done = hit(*words) if hit else self.proxy.command(kind, *words)
        self.counts[kind if done != 0 else f"({kind})"] += 1  # in brackets: there was nobody to do it to
        self.options.log(f"{disturbance}" + ("" if done != 0 else "  (nobody)"))

    def victim(self, number, kind):
        able = [s for s in self.senders if kind in s.survives and s.popen and not s.stopped and not s.done]
        return able[number % len(able)] if able else None

    def sender_end(self, number, kind, sig, down_ms):
        sender = self.victim(number, kind)
        if sender is None:
            return 0
        sender.end(sig)
        self.after(down_ms, sender.start)
        return 1

    def sender_kill(self, number, down_ms):
        return self.sender_end(number, "sender-kill", signal.SIGKILL, down_ms)

    def sender_restart(self, number, down_ms):
        return self.sender_end(number, "sender-restart", signal.SIGTERM, down_ms)

    def sender_stop(self, number, stop_ms):
        sender = self.victim(number, "sender-stop")
        if sender is None:
            return 0
        sender.popen.send_signal(signal.SIGSTOP)
        sender.stopped, stopped = True, sender.popen

        def go_on():
            if sender.popen is stopped:
                stopped.send_signal(signal.SIGCONT)
                sender.stopped = False
        self.after(stop_ms, go_on)
        return 1

    def server_kill(self, behind_us, down_ms, again_ms):
        if behind_us >= 0:
            self.server.wait_write()
            end_s = time.monotonic() + behind_us / 1e6
            while time.monotonic() < end_s:  # a sleep would be too coarse
                pass
        self.server.end(signal.SIGKILL)
        time.sleep(down_ms / 1000)
        if again_ms >= 0:
            self.server.launch()
            time.sleep(again_ms / 1000)
            self.server.end(signal.SIGKILL)
        self.server.start()

    def server_restart(self, down_ms):
        self.server.end(signal.SIGTERM)
        time.sleep(down_ms / 1000)
        self.server.start()

    def server_stop(self, stop_ms):
        process = self.server.process
        process.kill(signal.SIGSTOP)
        time.sleep(stop_ms / 1000)  # here, so that nothing else is done to a server that stands
        process.kill(signal.SIGCONT)

    def server_reload(self, what, number):
        server = self.server
        seen, broken = len(server.process.lines), ""
        if what == "help":
            server.help = f"help {number}"
        elif what == "label":
            server.labels = '"path"' if "extra" in server.labels else '"path", "extra"'
        elif what == "metric":
            server.more = "" if server.more else f'metric "spare_{number}" {{ plugin = "counter" }}'
        else:
            broken = 'metric "spare" { plugin = "counter"  misspelt = 1 }'
        server.write_conf(broken)
        server.process.kill(signal.SIGHUP)
        word = server.says(r"(info reloaded|error reload failed)", seen)[1]
        if (word == "info reloaded") == bool(broken):
            raise Found(f"after a reload with {what}: {word}\n{server.tail()}")

    def server_upgrade(self):
        """Another program in the same process: its id stays, and no scrape may fail."""
        seen = len(self.server.process.lines)
        self.server.write_conf()  # a reload may have left a broken one
        self.server.process.kill(signal.SIGUSR2)
        word = self.server.says(r"(info upgraded|error upgrade \w+)", seen)[1]
        if word != "info upgraded":
            raise Found(f"{word}\n{self.server.tail()}")

    # The end.

    def settle(self):
        """Nothing is in the way any more, so all must get on and come to an end."""
        while self.later:
            self.wait_until(self.later[0][0])
        self.proxy.command("heal")
        seen, since_s = None, time.monotonic()
        while not all(sender.done for sender in self.senders):
            self.wait_until(time.monotonic() + 0.1)
            news = [sender.progress() for sender in self.senders] + [
                value for series, value in self.poller.last.items() if series.startswith("chaos_last")]
            if news != seen:
                seen, since_s = news, time.monotonic()
            if time.monotonic() - since_s > PATIENCE_S:
                waiting = {s.name: s.progress() for s in self.senders if not s.done}
                raise Found(f"no progress for {PATIENCE_S} s, with these messages acknowledged of "
                            f"{self.options.messages}: {waiting}\n{self.server.tail()}")

    def finish(self):
        totals = {sender: expected(sender, self.options.messages) for sender in self.senders}
        series = {}
        for sender in self.senders:
            series |= expected_series(sender, totals[sender])
        self.compare(series, "in the end")
        self.check_streams(totals)
        for number, kind in ((signal.SIGTERM, "server-restart"), (signal.SIGKILL, "server-kill")):
            if kind in (self.options.kinds or WEIGHTS):
                self.server.end(number)
                self.server.start()
                self.compare(series, f"after one more {kind}")
                self.check_streams(totals)
        self.poller.stop()
        self.server.end(signal.SIGTERM)

    def compare(self, series, when):
        """All is acknowledged, so it is committed, and what is shown is at most 5 s old."""
        end_s = time.monotonic() + 15
        while True:
            wrong = differences(exposition.parse(self.server.request()), series)
            if not wrong:
                return
            if time.monotonic() > end_s:
                raise Found(f"{when} {len(wrong)} of {len(series)} series are wrong:\n" + "\n".join(wrong[:20]))
            self.check()
            time.sleep(0.05)

    def check_streams(self, totals):
        """What the server says to a hello of each sender whose stream we know."""
        for sender in self.senders:
            if not hasattr(sender, "stream"):
                continue
            number = self.options.messages
            wants = {"applied": number, "committed": number, "chain": totals[sender]["chain"]}
            with Client(self.server) as client:
                got = client.hello(sender.name, sender.stream)
            if got != wants:
                raise Found(f"{sender.name} is welcomed with {got}, must be {wants}")

    def report(self):
        """What happened, as a line or two."""
        took_s = time.monotonic() - self.begin_s
        done = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items()))
        return (f"{len(self.senders)} senders, {self.options.messages} messages each, {took_s:.0f} s; {done}; "
                f"{self.poller.scrapes} scrapes, {self.poller.failures} of them while it was down, "
                f"the longest took {self.poller.longest_s * 1000:.0f} ms")
