"""Reads the fields of a frame (docs/protocol-v2.md section 4); what ends too early is malformed ([F3])."""

MAX_PATH = 15


class Malformed(Exception):
    """[F3]: as an unknown frame of a type that is not skippable."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def bytes(self, count):
        if self.left() < count:
            raise Malformed("ends before its fields do")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, size):
        return int.from_bytes(self.bytes(size), "big")

    def path(self):
        return checked_path(self.number(1))


def checked_path(path):
    if path > MAX_PATH:
        raise Malformed("path above 15")
    return path
