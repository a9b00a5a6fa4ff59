"""Sealed packets of docs/protocol-v2.md section 3: [S1] to [S8]."""
import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

import frames

HEADER_LENGTH = 9
TAG_LENGTH = 16
OVERHEAD = HEADER_LENGTH + TAG_LENGTH
NUMBER_SPACE = 1 << 32
NUMBER_LIMIT = 1 << 62
CIPHERS = {1: AESGCM, 2: ChaCha20Poly1305}


class Header(NamedTuple):
    clear: bool
    path: int
    receiver: int
    low_number: int

    def encode(self):
        first = 0x80 | self.clear << 4 | self.path
        return struct.pack(">BII", first, self.receiver, self.low_number)


class Opened(NamedTuple):
    header: Header
    number: int
    body: bytes


def read_header(datagram):
    """The header, or None ([D1], [S1])."""
    if len(datagram) <= OVERHEAD or datagram[0] & 0xE0 != 0x80:
        return None
    first, receiver, low_number = struct.unpack(">BII", datagram[:HEADER_LENGTH])
    return Header(bool(first & 0x10), first & 0x0F, receiver, low_number)


def restore_number(low, expected):
    """[S3]: the number with these low 32 bits that is nearest to the expected one (RFC 9000 section A.3)."""
    half = NUMBER_SPACE // 2
    candidate = expected & ~(NUMBER_SPACE - 1) | low
    if candidate <= expected - half and candidate < NUMBER_LIMIT - NUMBER_SPACE:
        return candidate + NUMBER_SPACE
    if candidate > expected + half and candidate >= NUMBER_SPACE:
        return candidate - NUMBER_SPACE
    return candidate


def nonce(iv, path, number):
    """[S4]"""
    return bytes(a ^ b for a, b in zip(iv, struct.pack(">IQ", path, number)))


class Sealer:
    """One direction of one epoch: seals and opens."""

    def __init__(self, cipher, direction_keys):
        self.aead = CIPHERS[cipher](direction_keys.key)
        self.iv = direction_keys.iv

    def seal(self, header, number, body):
        """[S5]"""
        first, salt = header.encode(), nonce(self.iv, header.path, number)
        if header.clear:
            return first + body + self.aead.encrypt(salt, b"", first + body)
        return first + self.aead.encrypt(salt, body, first)

    def open(self, datagram, expected):
        """What was sealed, or None ([S8]). `expected` is the number after the largest authenticated on the path."""
        header = read_header(datagram)
        if header is None:
            return None
        number = restore_number(header.low_number, expected)
        salt = nonce(self.iv, header.path, number)
        try:
            if header.clear:
                body = datagram[HEADER_LENGTH:-TAG_LENGTH]
                self.aead.decrypt(salt, datagram[-TAG_LENGTH:], datagram[:-TAG_LENGTH])
            else:
                body = self.aead.decrypt(salt, datagram[HEADER_LENGTH:], datagram[:HEADER_LENGTH])
        except InvalidTag:
            return None
        if header.clear and not holds_only_data(body):
            return None
        return Opened(header, number, body)


def holds_only_data(body):
    """[S6]: DATA takes the rest ([F1]), so that it is alone when it is first."""
    found, whole = frames.decode_body(body)
    return whole and len(found) == 1 and isinstance(found[0], frames.Data)
