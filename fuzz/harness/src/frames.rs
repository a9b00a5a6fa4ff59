//! The body of a version 2 packet: the frames that are read say the same once they are encoded
//! again. The bytes are tried as a packet's header, too.

use mlvpn_proto::wire::v2::{Frame, Frames, SealedHeader};

/// Beginnings of frames.
pub const WORDS: &[&[u8]] = &[
    &[0x01, 0x00, 0x40, 0x00, 0x02, 0x00, 0x03],
    &[0x03, 0x83],
    &[0x04, 0x0f],
    &[0x06, 0x01, 0x00, 0x01, 0x02],
    &[0x08, 0x04, 0x01, 0x02, 0x05, 0xac],
    &[0x09, 0xff, 0xff, 0xff, 0xff],
    &[0x0a, 0x00, 0x04, 0x01, 0x02, 0x05, 0xdc],
    &[0x0b, 0x02, 0x01],
    &[0x0c, 0x00],
    &[0x40, 0x00, 0x02],
    &[0x41, 0x00, 0x0c, 0x00, 0x01, 0x03, 0x81],
    &[0x9f],
];

/// Runs the target.
///
/// # Panics
/// When frames change by being encoded, DATA is not the last one, or a header changes.
pub fn run(bytes: &[u8]) {
    let mut reading = Frames::new(bytes);
    let frames: Vec<_> = reading.by_ref().collect();
    let data = frames.iter().position(|frame| matches!(frame, Frame::Data(..)));
    assert!(data.is_none_or(|at| at + 1 == frames.len()));

    let mut encoded = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut encoded));
    assert!(frames.iter().copied().eq(Frames::new(&encoded)));
    if !frames.iter().any(has_ignored_bytes) {
        assert!(bytes.starts_with(&encoded));
        assert_eq!(reading.is_stopped(), encoded.len() < bytes.len());
    }
    if let Ok(header) = SealedHeader::parse(bytes) {
        assert!(bytes.starts_with(&header.encode()));
    }
}

/// Whether a frame of this type may hold bits that a receiver ignores.
fn has_ignored_bytes(frame: &Frame<'_>) -> bool {
    matches!(frame, Frame::Feedback(_) | Frame::Settings(_) | Frame::Terms(_))
}
