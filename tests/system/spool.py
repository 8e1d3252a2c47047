# SPDX-License-Identifier: Apache-2.0
"""spool: reads an agent's spool as docs/protocol.md describes it, independent of the agent's code."""
import struct
from pathlib import Path

from wire import crc32c

HEAD = struct.Struct("<8sIIQQQQI16sHH")
ENTRY = struct.Struct("<IIQQII")
MESSAGE, SKIP, ACK = 1, 2, 3


class Segment:
    """One file: `entries` are (kind, number, origin, bytes), up to the first that is no good one."""

    def __init__(self, path):
        data = path.read_bytes()
        (magic, version, size, self.generation, self.first, self.origin, self.acked, self.chain,
         self.stream, agent, server) = HEAD.unpack_from(data)
        assert (magic, version) == (b"rasadspl", 1)
        assert crc32c(data[:size - 4]) == struct.unpack_from("<I", data, size - 4)[0]
        self.agent = data[HEAD.size:HEAD.size + agent].decode()
        self.server = data[HEAD.size + agent:HEAD.size + agent + server].decode()
        self.entries = list(self.read(data, size))

    def read(self, data, at):
        while at + ENTRY.size <= len(data):
            length, crc, number, origin, kind, _ = ENTRY.unpack_from(data, at)
            end = at + ENTRY.size + length
            if end > len(data) or crc != crc32c(self.stream + data[at:at + 4] + data[at + 8:end]):
                return
            yield kind & 0xFF, number, origin, data[at + ENTRY.size:end]
            at = end


def messages(folder):
    """All messages in the spool: {origin: bytes}. One that was moved is the same in both places."""
    found = {}
    for path in sorted(Path(folder).rglob("*.seg")):
        try:
            segment = Segment(path)
        except FileNotFoundError:  # let go of meanwhile
            continue
        for kind, _, origin, message in segment.entries:
            if kind == MESSAGE:
                assert found.setdefault(origin, message) == message, "an origin has two messages"
    return found
