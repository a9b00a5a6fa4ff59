//! Version 2's packets and frames, whatever is in them (docs/protocol-v2.md, sections 3 and 4).

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use mlvpn_proto::crypto::v2::{Cipher, NotAuthentic, OpeningKey, PacketCounter, SealingKey};
use mlvpn_proto::id::{PacketNumber, PathId, SessionIndex};
use mlvpn_proto::policy::Policy;
use mlvpn_proto::time::Instant;
use mlvpn_proto::wire::v2::{
    AckedNumbers, CloseReason, DataHeader, Feedback, Frame, Frames, HEADER_LEN, Held, Lane,
    LaneSeq, PathStatus, ReceivedRuns, SealedHeader, SendTime, Settings, Skippable, SoftwareName,
    TAG_LEN, Terms, TermsList, Transit, TruncatedNumber, is_data_alone, modular,
};
use proptest::prelude::*;

/// What a frame of any type can be made of.
#[derive(Clone, Debug)]
struct Ingredients {
    kind: u8,
    path: PathId,
    byte: u8,
    flags: [bool; 3],
    shorts: [u16; 3],
    longs: [u64; 4],
    bytes: Vec<u8>,
    numbers: Vec<TruncatedNumber>,
    name: String,
}

fn ingredients() -> impl Strategy<Value = Ingredients> {
    let numbers = prop::collection::vec(any::<u32>().prop_map(TruncatedNumber), 0..=255);
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    let small = (0..15u8, 0..16u8, any::<u8>(), any::<[bool; 3]>());
    (small, any::<[u16; 3]>(), any::<[u64; 4]>(), bytes, numbers, "\\PC{0,16}").prop_map(
        |((kind, path, byte, flags), shorts, longs, bytes, numbers, name)| {
            let path = PathId::new(path).unwrap();
            Ingredients { kind, path, byte, flags, shorts, longs, bytes, numbers, name }
        },
    )
}

impl Ingredients {
    fn frame(&self) -> Frame<'_> {
        let (path, [probe, size, count]) = (self.path, self.shorts);
        let token = self.longs[0].to_be_bytes();
        let (lane, first) = (Lane::of_hash(self.longs[1]), LaneSeq::of(self.longs[2]));
        match self.kind {
            0 => Frame::Padding(1 + usize::from(self.byte)),
            1 => {
                let sent = SendTime(size);
                Frame::Data(DataHeader { lane, seq: first, sent }, &self.bytes)
            }
            2 => Frame::Ping,
            3 => Frame::Feedback(self.feedback()),
            4 => Frame::PathChallenge { path, token },
            5 => Frame::PathResponse { path, token },
            6 => Frame::PathStatus { path, sequence: count, status: self.status() },
            7 => Frame::MtuProbe { probe },
            8 => Frame::MtuAck { path, probe, size },
            9 => Frame::Skip { lane, first, count },
            10 => Frame::Settings(self.settings()),
            11 => Frame::Ack { path, numbers: AckedNumbers::split(&self.numbers).0 },
            12 => Frame::Close(match self.byte {
                0..64 => CloseReason::ShuttingDown,
                64..128 => CloseReason::ConfigurationChanged,
                128..160 => CloseReason::OutOfPacketNumbers,
                160..192 => CloseReason::Replaced,
                other => CloseReason::Other(other),
            }),
            13 => Frame::Terms(self.terms()),
            _ => Frame::Skippable(self.skippable()),
        }
    }

    fn feedback(&self) -> Feedback {
        let [largest, sent, bytes, received] = self.longs;
        Feedback {
            path: self.path,
            is_silent: self.flags[0],
            largest: TruncatedNumber(largest as u32),
            received_at: (largest >> 32) as u32,
            largest_sent: TruncatedNumber(sent as u32),
            packets: (sent >> 32) as u32,
            bytes: bytes >> 16,
            lowest_transit: self.flags[1].then_some(Transit(self.shorts[0])),
            congestion_marks: (bytes as u32) >> 8,
            held: Held(self.shorts[1]),
            received: self.runs(received),
        }
    }

    fn runs(&self, entropy: u64) -> ReceivedRuns {
        let mut runs = ReceivedRuns::new(1 + (entropy & 0xFF));
        for shift in 0..self.shorts[0] % 25 {
            let part = entropy.rotate_left(u32::from(shift));
            runs.push(1 + (part & 0xFFF), 1 + (part >> 32 & 0xFFFE));
        }
        runs
    }

    fn status(&self) -> PathStatus {
        [PathStatus::Available, PathStatus::Backup, PathStatus::Gone][usize::from(self.byte % 3)]
    }

    /// Any entries, whole ones.
    fn terms(&self) -> Terms<'_> {
        let policy = Policy::ALL.get(usize::from(self.byte % 5)).copied();
        let whole = self.bytes.len() - self.bytes.len() % 9;
        let paths = TermsList::of_written(&self.bytes[..whole]);
        Terms { sequence: self.shorts[0], policy, paths }
    }

    /// One of a type that nobody knows.
    fn skippable(&self) -> Skippable<'_> {
        let kind = 0x40 | self.byte & 0x3F;
        Skippable::new(if kind == 0x41 { 0x42 } else { kind }, &self.bytes).unwrap()
    }

    fn settings(&self) -> Settings<'_> {
        Settings {
            max_ip_packet: self.flags[0].then_some(self.shorts[0].max(1_168)),
            resequencer_bytes: self.flags[1].then_some(self.longs[0] as u32),
            software: SoftwareName::new(&self.name).filter(|_| self.flags[2]),
        }
    }
}

