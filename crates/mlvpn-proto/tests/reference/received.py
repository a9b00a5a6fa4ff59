"""What came on one path (docs/protocol-v2.md): the replay window [S7], and FEEDBACK about it (4.3, [F8], [F15], [F16])."""
from feedback import MAX_GAPS, Feedback, gaps_of
from frames import Data

WINDOW = 8192
IP_AND_UDP = {4: 28, 6: 48}
LEAST_INTERVAL, LARGEST_INTERVAL = 0.005, 0.050


def units_64us(seconds):
    return int(seconds * 1e6) // 64 & 0xFFFF


class Received:
    """Times are in seconds, all of one clock."""

    def __init__(self, path, ip_version=4):
        self.path, self.overhead = path, IP_AND_UDP[ip_version]
        self.numbers, self.largest, self.received_at = set(), None, 0.0
        self.packets = self.bytes = 0
        self.lowest_difference = None
        self.to_report, self.at_once, self.last_report = False, False, float("-inf")

    def expected(self):
        return 0 if self.largest is None else self.largest + 1

    def is_new(self, number):
        too_old = self.largest is not None and number <= self.largest - WINDOW
        return not too_old and number not in self.numbers

    def add(self, number, size, frames, elicits, now):
        """An authentic new packet, `size` bytes of UDP payload."""
        self.numbers.add(number)
        self.packets, self.bytes = self.packets + 1, self.bytes + size + self.overhead
        if self.largest is None or number > self.largest:
            self.largest, self.received_at = number, now
            self.numbers = {kept for kept in self.numbers if kept > number - WINDOW}
        for frame in frames:
            if isinstance(frame, Data):
                self.note_difference(units_64us(now) - frame.send_time & 0xFFFF)
        self.to_report = self.to_report or elicits
        runs = self.runs()
        self.at_once = self.at_once or len(runs) > 1 and runs[0][1] - runs[0][0] == 2

    def note_difference(self, difference):
        """RFC 1982: the lower one of 16 bits."""
        if self.lowest_difference is None or difference - self.lowest_difference & 0xFFFF > 0x8000:
            self.lowest_difference = difference

    def runs(self):
        """Pairs (lowest, highest) from the latest to the earliest, as many as a frame holds."""
        found, number = [], self.largest
        floor = max(min(self.numbers), self.largest - WINDOW // 8)
        while number >= floor and len(found) <= MAX_GAPS:
            high = number
            while number in self.numbers:
                number -= 1
            found.append((number + 1, high))
            while number >= floor and number not in self.numbers:
                number -= 1
        return found

    def due(self, round_trip):
        """[F8]: when the next FEEDBACK has to go; None without news."""
        if not self.to_report:
            return None
        if self.at_once:
            return float("-inf")
        interval = LEAST_INTERVAL
        if round_trip is not None:
            interval = min(max(round_trip / 3, LEAST_INTERVAL), LARGEST_INTERVAL)
        return self.last_report + interval

    def feedback(self, largest_sent, now):
        """The frame, which is taken to be sent now."""
        first_run, gaps = gaps_of(self.runs())
        frame = Feedback(
            path=self.path, silent=False, largest=self.largest & 0xFFFFFFFF,
            received_at=int(self.received_at * 1e6) & 0xFFFFFFFF, largest_sent=largest_sent & 0xFFFFFFFF,
            packets=self.packets & 0xFFFFFFFF, bytes=self.bytes & 0xFFFFFFFFFFFF,
            lowest_difference=self.lowest_difference, ecn_ce=0,
            held=min(int((now - self.received_at) * 1e6) // 16, 0xFFFF),
            first_run=first_run, gaps=gaps)
        self.lowest_difference, self.to_report, self.at_once, self.last_report = None, False, False, now
        return frame
