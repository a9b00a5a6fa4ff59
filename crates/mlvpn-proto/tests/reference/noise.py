"""The two Noise patterns of docs/protocol-v2.md section 5: NNpsk0 and IKpsk2 with 25519, ChaChaPoly and BLAKE2s.

Written from revision 34 of the Noise specification (sections 4, 5, 7 and 9) and [H1] to [H4]. A HandshakeState here knows
these two patterns alone; the ephemeral key is given, so that a test can repeat a handshake byte for byte.
"""
import hashlib
import hmac
import struct
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NN = b"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s"
IK = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
KEY_LENGTH = 32
TAG_LENGTH = 16

# Message patterns (Noise sections 7.5 and 9.4): the tokens of messages 1 and 2.
PATTERNS = {
    NN: (("psk", "e"), ("e", "ee")),
    IK: (("e", "es", "s", "ss"), ("e", "ee", "se", "psk")),
}


class HandshakeError(Exception):
    """The handshake ends: a message is too short, not authentic, or X25519 gave zeros ([H4])."""


@lru_cache(maxsize=16)
def private_key(private):
    """Kept, since the library takes a millisecond for it, and the checks read thousands of messages with one key."""
    return X25519PrivateKey.from_private_bytes(private)


@lru_cache(maxsize=16)
def public_key(private):
    return private_key(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519(private, public):
    try:
        return private_key(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:  # the library refuses an all-zero result
        raise HandshakeError("X25519 gave zeros") from error


def blake2s(data):
    return hashlib.blake2s(data).digest()


def hmac_blake2s(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def hkdf(chaining_key, material, outputs):
    """Noise section 4.3: two or three outputs."""
    extracted = hmac_blake2s(chaining_key, material)
    results, previous = [], b""
    for counter in range(1, outputs + 1):
        previous = hmac_blake2s(extracted, previous + bytes([counter]))
        results.append(previous)
    return results


class SymmetricState:
    """Noise section 5.2, with the CipherState of section 5.1 folded in."""

    def __init__(self, protocol):
        self.hash = blake2s(protocol) if len(protocol) > 32 else protocol.ljust(32, b"\0")
        self.chaining_key = self.hash
        self.key = None
        self.nonce = 0

    def mix_hash(self, data):
        self.hash = blake2s(self.hash + data)

    def set_key(self, key):
        self.key, self.nonce = key, 0

    def mix_key(self, material):
        self.chaining_key, key = hkdf(self.chaining_key, material, 2)
        self.set_key(key)

    def mix_key_and_hash(self, material):
        self.chaining_key, to_hash, key = hkdf(self.chaining_key, material, 3)
        self.mix_hash(to_hash)
        self.set_key(key)

    def next_nonce(self):
        nonce = bytes(4) + struct.pack("<Q", self.nonce)
        self.nonce += 1
        return nonce

    def encrypt_and_hash(self, plaintext):
        sealed = ChaCha20Poly1305(self.key).encrypt(self.next_nonce(), plaintext, self.hash)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed):
        try:
            plaintext = ChaCha20Poly1305(self.key).decrypt(self.next_nonce(), sealed, self.hash)
        except InvalidTag as error:
            raise HandshakeError("not authentic") from error
        self.mix_hash(sealed)
        return plaintext

    def split(self):
        return tuple(hkdf(self.chaining_key, b"", 2))


class HandshakeState:
    """One end of one handshake. Keys are raw 32-byte strings; static keys only with IKpsk2."""

    def __init__(self, protocol, initiator, prologue, psk, ephemeral, static=None, remote_static=None):
        self.patterns = PATTERNS[protocol]
        self.initiator, self.psk = initiator, psk
        self.ephemeral, self.static = ephemeral, static
        self.remote_ephemeral, self.remote_static = None, remote_static
        self.symmetric = SymmetricState(protocol)
        self.symmetric.mix_hash(prologue)
        if protocol == IK:  # the pre-message <- s
            self.symmetric.mix_hash(remote_static if initiator else public_key(static))

    def exchange(self, token):
        """The token's first letter is the initiator's key, its second the responder's."""
        mine, theirs = token if self.initiator else reversed(token)
        private = self.ephemeral if mine == "e" else self.static
        public = self.remote_ephemeral if theirs == "e" else self.remote_static
        self.symmetric.mix_key(x25519(private, public))

    def mix_ephemeral(self, public):
        self.symmetric.mix_hash(public)
        self.symmetric.mix_key(public)  # Noise section 9.2: in patterns with a psk

    def write(self, message, payload):
        """The bytes of message 1 or 2."""
        written = b""
        for token in self.patterns[message - 1]:
            if token == "e":
                written += public_key(self.ephemeral)
                self.mix_ephemeral(public_key(self.ephemeral))
            elif token == "s":
                written += self.symmetric.encrypt_and_hash(public_key(self.static))
            elif token == "psk":
                self.symmetric.mix_key_and_hash(self.psk)
            else:
                self.exchange(token)
        return written + self.symmetric.encrypt_and_hash(payload)

    def read(self, message, data):
        """The payload of message 1 or 2; raises HandshakeError."""
        rest = data
        for token in self.patterns[message - 1]:
            if token == "e":
                self.remote_ephemeral, rest = take(rest, KEY_LENGTH)
                self.mix_ephemeral(self.remote_ephemeral)
            elif token == "s":
                sealed, rest = take(rest, KEY_LENGTH + TAG_LENGTH)
                self.remote_static = self.symmetric.decrypt_and_hash(sealed)
            elif token == "psk":
                self.symmetric.mix_key_and_hash(self.psk)
            else:
                self.exchange(token)
        return self.symmetric.decrypt_and_hash(rest)

    def split(self):
        """(secret that the initiator sends under, secret that the responder sends under)."""
        return self.symmetric.split()


def take(data, length):
    if len(data) < length:
        raise HandshakeError("too short")
    return data[:length], data[length:]
