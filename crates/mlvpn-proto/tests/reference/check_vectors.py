#!/usr/bin/python3
"""Checks the test vectors of protocol version 2 with an implementation that follows docs/protocol-v2.md and shares no code with the others.

    check_vectors.py [DIRECTORY OF v2-handshake.json AND v2-packets.json]

Every value that can be derived is derived again; every field of the files is used, or it is an error.
Prints one line for each file and ends with 0, or with 1 and the name of what differs.
"""
import json
import sys
from collections import Counter
from pathlib import Path

from fields import Fields, Mismatch, expect
from vectors_handshake import check_handshake, check_payload
from vectors_packets import check_body, check_frame, check_number, check_packet

FILES = {
    "v2-handshake.json": {"handshakes": check_handshake, "payloads": check_payload},
    "v2-packets.json": {
        "packets": check_packet, "frames": check_frame, "bodies": check_body, "numbers": check_number},
}


def check_file(path, sections):
    document = Fields(path.name, json.loads(path.read_text(encoding="utf-8")))
    expect(document.name, "about", isinstance(document.take("about"), str), True)
    counts = Counter()
    for section, check in sections.items():
        entries = document.take(section)
        expect(document.name, section, len(entries) > 0, True)
        for number, entry in enumerate(entries):
            vector = Fields(f"{path.name} {section}[{number}]", entry)
            check_vector(check, vector, counts)
            counts[section] += 1
    document.done()
    return counts


def check_vector(check, vector, counts):
    try:
        check(vector, counts)
        vector.done()
    except Mismatch:
        raise
    except Exception as error:  # a value so wrong that nothing can be computed from it
        raise Mismatch(f"{vector.name}: {error!r}") from error


def main(arguments):
    directory = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "data"
    try:
        for name, sections in FILES.items():
            counts = check_file(directory / name, sections)
            print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    except (Mismatch, OSError, ValueError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
