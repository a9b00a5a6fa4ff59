"""The vectors of v2-packets.json against docs/protocol-v2.md sections 3 and 4."""
import dataclasses

import frames
import keys
import packets
from fields import Fields, Mismatch, expect
from feedback import gaps_of
from vectors_handshake import one_bit_flipped
from wishes import PathTerms

CIPHER_NUMBERS = {"AES-256-GCM": 1, "ChaCha20-Poly1305": 2}
FRAME_CLASSES = {
    "PADDING": frames.Padding, "DATA": frames.Data, "PING": frames.Ping, "FEEDBACK": frames.Feedback,
    "PATH_CHALLENGE": frames.PathChallenge, "PATH_RESPONSE": frames.PathResponse,
    "PATH_STATUS": frames.PathStatus, "MTU_PROBE": frames.MtuProbe, "MTU_ACK": frames.MtuAck,
    "SKIP": frames.Skip, "SETTINGS": frames.Settings, "ACK": frames.Ack, "CLOSE": frames.Close,
    "TERMS": frames.Terms, "skippable": frames.Skippable,
}
HEX_FIELDS = ("packet", "token", "content")
PING = frames.Ping().encode()


def check_packet(vector, counts):
    cipher = CIPHER_NUMBERS[vector.take("cipher")]
    sealer = packets.Sealer(cipher, keys.direction_keys(vector.bytes("secret")))
    number, body = vector.take("number"), vector.bytes("body")
    header = packets.Header(
        vector.take("clear"), vector.take("path"), vector.take("receiver"), number % packets.NUMBER_SPACE)
    datagram = vector.bytes("datagram")
    expect(vector.name, "header", header.encode(), vector.bytes("header"))
    expect(vector.name, "datagram", sealer.seal(header, number, body), datagram)
    expect(vector.name, "what it opens to", sealer.open(datagram, number), packets.Opened(header, number, body))
    check_restoration(vector, sealer, datagram, number)
    expect(vector.name, "the body is read to its end", frames.decode_body(body)[1], True)
    counts["derived values"] += 3
    for flipped in one_bit_flipped(datagram):
        refuse(vector, sealer, flipped, number)
        counts["bits flipped"] += 1
    for length in range(len(datagram)):
        refuse(vector, sealer, datagram[:length], number)
        counts["datagrams cut short"] += 1


def refuse(vector, sealer, datagram, number):
    if sealer.open(datagram, number) is not None:
        raise Mismatch(f"{vector.name}: datagram: {datagram.hex()} opens, too")


def check_restoration(vector, sealer, datagram, number):
    """[S3]: opens exactly when it is the nearest of all numbers with its low 32 bits."""
    space, half = packets.NUMBER_SPACE, packets.NUMBER_SPACE // 2
    same_low_bits = [n for n in range(number - 2 * space, number + 3 * space, space) if 0 <= n < packets.NUMBER_LIMIT]
    for expected in (number + 1, number - half + 1, number + half - 1, number - half - 1, number + half + 1):
        if 0 <= expected <= packets.NUMBER_LIMIT:
            nearest = min(same_low_bits, key=lambda n, wanted=expected: abs(n - wanted))
            opens = sealer.open(datagram, expected) is not None
            expect(vector.name, f"opens when {expected} is expected", opens, nearest == number)


def check_frame(vector, counts):
    kind, fields, encoded = vector.take("frame"), vector.object("fields"), vector.bytes("encoded")
    frame = build(kind, fields)
    fields.done()
    expect(vector.name, "encoded", frame.encode(), encoded)
    expect(vector.name, "fields", frames.decode_body(encoded), ([frame], True))
    if kind == "FEEDBACK":
        counts["runs"] += len(frame.runs())
    counts["derived values"] += 2
    check_position(vector, kind, frame, encoded)
    for length in range(len(encoded)):
        check_truncation(vector, kind, frame, encoded[:length])
        counts["frames cut short"] += 1


def check_body(vector, counts):
    """[F2], [F3]: which frames are read, and whether reading goes on to the end of the body."""
    read, whole = frames.decode_body(vector.bytes("body"))
    kinds = {frame_class: kind for kind, frame_class in FRAME_CLASSES.items()}
    what = vector.take("what")
    names = [kinds[type(frame)] for frame in read if not isinstance(frame, frames.Skippable)]
    expect(vector.name, what, names, vector.take("frames"))
    expect(vector.name, what, whole, vector.take("whole"))
    counts["derived values"] += 2


def check_number(vector, counts):
    """[S3]"""
    largest, low_bits = vector.take("largest"), vector.take("low_bits")
    expected = 0 if largest is None else largest + 1
    expect(vector.name, "number", packets.restore_number(low_bits, expected), vector.take("number"))
    counts["derived values"] += 1


def build(kind, fields):
    """The frame that these fields say; the names are those of the dataclass, except FEEDBACK's runs."""
    frame_class, values = FRAME_CLASSES[kind], {}
    if kind == "FEEDBACK":
        values["first_run"], values["gaps"] = gaps_of(fields.take("received_runs"))
    if kind == "TERMS":
        values["paths"] = [build_path_terms(fields.name, path) for path in fields.take("paths")]
    for member in dataclasses.fields(frame_class):
        if member.name not in values:
            take = fields.bytes if member.name in HEX_FIELDS else fields.take
            values[member.name] = take(member.name)
    return frame_class(**values)


def build_path_terms(name, members):
    fields = Fields(name, members)
    path = PathTerms(*(fields.take(member.name) for member in dataclasses.fields(PathTerms)))
    fields.done()
    return path


def check_position(vector, kind, frame, encoded):
    """Behind a PING, and before one unless it takes the rest of the body ([F1])."""
    expect(vector.name, "behind a PING", frames.decode_body(PING + encoded), ([frames.Ping(), frame], True))
    if kind != "DATA":
        expect(vector.name, "before a PING", frames.decode_body(encoded + PING), ([frame, frames.Ping()], True))


def check_truncation(vector, kind, frame, prefix):
    """[F3]: it stops the body, and what came before counts; except where a shorter frame is one, too."""
    found, whole = frames.decode_body(PING + prefix)
    if not prefix:
        wanted = ([frames.Ping()], True)
    elif kind == "PADDING":
        wanted = ([frames.Ping(), frames.Padding(len(prefix))], True)
    elif kind == "DATA" and len(prefix) >= 7:
        wanted = ([frames.Ping(), dataclasses.replace(frame, packet=prefix[7:])], True)
    else:
        wanted = ([frames.Ping()], False)
    expect(vector.name, f"cut to {len(prefix)} bytes", (found, whole), wanted)
