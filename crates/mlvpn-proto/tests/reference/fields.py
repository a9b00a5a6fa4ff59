"""Fields of a test vector: each must be taken, so that none goes unchecked."""


class Mismatch(Exception):
    """A vector, a field, and what differs."""


def expect(vector, field, got, wanted):
    if got != wanted:
        raise Mismatch(f"{vector}: {field}: computed {shown(got)}, but the vector says {shown(wanted)}")


def shown(value):
    return value.hex() if isinstance(value, bytes) else repr(value)


class Fields:
    """A JSON object whose members are taken one by one."""

    def __init__(self, name, members):
        self.name, self.members = name, dict(members)

    def take(self, key):
        if key not in self.members:
            raise Mismatch(f"{self.name}: no field {key}")
        return self.members.pop(key)

    def has(self, key):
        return key in self.members

    def bytes(self, key):
        return bytes.fromhex(self.take(key))

    def object(self, key):
        return Fields(f"{self.name} {key}", self.take(key))

    def done(self):
        if self.members:
            raise Mismatch(f"{self.name}: unknown field {', '.join(self.members)}")
