#!/usr/bin/python3
"""A minimal initiator of protocol version 2, after docs/protocol-v2.md, that pings through a real responder.

    peer.py --server 127.0.0.1:5080 --password-file F --from 10.42.42.2 --to 10.42.42.1 --count 20

Makes the handshake (section 5; initiations are repeated as [H13] says, and a cookie is used as [H20] says), sends ICMP
echo requests as DATA and prints a line for each reply. Ends with 0 when all were answered.
"""
import argparse
import os
import select
import socket
import sys
import time

import handshake
import icmp
import keys
import noise
from session import Session

IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3  # [Z1]; the socket module does not name them
FIRST_REPETITION, LAST_REPETITION, ANSWERS_TAKEN = 0.25, 5.0, 8
COOKIE_LIFE = 120


class Client:
    def __init__(self, options):
        self.options = options
        host, port = options.server.rsplit(":", 1)
        self.server = (host, int(port))
        self.open_socket()
        with open(options.password_file, "rb") as file:
            self.credentials = handshake.Credentials(keys.preshared_key(file.read().rstrip(b"\r\n")))
        self.session_id = os.urandom(8)
        self.cookie = None
        self.identifier = int.from_bytes(os.urandom(2), "big")
        self.asked_at, self.answered = {}, set()

    def open_socket(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)

    def trace(self, text):
        if self.options.verbose:
            print(f"{time.monotonic():.6f} {text}", file=sys.stderr)

    def datagrams(self, seconds):
        """What comes within this time: at least one datagram, or nothing."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        while True:
            try:
                yield self.socket.recv(65535, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return

    # The handshake

    def flags(self):
        return handshake.CLEAR_DATA if self.options.clear else 0

    def initiate(self, cookie):
        """[H13]: each with an ephemeral key, an index and a time of its own."""
        index = int.from_bytes(os.urandom(4), "big") or 1
        offer = handshake.Offer(
            index, self.options.path, self.session_id, self.options.ciphers,
            self.flags(), time.time_ns() // 1000)
        initiator = handshake.Initiator(self.credentials, os.urandom(32), offer, cookie)
        self.socket.sendto(initiator.message, self.server)
        self.trace(f"> initiation, index {index:08x}, mac2 {'of a cookie' if cookie else 'of zeros'}")
        return initiator

    def handshake(self, patience=15):
        """The session, or None."""
        begun, pause, initiators = time.monotonic(), FIRST_REPETITION, []
        while time.monotonic() < begun + patience:
            cookie = self.cookie and time.monotonic() < self.cookie[1] and self.cookie[0]
            initiators = [*initiators, self.initiate(cookie)][-ANSWERS_TAKEN:]
            until = time.monotonic() + pause
            while (left := until - time.monotonic()) > 0:
                for datagram in self.datagrams(left):
                    session = self.take_answer(initiators, datagram)
                    if session:
                        return session
            pause = min(2 * pause, LAST_REPETITION)
        return None

    def take_answer(self, initiators, datagram):
        for initiator in initiators:
            cookie = initiator.read_cookie_reply(datagram)
            if cookie:
                self.trace("< cookie reply")
                self.cookie = cookie, time.monotonic() + COOKIE_LIFE
            elif datagram[:1] == bytes([handshake.RESPONSE]) and datagram[8:12] == initiator.message[4:8]:
                try:
                    return self.begin(*initiator.read_response(datagram), initiator.offer.index)
                except noise.HandshakeError as error:
                    self.trace(f"< response that is refused: {error}")
        return None

    def begin(self, answer, secrets, own_index):
        self.trace(f"< response: {answer}")
        self.own_index = own_index.to_bytes(4, "big")
        session = Session(
            self.options.path, answer.index, answer.cipher, bool(self.flags() & answer.flags & handshake.CLEAR_DATA),
            secrets.initiator_keys, secrets.responder_keys,
            lambda datagram: self.socket.sendto(datagram, self.server), self.deliver, self.trace)
        session.begin()
        return session

    def move(self, session):
        """[P6]: what a change of the uplink looks like."""
        self.options.move = False
        self.socket.close()
        self.open_socket()
        session.join()

    # The echoes

    def deliver(self, packet):
        sequence = icmp.echo_reply(packet, self.options.to, self.options.source, self.identifier)
        if sequence in self.asked_at and sequence not in self.answered:
            self.answered.add(sequence)
            milliseconds = (time.monotonic() - self.asked_at[sequence]) * 1000
            print(f"reply {sequence} from {self.options.to}: {milliseconds:.2f} ms", flush=True)

    def ask(self, session, sequence):
        self.asked_at[sequence] = time.monotonic()
        session.send_packet(icmp.echo_request(
            self.options.source, self.options.to, self.identifier, sequence, self.options.size))

    def may_ask(self, session, sequence):
        """Half way the socket may have to change first, once all is answered that was asked through the former one."""
        if not self.options.move or sequence != self.options.count // 2:
            return True
        if len(self.answered) == sequence:
            self.move(session)
        return False

    def run(self, session):
        next_echo, sequence = time.monotonic() + self.options.interval, 0
        end = next_echo + self.options.count * self.options.interval + self.options.patience
        while time.monotonic() < end and len(self.answered) < self.options.count and session.closed is None:
            wait = session.timers()
            if sequence < self.options.count and session.is_up():
                if time.monotonic() >= next_echo and self.may_ask(session, sequence):
                    self.ask(session, sequence)
                    sequence, next_echo = sequence + 1, next_echo + self.options.interval
                wait = min(wait, max(0.01, next_echo - time.monotonic()))
            for datagram in self.datagrams(min(wait, max(0.0, end - time.monotonic()))):
                if datagram[1:5] == self.own_index:
                    session.receive(datagram)
        if session.closed is not None:
            print(f"the responder closed the session, reason {session.closed}", file=sys.stderr)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--password-file", required=True)
    parser.add_argument("--from", required=True, dest="source", metavar="ADDRESS", help="source of the echo requests")
    parser.add_argument("--to", required=True, metavar="ADDRESS", help="their destination")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between requests")
    parser.add_argument("--patience", type=float, default=2, help="seconds to wait for the last replies")
    parser.add_argument("--size", type=int, default=56, help="bytes of data in a request, 1140 at most")
    parser.add_argument("--path", type=int, default=0, help="id of the path, 0 to 15")
    parser.add_argument("--ciphers", type=lambda text: [int(cipher) for cipher in text.split(",")], default=[1, 2],
                        help="numbers of section 5.3, best first")
    parser.add_argument("--clear", action="store_true", help="ask for data in clear")
    parser.add_argument("--move", action="store_true", help="change the socket half way, which makes a joining path")
    parser.add_argument("--verbose", action="store_true", help="print all frames to stderr")
    return parser.parse_args()


def main():
    options = arguments()
    client = Client(options)
    session = client.handshake()
    if session is None:
        print("no response", file=sys.stderr)
        return 1
    client.run(session)
    if session.closed is None:
        session.close()
    for name, number in sorted(session.counts.items()):
        print(f"{name}: {number}", file=sys.stderr)
    print(f"{len(client.answered)} of {options.count} answered")
    return 0 if len(client.answered) == options.count else 1


if __name__ == "__main__":
    sys.exit(main())
