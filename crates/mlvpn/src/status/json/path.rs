//! A link as version 2 sees it.

use serde::Serialize;

use super::millis;
use crate::status::PathStatus;

#[derive(Serialize)]
pub(super) struct Path {
    id: u8,
    state: &'static str,
    capacity: u64,
    rate_state: &'static str,
    queue_delay_ms: f64,
    min_rtt_ms: Option<f64>,
    loss_ratio: f64,
    received_loss_ratio: f64,
    delivery_rate: Option<u64>,
    in_flight_bytes: u64,
    resent_packets: u64,
    resent_bytes: u64,
    mtu: u16,
}

impl From<&PathStatus> for Path {
    fn from(path: &PathStatus) -> Self {
        Self {
            id: path.id,
            state: path.state.as_str(),
            capacity: path.capacity,
            rate_state: path.rate_state.as_str(),
            queue_delay_ms: millis(path.queue_delay),
            min_rtt_ms: path.min_rtt.map(millis),
            loss_ratio: path.loss_ratio,
            received_loss_ratio: path.received_loss_ratio,
            delivery_rate: path.delivery_rate,
            in_flight_bytes: path.in_flight_bytes,
            resent_packets: path.resent_packets,
            resent_bytes: path.resent_bytes,
            mtu: path.mtu,
        }
    }
}
