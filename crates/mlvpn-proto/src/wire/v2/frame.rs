//! The frames of a packet's body (section 4).

use super::ack::AckedNumbers;
use super::data::{DATA_HEADER_LEN, DataHeader, Lane, LaneSeq, lane_word, split_lane_word};
use super::feedback::Feedback;
use super::packet::TruncatedNumber;
use super::reader::Reader;
use super::settings::Settings;
use super::terms::{TERMS, Terms};
use crate::id::PathId;

const PADDING: u8 = 0x00;
pub(super) const DATA: u8 = 0x01;
const PING: u8 = 0x02;
const FEEDBACK: u8 = 0x03;
const PATH_CHALLENGE: u8 = 0x04;
const PATH_RESPONSE: u8 = 0x05;
const PATH_STATUS: u8 = 0x06;
const MTU_PROBE: u8 = 0x07;
const MTU_ACK: u8 = 0x08;
const SKIP: u8 = 0x09;
const SETTINGS: u8 = 0x0A;
const ACK: u8 = 0x0B;
const CLOSE: u8 = 0x0C;
const SKIPPABLE_FIRST: u8 = 0x40;
const SKIPPABLE_LAST: u8 = 0x7F;

/// One frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// So many PADDING frames in a row, at least one.
    Padding(usize),
    /// An IP packet, or an Ethernet frame: the last frame of its packet `[F1]`.
    Data(DataHeader, &'a [u8]),
    /// Asks for an acknowledgement.
    Ping,
    /// What the sender received on a path.
    Feedback(Feedback),
    /// Asks for a [`Frame::PathResponse`] with the same bytes.
    PathChallenge {
        /// The path that is to be validated.
        path: PathId,
        /// Unpredictable bytes.
        token: [u8; 8],
    },
    /// Answers a [`Frame::PathChallenge`].
    PathResponse {
        /// The path of the challenge.
        path: PathId,
        /// The bytes of the challenge.
        token: [u8; 8],
    },
    /// What the sender wants a path to be used for.
    PathStatus {
        /// Which path.
        path: PathId,
        /// Counts the changes: the highest counts.
        sequence: u16,
        /// What for.
        status: PathStatus,
    },
    /// Finds out whether a packet of this size arrives; padding follows.
    MtuProbe {
        /// Which probe.
        probe: u16,
    },
    /// Answers a [`Frame::MtuProbe`] `[Z7]`.
    MtuAck {
        /// The path on which the probe came.
        path: PathId,
        /// Which probe.
        probe: u16,
        /// Bytes of UDP payload of the packet in which it came.
        size: u16,
    },
    /// Packets of a lane that will not come any more.
    Skip {
        /// The lane.
        lane: Lane,
        /// The number of the first of them.
        first: LaneSeq,
        /// How many there are.
        count: u16,
    },
    /// What the sender tells of itself.
    Settings(Settings<'a>),
    /// Packets of a path that were received.
    Ack {
        /// The path.
        path: PathId,
        /// Their numbers.
        numbers: AckedNumbers<'a>,
    },
    /// The session ends.
    Close(CloseReason),
    /// What the sender wants the paths used for.
    Terms(Terms<'a>),
    /// A frame of an unknown type that may be ignored `[F2]`.
    Skippable(Skippable<'a>),
}

impl<'a> Frame<'a> {
    /// Appends the frame's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Padding(len) => out.resize(out.len() + len, PADDING),
            Self::Data(header, packet) => put(out, &[&header.encode(), packet]),
            Self::Ping => out.push(PING),
            Self::Feedback(feedback) => {
                out.push(FEEDBACK);
                feedback.write(out);
            }
            Self::PathChallenge { path, token } => {
                put(out, &[&[PATH_CHALLENGE, path.number()], &token]);
            }
            Self::PathResponse { path, token } => {
                put(out, &[&[PATH_RESPONSE, path.number()], &token]);
            }
            Self::PathStatus { path, sequence, status } => {
                put(
                    out,
                    &[&[PATH_STATUS, path.number()], &sequence.to_be_bytes(), &[status as u8]],
                );
            }
            Self::MtuProbe { probe } => put(out, &[&[MTU_PROBE], &probe.to_be_bytes()]),
            Self::MtuAck { path, probe, size } => {
                let head = [MTU_ACK, path.number()];
                put(out, &[&head, &probe.to_be_bytes(), &size.to_be_bytes()]);
            }
            Self::Skip { lane, first, count } => {
                let word = lane_word(lane, first).to_be_bytes();
                put(out, &[&[SKIP], &word, &count.to_be_bytes()]);
            }
            Self::Settings(settings) => {
                out.push(SETTINGS);
                settings.write(out);
            }
            Self::Ack { path, numbers } => {
                put(out, &[&[ACK, path.number(), numbers.len() as u8]]);
                numbers.iter().for_each(|number| out.extend_from_slice(&number.0.to_be_bytes()));
            }
            Self::Close(reason) => put(out, &[&[CLOSE, reason.code()]]),
            Self::Terms(terms) => {
                out.push(TERMS);
                terms.write(out);
            }
            Self::Skippable(Skippable { kind, content }) => {
                put(out, &[&[kind], &(content.len() as u16).to_be_bytes(), content]);
            }
        }
    }

    /// Whether an ACK frame answers the packet that holds the frame, and the frame is sent again until
    /// one does `[F4]`.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::PathStatus { .. } | Self::Settings(_) | Self::Terms(_))
    }

    /// Whether the receiver is to send FEEDBACK for the packet that holds the frame `[F8]` `[F12]`: answers
    /// to answers would go on for ever.
    #[must_use]
    pub fn is_eliciting(&self) -> bool {
        !matches!(
            self,
            Self::Padding(_)
                | Self::Feedback(_)
                | Self::Ack { .. }
                | Self::MtuProbe { .. }
                | Self::MtuAck { .. }
                | Self::PathChallenge { .. }
                | Self::PathResponse { .. }
                | Self::Close(_)
                | Self::Skippable(_)
        )
    }

    /// Reads one frame; nothing when it is of an unknown type, ends early `[F3]` or says what is
    /// not possible.
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        Some(match reader.u8()? {
            PADDING => {
                let more = reader.0.iter().take_while(|byte| **byte == PADDING).count();
                reader.bytes(more)?;
                Self::Padding(1 + more)
            }
            DATA => {
                let header = DataHeader::read(reader)?;
                Self::Data(header, reader.bytes(reader.0.len())?)
            }
            PING => Self::Ping,
            FEEDBACK => Self::Feedback(Feedback::read(reader)?),
            PATH_CHALLENGE => Self::PathChallenge { path: reader.path()?, token: reader.array()? },
            PATH_RESPONSE => Self::PathResponse { path: reader.path()?, token: reader.array()? },
            PATH_STATUS => Self::PathStatus {
                path: reader.path()?,
                sequence: reader.u16()?,
                status: PathStatus::from_code(reader.u8()?)?,
            },
            MTU_PROBE => Self::MtuProbe { probe: reader.u16()? },
            MTU_ACK => {
                Self::MtuAck { path: reader.path()?, probe: reader.u16()?, size: reader.u16()? }
            }
            SKIP => {
                let (lane, first) = split_lane_word(reader.u32()?);
                Self::Skip { lane, first, count: reader.u16()? }
            }
            SETTINGS => Self::Settings(Settings::read(reader)?),
            ACK => {
                let (path, count) = (reader.path()?, reader.u8()?);
                let numbers = reader.bytes(usize::from(count) * size_of::<TruncatedNumber>())?;
                Self::Ack { path, numbers: AckedNumbers::from_bytes(numbers) }
            }
            CLOSE => Self::Close(CloseReason::from_code(reader.u8()?)),
            kind @ SKIPPABLE_FIRST..=SKIPPABLE_LAST => {
                let len = reader.u16()?;
                let content = reader.bytes(usize::from(len))?;
                let terms = Some(content).filter(|_| kind == TERMS).and_then(Terms::read);
                terms.map_or(Self::Skippable(Skippable { kind, content }), Self::Terms)
            }
            _ => return None,
        })
    }
}

