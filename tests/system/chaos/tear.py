# SPDX-License-Identifier: Apache-2.0
"""tear: makes an agent's spool look as a power cut may leave it, which a kill never does.

Only what was not synced yet is torn, which nobody was promised: it is written behind the end by us, as
docs/protocol.md lays it out. So an agent that opens the spool must be able to go on with nothing lost.
"""
import struct
from pathlib import Path

from wire import crc32c

HEAD = struct.Struct("<8sIIQQQQI16sHH")
ENTRY = struct.Struct("<IIQQII")
ACK, MESSAGE, FIRST = 3, 1, 1 << 31


class End:
    """How far a segment goes; `whole` if nothing but good entries is in it."""

    def __init__(self, path):
        self.path, data = path, path.read_bytes()
        (_, _, at, _, first, self.origin, _, self.chain, self.stream, _, _) = HEAD.unpack_from(data)
        self.next, self.group, start = first, 0, None
        while at + ENTRY.size <= len(data):
            length, _, number, origin, kind, chain = ENTRY.unpack_from(data, at)
            if not 1 <= kind & 0xFF <= ACK or at + ENTRY.size + length > len(data):
                break
            start, at = at, at + ENTRY.size + length
            self.group = kind >> 8 & 0x7FFFFF
            if kind & 0xFF != ACK:
                self.next, self.origin = number + 1, origin
                self.chain = crc32c(data[start + ENTRY.size:at], chain)
        self.whole = at == len(data) and (start is None or self.is_good(data, start))

    def is_good(self, data, at):
        return seal(self.stream, data[at:]) == data[at:]

    def forge(self, messages):
        """The entries of one more group with these messages."""
        chain, entries = self.chain, []
        for i, message in enumerate(messages):
            kind = MESSAGE | (self.group + 1) << 8 | (FIRST if i == 0 else 0)
            head = ENTRY.pack(len(message), 0, self.next + i, self.origin + 1 + i, kind, chain)
            entries.append(seal(self.stream, head + message))
            chain = crc32c(message, chain)
        return entries


def seal(stream, entry):
    """The entry with its right CRC."""
    return entry[:4] + struct.pack("<I", crc32c(stream + entry[:4] + entry[8:])) + entry[8:]


def ends(spool):
    """The ends of the newest segment of each journal, the one that took the newest message last."""
    newest = {path.parent: path for path in sorted(Path(spool).rglob("*.seg"))}
    return sorted((End(path) for path in newest.values()), key=lambda end: end.origin)


def append(end, data):
    with end.path.open("ab") as segment:
        segment.write(data)


def tear_garbage(spool, rng):
    """Behind each end lies something that no write has left in order."""
    for end in ends(spool):
        size = rng.randrange(1, 300)
        append(end, rng.choice((rng.randbytes(size), bytes(size), end.path.read_bytes()[-size:])))


def tear_group(spool, rng, message_of):
    """A group was being written, and some of its sectors never came. `message_of(k)` is the message that
    is taken as number k, or None behind the last. False if the spool is torn already."""
    last = ends(spool)[-1:]
    messages = [message_of(last[0].origin + i) for i in range(1, rng.randrange(3, 9))] if last else []
    if not all(messages) or not messages or not last[0].whole:
        return False
    entries = last[0].forge(messages)
    for _ in range(rng.randrange(1, 3)):
        lost = rng.randrange(len(entries))
        entries[lost] = bytes(len(entries[lost]))
    append(last[0], b"".join(entries)[:-rng.randrange(1, 40)] if rng.random() < 0.3 else b"".join(entries))
    return True
