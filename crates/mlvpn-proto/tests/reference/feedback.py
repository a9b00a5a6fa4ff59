"""FEEDBACK of docs/protocol-v2.md section 4.3: the frame, and its runs ([F15])."""
import struct
from dataclasses import dataclass, field
from typing import ClassVar, List, Optional, Tuple

from reader import Malformed

MAX_GAPS = 20


@dataclass
class Feedback:
    """Section 4.3. `gaps` are pairs (missing, received); `lowest_difference` is None with bit 6."""
    TYPE: ClassVar[int] = 0x03
    path: int
    silent: bool
    largest: int
    received_at: int
    largest_sent: int
    packets: int
    bytes: int
    lowest_difference: Optional[int]
    ecn_ce: int
    held: int
    first_run: int
    gaps: List[Tuple[int, int]] = field(default_factory=list)

    @classmethod
    def decode(cls, reader):
        flags = reader.number(1)
        numbers = [reader.number(size) for size in (4, 4, 4, 4, 6, 2, 3, 2, 2, 1)]
        largest, received_at, sent, packets, count, lowest, ecn_ce, held, first_run, gap_count = numbers
        gaps = [(reader.number(2), reader.number(2)) for _ in range(min(gap_count, MAX_GAPS))]
        if gap_count > MAX_GAPS or 0 in [first_run, *(part for gap in gaps for part in gap)]:
            raise Malformed("run of 0, or too many gaps")
        lowest = None if flags & 0x40 else lowest
        return cls(flags & 0x0F, bool(flags & 0x80), largest, received_at, sent, packets, count,
                   lowest, ecn_ce, held, first_run, gaps)

    def encode(self):
        flags = self.silent << 7 | (self.lowest_difference is None) << 6 | self.path
        values = ((flags, 1), (self.largest, 4), (self.received_at, 4), (self.largest_sent, 4),
                  (self.packets, 4), (self.bytes, 6), (self.lowest_difference or 0, 2), (self.ecn_ce, 3),
                  (self.held, 2), (self.first_run, 2), (len(self.gaps), 1))
        fixed = b"".join(value.to_bytes(size, "big") for value, size in values)
        return bytes([self.TYPE]) + fixed + b"".join(struct.pack(">HH", *gap) for gap in self.gaps)

    def runs(self):
        """[F15]: pairs (lowest, highest) from the latest to the earliest, relative to `largest` as it is."""
        high, low = self.largest, self.largest - self.first_run + 1
        found = [(low, high)]
        for missing, received in self.gaps:
            high = low - 1 - missing
            low = high - received + 1
            found.append((low, high))
        return found


def gaps_of(runs):
    """The first run and the gaps that say the same as these runs: the inverse of Feedback.runs."""
    pairs = zip(runs, runs[1:])
    gaps = [(later[0] - 1 - earlier[1], earlier[1] - earlier[0] + 1) for later, earlier in pairs]
    return runs[0][1] - runs[0][0] + 1, gaps