/// Reads the frames of a body one after the other, up to its end or to the first one that cannot be
/// understood. Those before it count `[F2]`.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: Reader<'a>,
    is_stopped: bool,
}

impl<'a> Frames<'a> {
    /// The frames of `body`, which was authenticated.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: Reader(body), is_stopped: false }
    }

    /// Whether a frame was met that could not be understood. What follows it is not read.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.is_stopped || self.rest.0.is_empty() {
            return None;
        }
        let frame = Frame::read(&mut self.rest);
        self.is_stopped = frame.is_none();
        frame
    }
}

impl core::iter::FusedIterator for Frames<'_> {}

/// Whether `body` holds a DATA frame and nothing else: what may be sent in clear `[S6]`.
#[must_use]
pub fn is_data_alone(body: &[u8]) -> bool {
    body.first() == Some(&DATA) && body.len() >= DATA_HEADER_LEN
}

/// What a path is to be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathStatus {
    /// For anything.
    Available = 0,
    /// For data only when no available path is up.
    Backup = 1,
    /// For nothing: it is not there any more.
    Gone = 2,
}

impl PathStatus {
    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Available,
            1 => Self::Backup,
            2 => Self::Gone,
            _ => return None,
        })
    }
}

/// Why a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The sender shuts down.
    ShuttingDown,
    /// Its configuration was changed.
    ConfigurationChanged,
    /// It has no packet numbers left on a path.
    OutOfPacketNumbers,
    /// Another session takes the place of this one.
    Replaced,
    /// A reason that this version does not know: 4 or more.
    Other(u8),
}

impl CloseReason {
    fn code(self) -> u8 {
        match self {
            Self::ShuttingDown => 0,
            Self::ConfigurationChanged => 1,
            Self::OutOfPacketNumbers => 2,
            Self::Replaced => 3,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::ShuttingDown,
            1 => Self::ConfigurationChanged,
            2 => Self::OutOfPacketNumbers,
            3 => Self::Replaced,
            _ => Self::Other(code),
        }
    }
}

/// A frame of a type from 0x40 to 0x7F that this version does not know, or whose content it does not understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skippable<'a> {
    kind: u8,
    content: &'a [u8],
}

impl<'a> Skippable<'a> {
    /// A frame of type `kind`; none when that type is not skippable or there are more than 65,535
    /// bytes of content.
    #[must_use]
    pub fn new(kind: u8, content: &'a [u8]) -> Option<Self> {
        let is_possible = (SKIPPABLE_FIRST..=SKIPPABLE_LAST).contains(&kind)
            && content.len() <= usize::from(u16::MAX);
        is_possible.then_some(Self { kind, content })
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// Its content.
    #[must_use]
    pub fn content(&self) -> &'a [u8] {
        self.content
    }
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
