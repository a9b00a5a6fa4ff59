"""Initiation, response and cookie reply of docs/protocol-v2.md sections 5.2, 5.3 and 5.5.

[H5] to [H9] and [H17] to [H20]. Credentials are described by `Credentials`; what may be drawn at random (ephemeral keys,
indices, session id, nonce) is given by the caller.
"""
import struct
from dataclasses import dataclass, field
from typing import Optional

import keys
import noise

INITIATION, RESPONSE, COOKIE_REPLY = 0xC1, 0xC2, 0xC3
INITIATION_LENGTH = 1200
PROLOGUE = b"mlvpn v2\0"
MACS_LENGTH = 2 * keys.MAC_LENGTH
CLEAR_DATA, ETHERNET = 1, 2

SESSION, CIPHERS, CIPHER, FLAGS, TIME, RESUMED, HEADER = range(1, 8)
LENGTHS = {SESSION: 8, CIPHER: 1, FLAGS: 1, TIME: 8, RESUMED: 1, HEADER: 12}
IN_INITIATION = (SESSION, CIPHERS, FLAGS, TIME)
IN_RESPONSE = (SESSION, CIPHER, FLAGS, RESUMED, HEADER)
MAX_PATH = 15


@dataclass
class Credentials:
    """One end's. With a password `static` and `remote_static` are None and `psk` comes from it."""
    psk: bytes
    static: Optional[bytes] = None
    remote_static: Optional[bytes] = None

    @property
    def kind(self):
        return 0 if self.static is None else 1

    @property
    def protocol(self):
        return noise.IK if self.kind else noise.NN

    @property
    def own_credential(self):
        """X of [H17] of messages to this end."""
        return noise.public_key(self.static) if self.kind else self.psk

    @property
    def remote_credential(self):
        return self.remote_static if self.kind else self.psk


@dataclass
class Offer:
    """What an initiation says."""
    index: int
    path: int
    session: bytes
    ciphers: list
    flags: int
    time: Optional[int]


@dataclass
class Answer:
    """What a response says."""
    index: int
    session: bytes
    cipher: int
    flags: int
    resumed: bool


@dataclass
class Secrets:
    initiator: bytes
    responder: bytes
    initiator_keys: keys.DirectionKeys = field(init=False)
    responder_keys: keys.DirectionKeys = field(init=False)

    def __post_init__(self):
        self.initiator_keys = keys.direction_keys(self.initiator)
        self.responder_keys = keys.direction_keys(self.responder)


def encode_entries(entries):
    """Section 5.3: ascending order of the keys."""
    return b"".join(bytes([key, len(value)]) + value for key, value in sorted(entries.items()))


def decode_entries(payload, known, optional=()):
    """The entries that are known in this message; [H7]: what is missing or malformed ends the handshake."""
    entries, previous, rest = {}, 0, payload
    while rest and rest[0] != 0:
        if len(rest) < 2 or len(rest) < 2 + rest[1] or rest[0] <= previous:
            raise noise.HandshakeError("malformed payload")
        previous = rest[0]
        entries[previous], rest = rest[2:2 + rest[1]], rest[2 + rest[1]:]
    if any(rest):
        raise noise.HandshakeError("padding that is not zero")
    entries = {key: value for key, value in entries.items() if key in known}
    for key in known:
        if key not in entries:
            if key in optional:
                continue
            raise noise.HandshakeError(f"key {key} is missing")
        if len(entries[key]) != LENGTHS.get(key, len(entries[key])):
            raise noise.HandshakeError(f"key {key} has another length")
    return entries


def append_macs(before, receivers_credential, cookie):
    message = before + keys.mac1(receivers_credential, before)
    return message + (keys.mac2(cookie, message) if cookie else bytes(keys.MAC_LENGTH))


def mac1_is_right(message, own_credential):
    """[H18]"""
    before, macs = message[:-MACS_LENGTH], message[-MACS_LENGTH:]
    return keys.mac1(own_credential, before) == macs[:keys.MAC_LENGTH]


def mac2_is_right(message, cookie):
    return keys.mac2(cookie, message[:-keys.MAC_LENGTH]) == message[-keys.MAC_LENGTH:]


