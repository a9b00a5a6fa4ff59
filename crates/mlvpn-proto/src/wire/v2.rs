//! Version 2: sealed packets and the frames in them. See docs/protocol-v2.md sections 2 to 4.
//!
//! | module | what it knows |
//! |---|---|
//! | [`packet`] | what kind of datagram it is; the header of a sealed packet |
//! | [`frame`] | what the body of a packet says |
//! | [`data`], [`feedback`], [`settings`], [`ack`], [`terms`] | the frames that are more than a few numbers |
//! | [`modular`] | how a number is restored of which only the low bits are sent |

pub mod ack;
pub mod data;
pub mod feedback;
pub mod frame;
pub mod modular;
pub mod packet;
mod reader;
pub mod settings;
pub mod terms;

pub use ack::AckedNumbers;
pub use data::{DATA_HEADER_LEN, DataHeader, Lane, LaneSeq, SendTime, Transit};
pub use feedback::{Feedback, Held, ReceivedRuns};
pub use frame::{CloseReason, Frame, Frames, PathStatus, Skippable, is_data_alone};
pub use packet::{
    DATA_OVERHEAD, DatagramKind, HEADER_LEN, Malformed, SealedHeader, TAG_LEN, TruncatedNumber,
};
pub use settings::{Settings, SoftwareName};
pub use terms::{Terms, TermsList};