fn encode(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut out));
    out
}

fn is_padding(frame: &Frame<'_>) -> bool {
    matches!(frame, Frame::Padding(_))
}

/// Frames as a body can hold them: DATA last, and one run of padding where there were several.
fn as_a_body<'a>(frames: impl Iterator<Item = Frame<'a>>) -> Vec<Frame<'a>> {
    let mut body: Vec<Frame<'_>> = Vec::new();
    for frame in frames {
        if is_padding(&frame) && body.last().is_some_and(is_padding) {
            continue;
        }
        body.push(frame);
        if matches!(frame, Frame::Data(..)) {
            break;
        }
    }
    body
}

/// RFC 9000 section A.3, word by word, in numbers that are wide enough for its subtractions.
fn rfc9000_a3(largest: i128, truncated: i128, bits: u32) -> i128 {
    let expected = largest + 1;
    let window = 1i128 << bits;
    let half = window / 2;
    let mask = window - 1;
    let candidate = (expected & !mask) | truncated;
    if candidate <= expected - half && candidate < (1 << 62) - window {
        return candidate + window;
    }
    if candidate > expected + half && candidate >= window {
        return candidate - window;
    }
    candidate
}

fn body_of(len: usize) -> Vec<u8> {
    let sent = SendTime(7);
    let header = DataHeader { lane: Lane::default(), seq: LaneSeq::of(1), sent };
    [&header.encode()[..], &vec![0x45; len]].concat()
}

/// The datagram that seals `body` as the first packet of path 5 that has `number`.
fn sealed(cipher: Cipher, number: u64, is_clear: bool, body: &[u8]) -> Vec<u8> {
    let key = SealingKey::new(cipher, &[9; 32], SessionIndex(0xA1B2_C3D4), Instant::ZERO);
    let mut numbers = PacketCounter::new(PathId::new(5).unwrap());
    numbers.advance_to(PacketNumber(number));
    let mut datagram = [&[0; HEADER_LEN], body, &[0; TAG_LEN]].concat();
    key.seal(numbers.draw().unwrap(), is_clear, &mut datagram).unwrap();
    datagram
}