class Initiator:
    """One initiation, and what its response tells."""

    def __init__(self, credentials, ephemeral, offer, cookie=None):
        self.credentials, self.offer = credentials, offer
        header = struct.pack(">BBBBI", INITIATION, credentials.kind, offer.path, 0, offer.index)
        self.noise = noise.HandshakeState(
            credentials.protocol, True, PROLOGUE + header, credentials.psk, ephemeral,
            credentials.static, credentials.remote_static)
        before = header + self.noise.write(1, self.payload())
        self.message = append_macs(before, credentials.remote_credential, cookie)

    def payload(self):
        """[H6]: padded to make the initiation 1,200 bytes long."""
        offer = self.offer
        entries = {SESSION: offer.session, CIPHERS: bytes(offer.ciphers), FLAGS: bytes([offer.flags])}
        if offer.time is not None:
            entries[TIME] = struct.pack(">Q", offer.time)
        overhead = noise.KEY_LENGTH + noise.TAG_LENGTH
        if self.credentials.kind:
            overhead += noise.KEY_LENGTH + noise.TAG_LENGTH
        return encode_entries(entries).ljust(INITIATION_LENGTH - 8 - overhead - MACS_LENGTH, b"\0")

    def read_response(self, message):
        """(Answer, Secrets); raises HandshakeError."""
        if len(message) < 12 + MACS_LENGTH or len(message) > len(self.message):
            raise noise.HandshakeError("length")
        if not mac1_is_right(message, self.credentials.own_credential):
            raise noise.HandshakeError("mac1")
        header = message[:12]
        kind, credentials, path, reserved, index, own_index = struct.unpack(">BBBBII", header)
        if (kind, credentials, path, reserved, own_index) != (
                RESPONSE, self.credentials.kind, self.offer.path, 0, self.offer.index):
            raise noise.HandshakeError("header")
        entries = decode_entries(self.noise.read(2, message[12:-MACS_LENGTH]), IN_RESPONSE)
        self.check_answer(entries, header)
        answer = Answer(index, entries[SESSION], entries[CIPHER][0], entries[FLAGS][0], entries[RESUMED] == b"\1")
        return answer, Secrets(*self.noise.split())

    def check_answer(self, entries, header):
        """[H5], [H7], [H9]"""
        if entries[HEADER] != header or entries[SESSION] != self.offer.session:
            raise noise.HandshakeError("header or session")
        if entries[CIPHER][0] not in self.offer.ciphers or entries[RESUMED][0] > 1:
            raise noise.HandshakeError("cipher or 0x06")
        if (entries[FLAGS][0] ^ self.offer.flags) & ETHERNET:
            raise noise.HandshakeError("Ethernet frames")

    def read_cookie_reply(self, message):
        """The cookie, or None."""
        if len(message) != 64 or message[:4] != bytes([COOKIE_REPLY, 0, 0, 0]) or message[4:8] != self.message[4:8]:
            return None
        mac1 = self.message[-MACS_LENGTH:-keys.MAC_LENGTH]
        return keys.open_cookie(self.credentials.remote_credential, message[8:32], message[32:], mac1)


class Responder:
    """One initiation received, and the answer to it."""

    def __init__(self, credentials, ephemeral, message):
        if len(message) != INITIATION_LENGTH or message[0] != INITIATION or message[1] != credentials.kind:
            raise noise.HandshakeError("header")
        if message[2] > MAX_PATH or message[3] != 0:
            raise noise.HandshakeError("path or reserved byte ([H26])")
        if not mac1_is_right(message, credentials.own_credential):
            raise noise.HandshakeError("mac1")
        self.credentials = credentials
        self.noise = noise.HandshakeState(
            credentials.protocol, False, PROLOGUE + message[:8], credentials.psk, ephemeral, credentials.static)
        optional = () if credentials.kind else (TIME,)
        entries = decode_entries(self.noise.read(1, message[8:-MACS_LENGTH]), IN_INITIATION, optional)
        time = struct.unpack(">Q", entries[TIME])[0] if TIME in entries else None
        index = struct.unpack(">I", message[4:8])[0]
        self.offer = Offer(index, message[2], entries[SESSION], list(entries[CIPHERS]), entries[FLAGS][0], time)
        if credentials.kind and self.noise.remote_static != credentials.remote_static:
            raise noise.HandshakeError("unknown peer")

    def respond(self, answer):
        """(response, Secrets)"""
        header = struct.pack(
            ">BBBBII", RESPONSE, self.credentials.kind, self.offer.path, 0, answer.index, self.offer.index)
        payload = encode_entries({
            SESSION: answer.session, CIPHER: bytes([answer.cipher]), FLAGS: bytes([answer.flags]),
            RESUMED: bytes([answer.resumed]), HEADER: header})
        before = header + self.noise.write(2, payload)
        return append_macs(before, self.credentials.remote_credential, None), Secrets(*self.noise.split())


def cookie_reply(message, own_credential, nonce, cookie):
    """Section 5.5: the answer under load to an initiation."""
    mac1 = message[-MACS_LENGTH:-keys.MAC_LENGTH]
    sealed = keys.seal_cookie(own_credential, nonce, cookie, mac1)
    return bytes([COOKIE_REPLY, 0, 0, 0]) + message[4:8] + nonce + sealed
