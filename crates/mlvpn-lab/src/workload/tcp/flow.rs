//! The two ends of one connection.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::Socket;

use super::{FlowReport, Shared};
use crate::workload::{Content, is_pause};

/// Bytes per call: enough that the calls cost little.
const CHUNK: usize = 128 * 1024;

/// Sends the stream of `seed` until the time is over, then closes without waiting for the peer.
pub(super) fn send(mut socket: &Socket, seed: u64, shared: &Shared) -> Result<()> {
    close_by_reset(socket)?;
    let mut content = Content::new(seed);
    let mut buffer = vec![0; CHUNK];
    while !shared.is_over() {
        content.fill(&mut buffer);
        match socket.write(&buffer) {
            Ok(sent) => content.unfill((buffer.len() - sent) as u64),
            Err(error) if is_pause(&error) => content.unfill(buffer.len() as u64),
            // The receiver stops by its own reading of the clock, perhaps a moment earlier.
            Err(_) if shared.is_over() => break,
            Err(error) => return Err(error).context("a sending connection broke"),
        }
    }
    Ok(())
}

/// Receives and verifies the stream of `seed` until the time is over.
pub(super) fn receive(mut socket: &Socket, seed: u64, shared: &Shared) -> Result<FlowReport> {
    close_by_reset(socket)?;
    let mut content = Content::new(seed);
    let mut buffer = vec![0; CHUNK];
    let mut report = FlowReport::default();
    let mut last = Duration::ZERO;
    let mut longest = Duration::ZERO;
    while !shared.is_over() {
        let received = match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(received) => received,
            Err(error) if is_pause(&error) => continue,
            Err(_) if shared.is_over() => break,
            Err(error) => return Err(error).context("a receiving connection broke"),
        };
        let at = shared.elapsed();
        longest = longest.max(at.saturating_sub(last));
        last = at;
        shared.recorder.add(received as u64, at);
        report.bytes += received as u64;
        report.wrong_bytes += content.verify(&mut buffer[..received]);
    }
    longest = longest.max(shared.elapsed().saturating_sub(last));
    report.longest_silence_ms = longest.as_secs_f64() * 1e3;
    Ok(report)
}

/// What is still queued would keep a slow link busy long after the end, and a connection that still
/// waits for its peer would keep its host from disappearing. A reset discards both.
fn close_by_reset(socket: &Socket) -> Result<()> {
    socket.set_linger(Some(Duration::ZERO)).context("cannot set how a connection closes")
}
