"""An initiator's session with one path over one socket (docs/protocol-v2.md sections 3 to 7), as little as one may be.

It says PING and SETTINGS first (5.1, [P10]), acknowledges [F4], reports [F8], answers challenges [F9] [F10] and probes
(4.6), sends PINGs when there is nothing else [P7], sends lost DATA again or says SKIP [M1] [M3], and ends by CLOSE [F11].
It sends nothing above the base size [D2], so that it searches for no larger one, and lives in one epoch, 120 s at most.
The handshake validated the path [P1]; after a change of its socket it is challenged [P2] [P3] [P6].
"""
import os
import time
from dataclasses import dataclass, field, replace

import frames
import packets
from received import LARGEST_INTERVAL, LEAST_INTERVAL, Received, units_64us

BASE_SIZE = 1200
REPETITIONS, REPAIRS = 8, 3
ASSUMED_ROUND_TRIP = 0.333
FIRST_CHALLENGE, LAST_CHALLENGE = 0.1, 2.0
SETTINGS = frames.Settings(max_ip_packet=1500, resequencer_bytes=65536, software="mlvpn reference peer")


class RoundTrip:
    """Section 7.1 and [M2]"""

    def __init__(self):
        self.smoothed, self.variation = None, ASSUMED_ROUND_TRIP / 2

    def sample(self, seconds):
        if self.smoothed is None:
            self.smoothed, self.variation = seconds, seconds / 2
        else:
            self.variation += (abs(self.smoothed - seconds) - self.variation) / 4
            self.smoothed += (seconds - self.smoothed) / 8

    def estimate(self):
        return ASSUMED_ROUND_TRIP if self.smoothed is None else self.smoothed

    def probe_timeout(self):
        feedback = min(max(self.estimate() / 3, LEAST_INTERVAL), LARGEST_INTERVAL)
        return self.estimate() + max(4 * self.variation, 0.005) + feedback


@dataclass
class Sent:
    """A packet that elicits FEEDBACK and of which nothing was said yet."""
    at: float
    data: list
    first_at: float
    repairs: int = 0


@dataclass
class Repeated:
    """Frames of the third column of section 4: repeated until one packet with them is acknowledged."""
    frames: list
    due: float
    numbers: set = field(default_factory=set)
    times: int = 0


