"""Frames of docs/protocol-v2.md section 4, decoded and encoded: [F1] to [F3], [F15], [F19], [F20].

Every frame is a dataclass with `decode(reader)` (after the type) and `encode()`. `decode_body` reads a whole body.
"""
import struct
from dataclasses import dataclass
from typing import ClassVar, List

from feedback import Feedback
from reader import Malformed, Reader
from wishes import Settings, Terms

LANE_BITS, SEQUENCE_BITS = 10, 22


def lane_word(lane, sequence):
    return (lane << SEQUENCE_BITS | sequence).to_bytes(4, "big")


def split_lane_word(word):
    return word >> SEQUENCE_BITS, word & (1 << SEQUENCE_BITS) - 1


@dataclass
class Padding:
    """Adjoining PADDING frames, counted together (section 4.2)."""
    TYPE: ClassVar[int] = 0x00
    bytes: int = 1

    @classmethod
    def decode(cls, reader):
        count = 1
        while reader.left() and reader.data[reader.at] == cls.TYPE:
            reader.at, count = reader.at + 1, count + 1
        return cls(count)

    def encode(self):
        return b"\0" * self.bytes


@dataclass
class Data:
    """Section 4.1"""
    TYPE: ClassVar[int] = 0x01
    lane: int
    sequence: int
    send_time: int
    packet: bytes

    @classmethod
    def decode(cls, reader):
        lane, sequence = split_lane_word(reader.number(4))
        send_time = reader.number(2)
        return cls(lane, sequence, send_time, reader.bytes(reader.left()))

    def encode(self):
        return (bytes([self.TYPE]) + lane_word(self.lane, self.sequence)
                + struct.pack(">H", self.send_time) + self.packet)


@dataclass
class Ping:
    TYPE: ClassVar[int] = 0x02

    @classmethod
    def decode(cls, _reader):
        return cls()

    def encode(self):
        return bytes([self.TYPE])


@dataclass
class PathChallenge:
    """Section 4.4"""
    TYPE: ClassVar[int] = 0x04
    path: int
    token: bytes

    @classmethod
    def decode(cls, reader):
        return cls(reader.path(), reader.bytes(8))

    def encode(self):
        return bytes([self.TYPE, self.path]) + self.token


@dataclass
class PathResponse(PathChallenge):
    TYPE: ClassVar[int] = 0x05


@dataclass
class PathStatus:
    """Section 4.5"""
    TYPE: ClassVar[int] = 0x06
    path: int
    sequence: int
    status: int

    @classmethod
    def decode(cls, reader):
        frame = cls(reader.path(), reader.number(2), reader.number(1))
        if frame.status > 2:
            raise Malformed("unknown status")
        return frame

    def encode(self):
        return struct.pack(">BBHB", self.TYPE, self.path, self.sequence, self.status)


@dataclass
class MtuProbe:
    """Section 4.6; the padding behind it is Padding."""
    TYPE: ClassVar[int] = 0x07
    probe: int

    @classmethod
    def decode(cls, reader):
        return cls(reader.number(2))

    def encode(self):
        return struct.pack(">BH", self.TYPE, self.probe)


@dataclass
class MtuAck:
    TYPE: ClassVar[int] = 0x08
    path: int
    probe: int
    size: int

    @classmethod
    def decode(cls, reader):
        return cls(reader.path(), reader.number(2), reader.number(2))

    def encode(self):
        return struct.pack(">BBHH", self.TYPE, self.path, self.probe, self.size)


@dataclass
class Skip:
    """Section 4.7"""
    TYPE: ClassVar[int] = 0x09
    lane: int
    first: int
    count: int

    @classmethod
    def decode(cls, reader):
        lane, first = split_lane_word(reader.number(4))
        return cls(lane, first, reader.number(2))

    def encode(self):
        return bytes([self.TYPE]) + lane_word(self.lane, self.first) + struct.pack(">H", self.count)


@dataclass
class Ack:
    """Section 4.9"""
    TYPE: ClassVar[int] = 0x0B
    path: int
    numbers: List[int]

    @classmethod
    def decode(cls, reader):
        path, count = reader.path(), reader.number(1)
        return cls(path, [reader.number(4) for _ in range(count)])

    def encode(self):
        return bytes([self.TYPE, self.path, len(self.numbers)]) + b"".join(
            struct.pack(">I", number) for number in self.numbers)


@dataclass
class Close:
    TYPE: ClassVar[int] = 0x0C
    reason: int

    @classmethod
    def decode(cls, reader):
        return cls(reader.number(1))

    def encode(self):
        return bytes([self.TYPE, self.reason])


@dataclass
class Skippable:
    """An unknown frame of a type from 0x40 to 0x7F ([F2])."""
    type: int
    content: bytes

    @classmethod
    def decode(cls, kind, reader):
        return cls(kind, reader.bytes(reader.number(2)))

    def encode(self):
        return struct.pack(">BH", self.type, len(self.content)) + self.content


KNOWN = {frame.TYPE: frame for frame in (
    Padding, Data, Ping, Feedback, PathChallenge, PathResponse, PathStatus,
    MtuProbe, MtuAck, Skip, Settings, Ack, Close, Terms)}
ACKNOWLEDGED = (PathStatus, Settings, Terms)
ELICITING = (Data, Ping, PathStatus, Skip, Settings, Terms)


def decode_frame(reader):
    kind = reader.number(1)
    if kind in KNOWN:
        return KNOWN[kind].decode(reader)
    if 0x40 <= kind <= 0x7F:
        return Skippable.decode(kind, reader)
    raise Malformed("unknown type")


def decode_body(body):
    """(frames, whether the body was read to its end): [F2], [F3]."""
    reader, found = Reader(body), []
    while reader.left():
        try:
            frame = decode_frame(reader)
        except Malformed:
            return found, False
        if frame is not None:
            found.append(frame)
    return found, True
