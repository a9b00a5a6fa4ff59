"""SETTINGS and TERMS of docs/protocol-v2.md sections 4.8 and 4.10: what an end takes, and what its user wants ([F19], [F20])."""
import struct
from dataclasses import dataclass
from typing import ClassVar, List, Optional

from reader import Reader


@dataclass
class Settings:
    """Section 4.8; None is what was not said."""
    TYPE: ClassVar[int] = 0x0A
    max_ip_packet: Optional[int] = None
    resequencer_bytes: Optional[int] = None
    software: Optional[str] = None

    @classmethod
    def decode(cls, reader):
        content, frame = Reader(reader.bytes(reader.number(2))), cls()
        while content.left():
            key = content.number(1)
            frame.take(key, content.bytes(content.number(1)))
        return frame

    def take(self, key, value):
        """What the table does not allow is ignored."""
        if key == 1 and len(value) == 2 and int.from_bytes(value, "big") >= 1168:
            self.max_ip_packet = int.from_bytes(value, "big")
        elif key == 2 and len(value) == 4:
            self.resequencer_bytes = int.from_bytes(value, "big")
        elif key == 3 and len(value) <= 64:
            try:
                self.software = value.decode("utf-8")
            except UnicodeDecodeError:
                pass

    def encode(self):
        content = b""
        if self.max_ip_packet is not None:
            content += struct.pack(">BBH", 1, 2, self.max_ip_packet)
        if self.resequencer_bytes is not None:
            content += struct.pack(">BBI", 2, 4, self.resequencer_bytes)
        if self.software is not None:
            text = self.software.encode("utf-8")
            content += bytes([3, len(text)]) + text
        return struct.pack(">BH", self.TYPE, len(content)) + content


@dataclass
class PathTerms:
    path: int
    metered: bool
    cost_ms: int
    max_rate: Optional[int]


@dataclass
class Terms:
    """Section 4.10. A policy of None was not said."""
    TYPE: ClassVar[int] = 0x41
    POLICIES: ClassVar[tuple] = (None, "bond", "lowest-latency", "redundant", "backup")
    sequence: int
    policy: Optional[str]
    paths: List[PathTerms]

    @classmethod
    def decode(cls, reader):
        """None when the content is too short ([F20]): the frame is ignored as a whole."""
        content = Reader(reader.bytes(reader.number(2)))
        if content.left() < 3:
            return None
        sequence, policy = content.number(2), content.number(1)
        paths = []
        while content.left() >= 9:
            flags, cost, rate = content.number(1), content.number(2), content.number(6)
            paths.append(PathTerms(flags & 0x0F, bool(flags & 0x80), min(cost, 10000), rate or None))
        return cls(sequence, cls.POLICIES[policy] if policy < len(cls.POLICIES) else None, paths)

    def encode(self):
        content = struct.pack(">HB", self.sequence, self.POLICIES.index(self.policy))
        for path in self.paths:
            content += struct.pack(">BH", path.metered << 7 | path.path, path.cost_ms)
            content += (path.max_rate or 0).to_bytes(6, "big")
        return struct.pack(">BH", self.TYPE, len(content)) + content