#[test]
fn a_changed_bit_anywhere_keeps_a_packet_from_opening() {
    let number = 0x1_0000_0005;
    for cipher in Cipher::ALL {
        let key = OpeningKey::new(cipher, &[9; 32]);
        for is_clear in [false, true] {
            let packet = sealed(cipher, number, is_clear, &body_of(40));
            assert!(key.open(PacketNumber(number), &mut packet.clone()).is_ok());
            for bit in 0..packet.len() * 8 {
                let mut changed = packet.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let opened = key.open(PacketNumber(number), &mut changed);
                assert_eq!(opened, Err(NotAuthentic), "{cipher:?}, bit {bit}");
                // What a receiver does takes the number from the changed header.
                let mut changed = packet.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let Ok(header) = SealedHeader::parse(&changed) else { continue };
                let read = header.number.after(Some(PacketNumber(number - 1)));
                assert_eq!(key.open(read, &mut changed), Err(NotAuthentic), "bit {bit}");
            }
        }
    }
}

#[test]
fn frames_before_an_unknown_one_count_and_those_after_it_do_not() {
    for unknown in (0x0D..=0x3F).chain(0x80..=0xFF) {
        let body = [0x02, 0x0C, 0x01, unknown, 0x02, 0x02];
        let mut frames = Frames::new(&body);
        assert_eq!(frames.next(), Some(Frame::Ping));
        assert_eq!(frames.next(), Some(Frame::Close(CloseReason::ConfigurationChanged)));
        assert!(!frames.is_stopped());
        assert_eq!((frames.next(), frames.next()), (None, None));
        assert!(frames.is_stopped());
    }
}

#[test]
fn unknown_frames_that_are_skippable_are_passed() {
    for kind in 0x40..=0x7F {
        let body = [kind, 0, 2, 0xFF, 0xFF, 0x02];
        let mut frames = Frames::new(&body);
        let skipped = Skippable::new(kind, &[0xFF, 0xFF]).unwrap();
        assert_eq!(frames.next(), Some(Frame::Skippable(skipped)));
        assert_eq!(frames.next(), Some(Frame::Ping));
        assert_eq!(frames.next(), None);
        assert!(!frames.is_stopped());
    }
    assert!(Skippable::new(0x3F, &[]).is_none() && Skippable::new(0x80, &[]).is_none());
    assert!(Skippable::new(0x40, &[0; 65_536]).is_none());
}

#[test]
fn impossible_paths_and_statuses_stop_the_reading() {
    let path_first = [0x04, 0x05, 0x06, 0x08, 0x0B];
    for kind in path_first {
        let mut body = [0; 16];
        (body[0], body[1]) = (kind, 15);
        assert!(Frames::new(&body).count() >= 1, "{kind}");
        body[1] = 16;
        let mut frames = Frames::new(&body);
        assert_eq!(frames.next(), None, "{kind}");
        assert!(frames.is_stopped());
    }
    assert_eq!(Frames::new(&[0x06, 0, 0, 0, 3]).next(), None);
}

#[test]
fn only_a_data_frame_alone_may_be_in_clear() {
    assert!(is_data_alone(&body_of(0)));
    assert!(is_data_alone(&body_of(1400)));
    assert!(!is_data_alone(&body_of(0)[..6]));
    assert!(!is_data_alone(&[&[0x02], &body_of(40)[..]].concat()));
    assert!(!is_data_alone(&[]));
}

#[test]
fn more_numbers_than_an_ack_can_hold_are_left_for_the_next() {
    let numbers: Vec<_> = (0..300).map(TruncatedNumber).collect();
    let (now, later) = AckedNumbers::split(&numbers);
    assert_eq!(now.len(), 255);
    assert_eq!(later, &numbers[255..]);
    assert!(AckedNumbers::split(&[]).0.is_empty());
}

