"""Keys of docs/protocol-v2.md: the pre-shared key [H2], the keys of an epoch (section 5.4), mac1, mac2 and cookies (5.5).

XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) is built of HChaCha20, written out here, and the library's ChaCha20-Poly1305.
"""
import hashlib
import hmac
import struct
from typing import NamedTuple

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

MAC_LENGTH = 16


def preshared_key(password):
    """[H2]"""
    return hash_secret_raw(
        secret=password, salt=b"mlvpn v2 password", time_cost=2, memory_cost=19456,
        parallelism=1, hash_len=32, type=Type.ID)


def hkdf_expand(secret, info, length):
    """RFC 5869 section 2.3 with SHA-256."""
    output, previous, counter = b"", b"", 1
    while len(output) < length:
        previous = hmac.new(secret, previous + info + bytes([counter]), hashlib.sha256).digest()
        output, counter = output + previous, counter + 1
    return output[:length]


class DirectionKeys(NamedTuple):
    """What one end seals under in one epoch."""
    key: bytes
    iv: bytes


def direction_keys(secret):
    """Section 5.4"""
    return DirectionKeys(hkdf_expand(secret, b"mlvpn v2 key", 32), hkdf_expand(secret, b"mlvpn v2 iv", 12))


def keyed_blake2s(key, data):
    """[H17]: BLAKE2s with a key, 16 bytes of output."""
    return hashlib.blake2s(data, key=key, digest_size=MAC_LENGTH).digest()


def derived_key(label, credential):
    return hashlib.blake2s(label + credential).digest()


def mac1(receivers_credential, before):
    """[H17]: the credential is the receiver's static public key, or the pre-shared key of the password."""
    return keyed_blake2s(derived_key(b"mlvpn v2 mac1", receivers_credential), before)


def mac2(cookie, before):
    """[H20]: over all that is before mac2, mac1 too."""
    return keyed_blake2s(cookie, before)


def seal_cookie(receivers_credential, nonce, cookie, message_mac1):
    """Section 5.5: the sealed cookie and its tag."""
    return xchacha(receivers_credential, nonce).encrypt(short_nonce(nonce), cookie, message_mac1)


def open_cookie(receivers_credential, nonce, sealed, message_mac1):
    """The cookie, or None."""
    try:
        return xchacha(receivers_credential, nonce).decrypt(short_nonce(nonce), sealed, message_mac1)
    except InvalidTag:
        return None


def xchacha(receivers_credential, nonce):
    key = derived_key(b"mlvpn v2 cookie", receivers_credential)
    return ChaCha20Poly1305(hchacha20(key, nonce[:16]))


def short_nonce(nonce):
    return bytes(4) + nonce[16:]


def hchacha20(key, nonce):
    """draft-irtf-cfrg-xchacha section 2.2"""
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))
    for _ in range(10):
        for column in range(4):
            quarter_round(state, column, 4 + column, 8 + column, 12 + column)
        for diagonal in range(4):
            quarter_round(
                state, diagonal, 4 + (diagonal + 1) % 4, 8 + (diagonal + 2) % 4, 12 + (diagonal + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])


def quarter_round(state, a, b, c, d):
    """RFC 8439 section 2.1"""
    for target, added, turned, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[target] = (state[target] + state[added]) & 0xFFFFFFFF
        state[turned] = rotate(state[turned] ^ state[target], bits)


def rotate(word, bits):
    return (word << bits | word >> 32 - bits) & 0xFFFFFFFF
