"""ICMP echo in IPv4 (RFC 791, RFC 792), built by hand."""
import socket
import struct

ICMP, ECHO_REPLY, ECHO_REQUEST = 1, 0, 8


def checksum(data):
    """RFC 1071"""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def with_checksum(data, at):
    return data[:at] + struct.pack(">H", checksum(data)) + data[at + 2:]


def echo_request(source, destination, identifier, sequence, size=56):
    echo = with_checksum(struct.pack(">BBHHH", ECHO_REQUEST, 0, 0, identifier, sequence) + bytes(size), 2)
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(echo), sequence, 0x4000, 64, ICMP, 0,
        socket.inet_aton(source), socket.inet_aton(destination))
    return with_checksum(header, 10) + echo


def echo_reply(packet, source, destination, identifier):
    """The sequence number, when this is a reply from `source` to a request with that identifier; else None."""
    if len(packet) < 28 or packet[0] != 0x45 or packet[9] != ICMP:
        return None
    if packet[12:20] != socket.inet_aton(source) + socket.inet_aton(destination):
        return None
    kind, _, _, echoed, sequence = struct.unpack(">BBHHH", packet[20:28])
    if kind != ECHO_REPLY or echoed != identifier or checksum(packet[:20]) or checksum(packet[20:]):
        return None
    return sequence
