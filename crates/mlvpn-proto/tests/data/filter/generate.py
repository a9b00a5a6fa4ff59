#!/usr/bin/env python3
"""Makes the packets and asks tcpdump for its verdicts; see README.md. Needs tcpdump; writes packets*.txt and verdicts*.txt here."""

import os
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def v4(proto, payload, src="10.0.0.1", dst="192.0.2.7", options=b"", fragment=0x4000, ttl=64, tos=0, total=None):
    header_len = 20 + len(options)
    total = header_len + len(payload) if total is None else total
    header = struct.pack(">BBHHHBBH", 0x40 | header_len // 4, tos, total, 0x1234, fragment, ttl, proto, 0)
    return header + address4(src) + address4(dst) + options + payload


def address4(text):
    return bytes(int(part) for part in text.split("."))


def v6(next_header, payload, src="2001:db8::1", dst="2001:db8::2", hops=64):
    import ipaddress
    header = struct.pack(">IHBB", 0x60000000, len(payload), next_header, hops)
    return header + ipaddress.ip_address(src).packed + ipaddress.ip_address(dst).packed + payload


def tcp(sport, dport, flags=0x10, data=b"", options=b""):
    return struct.pack(">HHIIBBHHH", sport, dport, 1, 2, (5 + len(options) // 4) << 4, flags, 65535, 0, 0) + options + data


def udp(sport, dport, data=b""):
    return struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data


def sctp(sport, dport):
    return struct.pack(">HHII", sport, dport, 7, 0) + b"\x03\x00\x00\x10" + bytes(12)


def icmp(kind, code=0):
    return struct.pack(">BBHHH", kind, code, 0, 1, 1) + b"abcdefgh"


def fragment6(next_header, offset, more, payload):
    return struct.pack(">BBHI", next_header, 0, offset | more, 99) + payload


def arp(operation, spa, tpa):
    return struct.pack(">HHBBH", 1, 0x800, 6, 4, operation) + b"\x02\0\0\0\0\x01" + address4(spa) + bytes(6) + address4(tpa)


def frame(ether_type, payload, dst="020000000002", src="020000000001"):
    return bytes.fromhex(dst + src) + struct.pack(">H", ether_type) + payload


DNS = b"\x12\x34\x81\x80" + bytes(8)
GET = b"GET / HTTP/1.0\r\n\r\n"

IP = [
    v4(6, tcp(40000, 80, 0x02)),
    v4(6, tcp(80, 40000, 0x12), "192.0.2.7", "10.0.0.1"),
    v4(6, tcp(40000, 80, 0x18, GET)),
    v4(6, tcp(40000, 80, 0x18, GET, b"\x01\x01\x08\x0a" + bytes(8))),
    v4(6, tcp(40000, 443, 0x11), "10.1.2.3", "10.0.0.1"),
    v4(6, tcp(443, 1500, 0x04), "192.0.2.9", "10.1.2.3", ttl=17),
    v4(6, tcp(22, 85), "172.16.0.1", "172.16.0.2", tos=2),
    v4(6, tcp(1, 2, 0x02), "0.0.0.0", "255.255.255.255"),
    v4(6, tcp(143, 9000, 0x08), "10.0.0.1", "10.0.0.1"),
    v4(17, udp(40000, 53, DNS)),
    v4(17, udp(53, 53, DNS), "10.1.9.9", "10.0.0.1", fragment=0),
    v4(17, udp(5004, 5005, bytes(160)), "10.0.0.1", "224.0.0.5"),
    v4(17, udp(123, 123, bytes(48)), "10.0.0.1", "239.1.1.1", ttl=1),
    v4(17, udp(68, 67, bytes(300)), "0.0.0.0", "255.255.255.255"),
    v4(17, udp(80, 80), ttl=0),
    v4(17, udp(40000, 443, b"\x80" + bytes(50))),
    v4(1, icmp(8)),
    v4(1, icmp(0), "192.0.2.7", "10.0.0.1"),
    v4(1, icmp(3, 4), "192.0.2.1", "10.0.0.1"),
    v4(1, icmp(11), "192.0.2.1", "10.0.0.1", ttl=255),
    v4(132, sctp(80, 9899)),
    v4(132, sctp(1234, 443), "10.1.2.3"),
    v4(50, bytes(24)),
    v4(51, b"\x06\x04\0\0" + bytes(20) + tcp(40000, 80)),
    v4(2, bytes(8), "10.0.0.1", "224.0.0.1", b"\x94\x04\0\0"),
    v4(103, bytes(8), "10.0.0.1", "224.0.0.13"),
    v4(112, bytes(20), "10.0.0.1", "224.0.0.18"),
    v4(47, bytes(8)),
    # Options.
    v4(6, tcp(40000, 80, 0x02), options=b"\x01\x01\x01\x00"),
    v4(17, udp(53, 40000, DNS), options=bytes(40)),
    # Fragments: first, middle, last.
    v4(17, udp(40000, 53, bytes(40)), fragment=0x2000),
    v4(17, struct.pack(">HH", 80, 53) + bytes(44), fragment=0x2006),
    v4(17, struct.pack(">HH", 80, 53) + bytes(4), fragment=0x000c),
    v4(6, tcp(40000, 80, 0x02), fragment=0x2000),
    v4(6, tcp(40000, 80, 0x02), fragment=0x1fff),
    # Truncated headers, wrong lengths.
    v4(6, tcp(40000, 80, 0x02))[:21],
    v4(6, tcp(40000, 80, 0x02))[:24],
    v4(6, tcp(40000, 80, 0x02))[:33],
    v4(17, udp(40000, 53))[:20],
    v4(17, udp(40000, 53))[:12],
    v4(17, udp(40000, 53), total=2000),
    v4(1, icmp(8))[:20],
    b"\x45",
    b"\x60",
    b"\x4f" + v4(6, tcp(40000, 80, 0x02))[1:],
    b"\x41" + v4(6, tcp(40000, 80, 0x02))[1:],
    b"\x00" * 40,
    b"\xff" * 60,
    b"\x50" + bytes(39),
    # IPv6.
    v6(6, tcp(40000, 80, 0x02)),
    v6(6, tcp(443, 40000, 0x12), "2001:db8::2", "2001:db8::1"),
    v6(17, udp(40000, 53, DNS)),
    v6(17, udp(53, 53)),
    v6(17, udp(5353, 5353, DNS), "fe80::1", "ff02::fb", 255),
    v6(58, icmp(128)),
    v6(58, icmp(129), "2001:db8::2", "2001:db8::1"),
    v6(58, icmp(2), "2001:db8:ffff::1", "2001:db8::1"),
    v6(58, icmp(135), "fe80::1", "ff02::1:ff00:2", 255),
    v6(132, sctp(80, 80), "2001:db9::1"),
    v6(50, bytes(16)),
    v6(59, b""),
    v6(47, bytes(8)),
    v6(0, b"\x11\x00\x01\x04" + bytes(4) + udp(40000, 53)),
    v6(60, b"\x06\x00\x01\x04" + bytes(4) + tcp(40000, 80)),
    v6(44, fragment6(17, 0, 1, udp(40000, 53, bytes(32)))),
    v6(44, fragment6(17, 1280, 0, bytes(16))),
    v6(44, fragment6(6, 0, 1, tcp(40000, 80))),
    v6(44, fragment6(58, 0, 0, icmp(128))),
    v6(6, tcp(40000, 80, 0x02))[:41],
    v6(17, udp(40000, 53))[:40],
    v6(17, udp(40000, 53))[:30],
    v6(44, b"")[:40],
    v6(58, b"")[:40],
]

ETHERNET = [
    frame(0x0800, v4(6, tcp(40000, 80, 0x02))),
    frame(0x0800, v4(6, tcp(80, 40000, 0x12), "192.0.2.7", "10.0.0.1"), "020000000001", "020000000002"),
    frame(0x0800, v4(17, udp(40000, 53, DNS)) + bytes(6)),
    frame(0x0800, v4(17, udp(68, 67, bytes(300)), "0.0.0.0", "255.255.255.255"), "ffffffffffff"),
    frame(0x0800, v4(17, udp(5004, 5005, bytes(160)), "10.0.0.1", "224.0.0.5"), "01005e000005"),
    frame(0x0800, v4(1, icmp(8))),
    frame(0x0800, v4(2, bytes(8), "10.0.0.1", "224.0.0.1", b"\x94\x04\0\0"), "01005e000001"),
    frame(0x0800, v4(17, struct.pack(">HH", 80, 53) + bytes(44), fragment=0x2006)),
    frame(0x0800, v4(132, sctp(80, 9899))),
    frame(0x0806, arp(1, "10.0.0.1", "10.0.0.2"), "ffffffffffff"),
    frame(0x0806, arp(2, "10.0.0.2", "10.0.0.1") + bytes(18), "020000000001", "020000000002"),
    frame(0x0806, arp(1, "198.51.100.1", "192.0.2.2"), "ffffffffffff"),
    frame(0x8035, arp(3, "10.0.0.1", "192.0.2.2"), "ffffffffffff"),
    frame(0x86DD, v6(6, tcp(40000, 80, 0x02))),
    frame(0x86DD, v6(17, udp(40000, 53, DNS))),
    frame(0x86DD, v6(58, icmp(135), "fe80::1", "ff02::1:ff00:2", 255), "3333ff000002"),
    frame(0x8100, b"\x00\x05\x08\x00" + v4(6, tcp(40000, 80, 0x02))),
    frame(0x88CC, bytes(46), "0180c200000e"),
    frame(0x0026, b"\x42\x42\x03" + bytes(43), "0180c2000000"),
    frame(0x0800, v4(6, tcp(40000, 80, 0x02)))[:40],
    frame(0x0800, v4(6, tcp(40000, 80, 0x02)))[:14],
    frame(0x0806, arp(1, "10.0.0.1", "10.0.0.2"))[:30],
    frame(0x0800, b"")[:13],
    frame(0x0800, b"")[:3],
]


def write_pcap(path, link_type, packets):
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type))
        # The time stamp tells the packets apart in tcpdump's output.
        for index, packet in enumerate(packets):
            out.write(struct.pack("<IIII", index, 0, len(packet), len(packet)) + packet)


def verdicts(capture, count, expression):
    with tempfile.NamedTemporaryFile() as matched:
        command = ["tcpdump", "-O", "-r", capture, "-w", matched.name, "--", expression]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{expression}: {done.stderr}")
        data = open(matched.name, "rb").read()
    answer = ["0"] * count
    at = 24
    while at < len(data):
        index, _, length, _ = struct.unpack_from("<IIII", data, at)
        answer[index] = "1"
        at += 16 + length
    return "".join(answer)


def make(suffix, link_type, packets):
    lines = open(os.path.join(HERE, f"expressions{suffix}.txt")).read().splitlines()
    expressions = [line for line in lines if line and not line.startswith("#")]
    with open(os.path.join(HERE, f"packets{suffix}.txt"), "w") as out:
        out.writelines(packet.hex() + "\n" for packet in packets)
    with tempfile.NamedTemporaryFile(suffix=".pcap") as capture:
        write_pcap(capture.name, link_type, packets)
        with open(os.path.join(HERE, f"verdicts{suffix}.txt"), "w") as out:
            for expression in expressions:
                out.write(f"{verdicts(capture.name, len(packets), expression)} {expression}\n")


make("", 101, IP)
make("-ethernet", 1, ETHERNET)
