//! Writes to a tun descriptor, and what to do when the kernel refuses a super-packet.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::TunStats;
use super::coalesce::{Merge, Write};
use super::split::split;
use super::virtio::{Gso, HEADER_LEN, VirtioHeader};

/// The descriptor, and the outcomes of writing to it.
#[derive(Debug)]
pub(super) struct Writer {
    fd: OwnedFd,
    pub(super) has_virtio_header: bool,
    super_packets: u64,
    refused_super_packets: u64,
    failed: u64,
    refused: Merge,
    failure: Option<io::Error>,
}

impl Writer {
    pub(super) fn new(fd: OwnedFd, has_virtio_header: bool) -> Self {
        Self {
            fd,
            has_virtio_header,
            super_packets: 0,
            refused_super_packets: 0,
            failed: 0,
            refused: Merge::default(),
            failure: None,
        }
    }

    /// Writes an item; a refused super-packet goes out packet by packet.
    pub(super) fn write(&mut self, item: Write<'_>) {
        match item {
            Write::Packet(packet) => self.write_packet(packet),
            Write::Super(bytes) => self.write_super(bytes),
        }
    }

    /// The first failure since the last call.
    pub(super) fn take_failure(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// The protocols of which super-packets were refused.
    pub(super) fn refused(&self) -> Merge {
        self.refused
    }

    /// The counters of writing; those of reading are zero.
    pub(super) fn stats(&self) -> TunStats {
        TunStats {
            super_packets_written: self.super_packets,
            super_packets_refused: self.refused_super_packets,
            failed_writes: self.failed,
            ..TunStats::default()
        }
    }

    fn write_packet(&mut self, packet: &[u8]) {
        let bare_header = [0; HEADER_LEN];
        let parts = [IoSlice::new(&bare_header), IoSlice::new(packet)];
        let parts = if self.has_virtio_header { &parts[..] } else { &parts[1..] };
        if let Err(error) = retry_interrupted(|| rustix::io::writev(&self.fd, parts)) {
            self.failed += 1;
            self.failure.get_or_insert(error);
        }
    }

    fn write_super(&mut self, bytes: &mut [u8]) {
        match retry_interrupted(|| rustix::io::write(&self.fd, bytes)) {
            Ok(_) => self.super_packets += 1,
            Err(_) => self.write_apart(bytes),
        }
    }

    /// Whatever the reason of the failure was: if it concerns the packets too, they will tell. Only
    /// if they are taken was it the super-packet that was refused.
    fn write_apart(&mut self, bytes: &mut [u8]) {
        let Some((header, packet)) = bytes.split_first_chunk_mut::<HEADER_LEN>() else { return };
        let Some(header) = VirtioHeader::parse(*header) else { return };
        let failed_before = self.failed;
        let split = split(header, packet, &mut |one| self.write_packet(one));
        debug_assert!(
            split.is_ok(),
            "super-packets are built here, so they can be split: {split:?}"
        );
        if self.failed > failed_before {
            return;
        }
        self.refused_super_packets += 1;
        match header.gso {
            Some((Gso::Udp, _)) => self.refused.udp = true,
            Some(_) => self.refused.tcp = true,
            None => {}
        }
    }
}

impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Writer> for OwnedFd {
    fn from(writer: Writer) -> Self {
        writer.fd
    }
}

fn retry_interrupted(
    mut write: impl FnMut() -> rustix::io::Result<usize>,
) -> Result<usize, io::Error> {
    loop {
        match write() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