class Session:
    """`transmit(datagram)` sends to the peer; `deliver(packet)` takes an IP packet; `trace(text)` may print."""

    def __init__(self, path, receiver, cipher, clear, sending_keys, receiving_keys, transmit, deliver, trace):
        self.path, self.receiver, self.clear = path, receiver, clear
        self.sealer = packets.Sealer(cipher, sending_keys)
        self.opener = packets.Sealer(cipher, receiving_keys)
        self.transmit, self.deliver, self.trace = transmit, deliver, trace
        self.received, self.round_trip = Received(path), RoundTrip()
        self.next_number, self.sequence, self.last_sent = 0, 0, 0.0
        self.outstanding, self.delivered = {}, set()
        self.largest_reported = -1
        self.repeated = Repeated([SETTINGS], due=0.0)
        self.challenges, self.challenge_due, self.challenge_pause = set(), None, FIRST_CHALLENGE
        self.closed = None
        self.counts = {}

    # Sending

    def send(self, content, size=0, first_at=None, repairs=0):
        """One packet; padded to `size` bytes of UDP payload. Returns its number."""
        now = time.monotonic()
        body = b"".join(frame.encode() for frame in content)
        body = body.ljust(size - packets.OVERHEAD, b"\0")
        number, self.next_number = self.next_number, self.next_number + 1
        clear = self.clear and all(isinstance(frame, frames.Data) for frame in content)  # [S6]
        header = packets.Header(clear, self.path, self.receiver, number & 0xFFFFFFFF)
        self.transmit(self.sealer.seal(header, number, body))
        self.last_sent = now
        if any(isinstance(frame, frames.ELICITING) for frame in content):
            data = [frame for frame in content if isinstance(frame, frames.Data)]
            self.outstanding[number] = Sent(now, data, now if first_at is None else first_at, repairs)
        for frame in content:
            self.count("sent", frame)
        self.trace(f"> {number} {content}")
        return number

    def send_packet(self, packet):
        """[F5]: one lane for the one flow."""
        sequence, self.sequence = self.sequence, self.sequence + 1
        self.send([frames.Data(0, sequence & 0x3FFFFF, units_64us(time.monotonic()), packet)])

    def begin(self):
        self.repeat(first=[frames.Ping()])

    def repeat(self, first=()):
        """[F4]"""
        number = self.send([*first, *self.repeated.frames])
        self.repeated.numbers.add(number)
        self.repeated.times += 1
        self.repeated.due = time.monotonic() + self.round_trip.probe_timeout()
        if self.repeated.times == REPETITIONS:
            self.repeated.due = None

    def is_up(self):
        return self.challenge_due is None

    def join(self):
        """[P6], [P11]: the path leads over another socket now, and nothing that was measured holds."""
        self.round_trip = RoundTrip()
        self.challenges, self.challenge_pause = set(), FIRST_CHALLENGE
        self.challenge()

    def challenge(self):
        """[P3], [F10]"""
        token = os.urandom(8)
        self.challenges.add(token)
        self.send([frames.PathChallenge(self.path, token)], size=BASE_SIZE)
        self.challenge_due = time.monotonic() + self.challenge_pause
        self.challenge_pause = min(2 * self.challenge_pause, LAST_CHALLENGE)

    def take_response(self, frame):
        """[P2], [P10]"""
        if frame.path == self.path and frame.token in self.challenges and not self.is_up():
            self.challenge_due = None
            self.send([frames.Ping()])

    def close(self, reason=0):
        self.send([frames.Close(reason)])

    def timers(self):
        """Does what is due; returns the seconds until something is again."""
        now = time.monotonic()
        for due, action in self.dues():
            if due is not None and now >= due:
                action()
        return max(0.0, min(due for due, _ in self.dues() if due is not None) - time.monotonic())

    def dues(self):
        if not self.is_up():
            return [(self.challenge_due, self.challenge)]
        return [(self.repeated.due, self.repeat), (self.received.due(self.round_trip.smoothed), self.report),
                (self.last_sent + 1, self.keep_alive)]

    def report(self):
        self.send([self.received.feedback(max(self.next_number - 1, 0), time.monotonic())])

    def keep_alive(self):
        """[P7]"""
        self.send([frames.Ping()])

    # Receiving

    def receive(self, datagram):
        """[S7], [S8]: what is not authentic or not new changes nothing."""
        now = time.monotonic()
        opened = self.opener.open(datagram, self.received.expected())
        if opened is None or opened.header.path != self.path or not self.received.is_new(opened.number):
            return
        if opened.header.clear and not self.clear:
            return
        content, whole = frames.decode_body(opened.body)
        self.trace(f"< {opened.number} {content}{'' if whole else ' and something unknown'}")
        elicits = any(isinstance(frame, frames.ELICITING) for frame in content)
        self.received.add(opened.number, len(datagram), content, elicits, now)
        for frame in content:
            self.count("received", frame)
            self.take(frame, len(datagram), now)
        if any(isinstance(frame, frames.ACKNOWLEDGED) for frame in content):
            self.send([frames.Ack(self.path, [opened.header.low_number])])

    def take(self, frame, size, now):
        if isinstance(frame, frames.Data):
            self.take_data(frame)
        elif isinstance(frame, frames.PathResponse):
            self.take_response(frame)
        elif isinstance(frame, frames.PathChallenge):
            if frame.path == self.path:
                self.send([frames.PathResponse(frame.path, frame.token)], size=BASE_SIZE)
        elif isinstance(frame, frames.MtuProbe):
            self.send([frames.MtuAck(self.path, frame.probe, size)])
        elif isinstance(frame, frames.Feedback) and frame.path == self.path:
            self.take_feedback(frame, now)
        elif isinstance(frame, frames.Ack) and frame.path == self.path:
            if self.repeated.numbers & set(frame.numbers):
                self.repeated.due = None
        elif isinstance(frame, frames.Close):
            self.closed = frame.reason

    def take_data(self, frame):
        """[F6]: at most once."""
        if (frame.lane, frame.sequence) not in self.delivered:
            self.delivered.add((frame.lane, frame.sequence))
            self.deliver(frame.packet)

    def take_feedback(self, frame, now):
        """Section 7.1, [F17], [M1], [M3]"""
        largest = packets.restore_number(frame.largest, self.largest_reported + 1)
        if largest >= self.next_number:
            return
        newest = self.outstanding.get(largest)
        if newest and largest > self.largest_reported and frame.held != 0xFFFF:
            self.round_trip.sample(max(now - newest.at - frame.held * 16e-6, 0.0))
        self.largest_reported = max(largest, self.largest_reported)
        for low, high in replace(frame, largest=largest).runs():
            for number in [known for known in self.outstanding if low <= known <= high]:
                del self.outstanding[number]
        too_long_before = newest.at - max(9 / 8 * self.round_trip.estimate(), 0.001) if newest else float("-inf")
        for number, sent in list(self.outstanding.items()):
            if number <= largest - 3 or number < largest and sent.at <= too_long_before:
                self.lost(self.outstanding.pop(number), now)

    def lost(self, sent, now):
        in_time = now - sent.first_at < 0.120 + 1.5 * self.round_trip.estimate()
        for data in sent.data:
            if sent.repairs < REPAIRS and in_time:
                again = replace(data, send_time=units_64us(now))
                self.send([again], first_at=sent.first_at, repairs=sent.repairs + 1)
            else:
                self.send([frames.Skip(data.lane, data.sequence, 1)])

    def count(self, direction, frame):
        name = f"{direction} {type(frame).__name__}"
        self.counts[name] = self.counts.get(name, 0) + 1