proptest! {
    #[test]
    fn frames_that_are_encoded_are_decoded(parts in prop::collection::vec(ingredients(), 0..8)) {
        let frames = as_a_body(parts.iter().map(Ingredients::frame));
        let body = encode(&frames);
        let mut read = Frames::new(&body);
        prop_assert_eq!(read.by_ref().collect::<Vec<_>>(), frames);
        prop_assert!(!read.is_stopped());
    }

    #[test]
    fn a_frame_that_ends_early_stops_the_reading(part in ingredients(), at: prop::sample::Index) {
        let frame = part.frame();
        let whole = encode(&[frame]);
        let cut = at.index(whole.len());
        let mut frames = Frames::new(&whole[..cut]);
        let read = frames.next();
        match frame {
            // These are still frames of their type with less in them, or nothing at all.
            Frame::Padding(_) if cut > 0 => prop_assert_eq!(read, Some(Frame::Padding(cut))),
            Frame::Data(header, packet) if cut >= 7 => {
                prop_assert_eq!(read, Some(Frame::Data(header, &packet[..cut - 7])));
            }
            _ => {
                prop_assert_eq!(read, None);
                prop_assert_eq!(frames.is_stopped(), cut > 0);
            }
        }
    }

    #[test]
    fn arbitrary_bodies_are_read_to_an_end(body in prop::collection::vec(any::<u8>(), 0..1600)) {
        let frames: Vec<_> = Frames::new(&body).collect();
        let again = encode(&frames);
        prop_assert_eq!(Frames::new(&again).collect::<Vec<_>>(), frames);
    }

    #[test]
    fn arbitrary_bodies_of_known_frames_are_read_to_an_end(
        body in prop::collection::vec(0..0x10u8, 0..200)
    ) {
        let frames: Vec<_> = Frames::new(&body).collect();
        let again = encode(&frames);
        prop_assert_eq!(Frames::new(&again).collect::<Vec<_>>(), frames);
    }

    #[test]
    fn arbitrary_datagrams_do_not_open(bytes in prop::collection::vec(any::<u8>(), 0..1600)) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = 0x80 | *first & 0x1F;
        }
        for cipher in Cipher::ALL {
            let opened = OpeningKey::new(cipher, &[9; 32]).open(PacketNumber(0), &mut bytes);
            prop_assert_eq!(opened, Err(NotAuthentic));
        }
    }

    #[test]
    fn headers_that_are_encoded_are_decoded(
        path in 0..16u8, is_clear: bool, receiver: u32, number: u32, rest in 17..1500usize
    ) {
        let path = PathId::new(path).unwrap();
        let (receiver, number) = (SessionIndex(receiver), TruncatedNumber(number));
        let header = SealedHeader { path, is_clear, receiver, number };
        let mut datagram = header.encode().to_vec();
        datagram.resize(HEADER_LEN + rest, 0);
        prop_assert_eq!(SealedHeader::parse(&datagram), Ok(header));
    }

    #[test]
    fn packets_that_are_sealed_open(
        number in 0..1u64 << 62, is_clear: bool, body in prop::collection::vec(any::<u8>(), 1..1500)
    ) {
        for cipher in Cipher::ALL {
            let mut packet = sealed(cipher, number, is_clear, &body);
            let header = SealedHeader::parse(&packet).unwrap();
            let largest = number.checked_sub(1).map(PacketNumber);
            prop_assert_eq!(header.number.after(largest), PacketNumber(number));
            let key = OpeningKey::new(cipher, &[9; 32]);
            prop_assert_eq!(key.open(PacketNumber(number), &mut packet), Ok(&mut body.clone()[..]));
        }
    }

    #[test]
    fn numbers_are_restored_as_rfc_9000_says(
        wide in 0..1u64 << 62, shift in 0..62u32, low: u32, bits in prop::sample::select(vec![8, 16, 22, 24, 32, 48])
    ) {
        let largest = wide >> shift;
        let full = TruncatedNumber(low).after(Some(PacketNumber(largest)));
        prop_assert_eq!(i128::from(full.0), rfc9000_a3(largest.into(), low.into(), 32));

        let low = wide.rotate_left(shift) & ((1 << bits) - 1);
        let full = modular::nearest(low, bits, largest + 1);
        prop_assert_eq!(i128::from(full), rfc9000_a3(largest.into(), low.into(), bits));
    }

    #[test]
    fn a_number_within_half_a_window_is_restored(
        expected in 0..1u64 << 61, offset in -(1i64 << 31) + 1..1i64 << 31
    ) {
        let number = expected.saturating_add_signed(offset);
        let near = TruncatedNumber::from(PacketNumber(number)).near(PacketNumber(expected));
        prop_assert_eq!(near, PacketNumber(number));
    }
}
