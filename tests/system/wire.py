# SPDX-License-Identifier: Apache-2.0
"""wire: senders as strangers would write them, from the standard library and the contract alone.

A Client is one connection. Nothing here knows how the server is built; what a test must wait for
it waits for by an event of the protocol (a pong means: all before it was seen) or of the kernel
(drained() means: the server has read every byte).
"""
import fcntl
import json
import socket
import struct
import termios
import time

DEADLINE_S = 20  # for anything that should take milliseconds; sanitizers and busy machines are slow


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C = crc32c_table()


def crc32c(data, crc=0):
    """CRC-32C (RFC 3720 appendix B.4), to go on from `crc`."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def chain(messages, start=0):
    """The chain over these messages (bytes each), as the protocol writes it."""
    for message in messages:
        start = crc32c(message, start)
    return f"{start:08x}"


def counted(body):
    """A message the old way: its length padded with blanks to 64 bytes, then its bytes."""
    return str(len(body)).encode().ljust(64) + body


def until(question, what, deadline_s=DEADLINE_S):
    """Asks until the answer is true, and returns it; AssertionError with `what` if it never is."""
    end = time.monotonic() + deadline_s
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < end, f"after {deadline_s} s still not: {what}"
        time.sleep(0.01)


class CutOff(AssertionError):
    """The connection is gone instead of an answer, or within one."""


class Client:
    """One connection to a server's agent port."""

    def __init__(self, server, receive_buffer=None, source_port=0, source="127.0.0.1"):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source_port or source != "127.0.0.1":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((source, source_port))
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server_port = server.port
        self.port = self.socket.getsockname()[1]
        self.agent = f"{source}:{self.port}"  # how an unnamed sender's series are labelled
        self.received = b""
        self.pings = 0
        self.greeting = None  # what the last hello said
        self.agains = 0  # hellos that the server has asked for again

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def end(self):
        """Says that no more comes, and waits until the server has closed its side too."""
        self.socket.shutdown(socket.SHUT_WR)
        return self.rest()

    def send(self, *messages):
        """Sends bytes as they are, and anything else as a line of JSON."""
        self.socket.sendall(b"".join(
            m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages))
        return self

    def read_line(self):
        """The next line that the server says; None when it has closed the connection."""
        while b"\n" not in self.received:
            try:
                more = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                more = b""
            if not more:
                if self.received:
                    raise CutOff(f"the last line was cut: {self.received!r}")
                return None
            self.received += more
        line, self.received = self.received.split(b"\n", 1)
        return line

    def read(self):
        """The next reply: one compact object on a line."""
        line = self.read_line()
        if line is None:
            return None
        reply = json.loads(line)
        assert isinstance(reply, dict) and len(reply) == 1, f"no reply of ours: {line!r}"
        return reply

    def rest(self):
        """All replies up to the end of the connection, which must come."""
        return list(iter(self.read, None))

    def ping(self):
        """Waits until the server has seen all that was sent; returns the replies that came before."""
        self.pings += 1
        mark = f"mark {self.pings}"
        self.send({"@ping": mark})
        before = []
        while True:
            reply = self.read()
            if reply is None:
                raise CutOff(f"closed instead of a pong; before that: {before}")
            if reply == {"@pong": mark}:
                return before
            before.append(reply)

    def hello(self, agent, stream=None, **more):
        """Opens a stream; returns what the welcome says. Acks of before are passed over."""
        self.greeting = {"agent": agent} | ({"stream": stream} if stream else {}) | more
        self.send({"@hello": self.greeting})
        return self.wait_welcome()

    def hello_again(self, digits, **more):
        """Answers {"@again": DIGITS}; returns what the welcome says."""
        self.agains += 1
        self.send(b"\n", {"@hello": self.greeting | more | {"again": digits}})
        return self.wait_welcome()

    def wait_welcome(self):
        while True:
            reply = self.read()
            if reply is None:
                raise CutOff("closed instead of a welcome")
            if "@again" in reply:  # yet another process
                self.agains += 1
                self.send(b"\n", {"@hello": self.greeting | {"again": reply["@again"]}})
            elif "@ack" not in reply:
                break
        assert "@welcome" in reply, f"no welcome but {reply}"
        return reply["@welcome"]

    def wait_ack(self, number):
        """Reads on until the server has acknowledged so many messages."""
        last = -1
        while last < number:
            reply = self.read()
            assert reply is not None and "@ack" in reply, f"no ack but {reply}"
            assert reply["@ack"] >= last, "acks went back"
            last = reply["@ack"]
        assert last == number, f"{last} acknowledged, of {number} sent"

    def drained(self):
        """Waits until the server has read every byte (so the next send is another read)."""
        until(lambda: self.unread() == 0, "the server has read what was sent")
        return self

    def arrived(self):
        """Waits until every byte lies in the server's kernel, read or not."""
        until(lambda: self.unsent() == 0, "what was sent has arrived")
        return self

    def unsent(self):
        return struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]

    def unread(self):
        """Bytes that still lie between us and the server's read()."""
        local, remote = (f":{port:04X}" for port in (self.server_port, self.port))
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if fields[1].endswith(local) and fields[2].endswith(remote):
                    return self.unsent() + int(fields[4].split(":")[1], 16)
        raise AssertionError("the server's side of the connection is gone")
