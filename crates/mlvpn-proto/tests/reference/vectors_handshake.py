"""The vectors of v2-handshake.json against docs/protocol-v2.md section 5."""
import copy
import dataclasses

import handshake
import keys
import noise
from fields import Mismatch, expect


def check_handshake(vector, counts):
    given = vector.object("given")
    initiator, responder = credentials(given, counts)
    ephemerals = given.bytes("initiator_ephemeral_key"), given.bytes("responder_ephemeral_key")
    offer, answer = offer_and_answer(given)
    given.done()
    first = handshake.Initiator(initiator, ephemerals[0], offer)
    expect(vector.name, "initiation", first.message, vector.bytes("initiation"))
    second = handshake.Responder(responder, ephemerals[1], first.message)
    expect(vector.name, "what the initiation says", second.offer, offer)
    response, secrets = second.respond(answer)
    expect(vector.name, "response", response, vector.bytes("response"))
    expect(vector.name, "length of the response", len(response) <= len(first.message), True)
    expect(vector.name, "what the response says", first.read_response(response), (answer, secrets))
    for field, secret in (("initiator_sends_under", secrets.initiator), ("responder_sends_under", secrets.responder)):
        check_direction(vector.object(field), secret)
    cookie = check_cookie_reply(vector, first, responder)
    check_mac2(vector, first, initiator, offer, ephemerals[0], cookie)
    counts["derived values"] += 11
    check_refusals(vector, counts, (initiator, responder), ephemerals, offer, response)


def check_payload(vector, counts):
    """What is understood of it is written again, in the order of the keys and without what is unknown."""
    vector.take("about")
    known = {"initiation": handshake.IN_INITIATION, "response": handshake.IN_RESPONSE}[vector.take("of")]
    try:
        entries = handshake.decode_entries(vector.bytes("payload"), known, optional=(handshake.TIME,))
        understood = handshake.encode_entries(known_values(entries))
    except noise.HandshakeError:
        understood = None
    expect(vector.name, "understood", understood, vector.bytes("understood") if vector.has("understood") else None)


def known_values(entries):
    """[H7]: unknown ciphers and flags are ignored; a value of another meaning is not."""
    known = dict(entries)
    known[handshake.FLAGS] = bytes([known[handshake.FLAGS][0] & (handshake.CLEAR_DATA | handshake.ETHERNET)])
    if handshake.CIPHERS in known:
        known[handshake.CIPHERS] = bytes(cipher for cipher in known[handshake.CIPHERS] if cipher in (1, 2))
    elif known[handshake.CIPHER][0] not in (1, 2) or known[handshake.RESUMED][0] > 1:
        raise noise.HandshakeError("cipher or 0x06")
    return known


def credentials(given, counts):
    """Of the initiator and of the responder."""
    protocol, psk = given.take("protocol").encode(), given.bytes("preshared_key")
    if protocol == noise.NN:
        derived = keys.preshared_key(given.take("password").encode())
        expect(given.name, "preshared_key", derived, psk)
        counts["derived values"] += 1
        return handshake.Credentials(psk), handshake.Credentials(psk)
    expect(given.name, "protocol", noise.IK, protocol)
    pairs = given.object("static_keys")
    private, public = {}, {}
    for end in ("initiator", "responder"):
        private[end], public[end] = pairs.bytes(f"{end}_private"), pairs.bytes(f"{end}_public")
        expect(pairs.name, f"{end}_public", noise.public_key(private[end]), public[end])
        counts["derived values"] += 1
    pairs.done()
    return (handshake.Credentials(psk, private["initiator"], public["responder"]),
            handshake.Credentials(psk, private["responder"], public["initiator"]))


def offer_and_answer(given):
    session = given.bytes("session_id")
    offer = handshake.Offer(
        given.take("initiator_index"), given.take("path"), session, given.take("ciphers"),
        given.take("initiator_flags"), given.take("time"))
    answer = handshake.Answer(
        given.take("responder_index"), session, given.take("cipher"), given.take("responder_flags"),
        given.take("resumed"))
    return offer, answer


def check_direction(direction, secret):
    derived = keys.direction_keys(secret)
    expect(direction.name, "secret", secret, direction.bytes("secret"))
    expect(direction.name, "key", derived.key, direction.bytes("key"))
    expect(direction.name, "iv", derived.iv, direction.bytes("iv"))
    direction.done()


def check_cookie_reply(vector, first, responder):
    """The cookie and the nonce were drawn: the cookie is opened, and sealed again under the same nonce."""
    reply = vector.bytes("cookie_reply")
    cookie = first.read_cookie_reply(reply)
    expect(vector.name, "cookie_reply opens", cookie is not None and len(cookie), 16)
    again = handshake.cookie_reply(first.message, responder.own_credential, reply[8:32], cookie)
    expect(vector.name, "cookie_reply", again, reply)
    for flipped in one_bit_flipped(reply):
        if first.read_cookie_reply(flipped) is not None:
            raise Mismatch(f"{vector.name}: cookie_reply opens with a bit flipped")
    return cookie


def check_mac2(vector, first, initiator, offer, ephemeral, cookie):
    wanted = vector.bytes("initiation_with_mac2")
    again = handshake.Initiator(initiator, ephemeral, offer, cookie).message
    expect(vector.name, "initiation_with_mac2", again, wanted)
    expect(vector.name, "mac2", handshake.mac2_is_right(wanted, cookie), True)
    expect(vector.name, "mac2 of zeros", handshake.mac2_is_right(first.message, cookie), False)
    for flipped in one_bit_flipped(wanted):
        if handshake.mac2_is_right(flipped, cookie):
            raise Mismatch(f"{vector.name}: mac2 is right with a bit flipped")


def check_refusals(vector, counts, both, ephemerals, offer, response):
    """Any bit but those of mac2 flipped; and a bit of each byte under a mac1 of its own, so that Noise has to find it."""
    initiator, responder = both
    fresh = handshake.Initiator(initiator, ephemerals[0], offer)

    def receive_initiation(changed):
        handshake.Responder(responder, ephemerals[1], changed)

    def receive_response(changed):
        copy.deepcopy(fresh).read_response(changed)

    check_header(vector, initiator, ephemerals[0], offer, receive_initiation)
    for name, original, receive, receivers in (
            ("initiation", fresh.message, receive_initiation, responder),
            ("response", response, receive_response, initiator)):
        for changed in changes(original, receivers.own_credential):
            refuse(vector, name, receive, changed)
            counts["changed handshake messages refused"] += 1


def changes(original, receivers_credential):
    yield from one_bit_flipped(original, len(original) - keys.MAC_LENGTH)
    yield original[:-1]
    yield original + b"\0"
    before = original[:-handshake.MACS_LENGTH]
    for at in range(len(before)):
        changed = flip(before, at, at % 8)
        yield handshake.append_macs(changed, receivers_credential, None)


def check_header(vector, initiator, ephemeral, offer, receive):
    """[H26]: consistent in itself, but for another path than there can be, or a reserved byte."""
    for path in (16, 255):
        message = handshake.Initiator(initiator, ephemeral, dataclasses.replace(offer, path=path)).message
        refuse(vector, "initiation of an impossible path", receive, message)


def refuse(vector, name, receive, changed):
    try:
        receive(changed)
    except noise.HandshakeError:
        return
    raise Mismatch(f"{vector.name}: {name} is accepted though it was changed: {changed.hex()}")


def flip(data, at, bit):
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1:]


def one_bit_flipped(data, length=None):
    for at in range(len(data) if length is None else length):
        for bit in range(8):
            yield flip(data, at, bit)
