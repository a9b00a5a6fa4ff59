//! Tun and tap devices: IP packets or Ethernet frames from and to the kernel, in batches where the
//! system can.
//!
//! On Linux a tun device hands over super-packets of up to 64 KiB (`IFF_VNET_HDR` with TSO and
//! USO), which are split here, and takes such, which are put together here. Tap devices are opened
//! without offloads: one frame per call. One queue, because several reorder.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(target_os = "linux")]
use self::linux as os;
#[cfg(not(target_os = "linux"))]
use self::unsupported as os;

use self::coalesce::{Coalescer, Merge, Write};
use self::virtio::{HEADER_LEN, VirtioHeader};
use self::writer::Writer;

pub mod coalesce;
mod headers;
#[cfg(target_os = "linux")]
mod linux;
pub mod split;
#[cfg(not(target_os = "linux"))]
mod unsupported;
pub mod virtio;
mod writer;

#[cfg(test)]
mod flow_tests;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod namespace_tests;

/// Longest packet or frame: 64 KiB and an Ethernet header with two tags.
const MAX_PACKET: usize = 65_536 + 22;

/// What a device carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IP packets.
    Tun,
    /// Ethernet frames.
    Tap,
}

/// How to open a device.
#[derive(Clone, Debug)]
pub struct TunOptions {
    /// The device's name, up to 15 bytes; may hold `%d`. `None`: the kernel chooses.
    pub name: Option<String>,
    /// What it carries.
    pub kind: Kind,
    /// Whether to use super-packets where the device can. Only for [`Kind::Tun`].
    pub offload: bool,
    /// Packets that the kernel queues towards us before it drops; the default of Linux, 500, loses
    /// bursts. `None` leaves it alone. Best effort: needs rights in the initial user namespace.
    pub txqueuelen: Option<u32>,
}

impl Default for TunOptions {
    fn default() -> Self {
        Self { name: None, kind: Kind::Tun, offload: true, txqueuelen: Some(1000) }
    }
}

/// Room for one read of a device. Reused for every read.
#[derive(Debug)]
pub struct ReadBuf(Box<[u8]>);

impl ReadBuf {
    /// Room for the longest super-packet.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0; HEADER_LEN + MAX_PACKET].into_boxed_slice())
    }
}

impl Default for ReadBuf {
    fn default() -> Self {
        Self::new()
    }
}

/// What went through a device, counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunStats {
    /// Packets read, after splitting.
    pub packets_read: u64,
    /// Reads that were super-packets.
    pub super_packets_read: u64,
    /// Reads that made no sense and were dropped.
    pub malformed_reads: u64,
    /// Packets given to write.
    pub packets_written: u64,
    /// Super-packets that the kernel took.
    pub super_packets_written: u64,
    /// Super-packets that the kernel refused and that were written packet by packet.
    pub super_packets_refused: u64,
    /// Writes of a single packet that failed; the packet is lost.
    pub failed_writes: u64,
}

/// What a descriptor turned out to be.
struct Opened {
    name: String,
    kind: Kind,
    has_virtio_header: bool,
    merge: Merge,
}

/// A tun or tap device, non-blocking.
#[derive(Debug)]
pub struct Tun {
    writer: Writer,
    name: String,
    kind: Kind,
    coalescer: Coalescer,
    reads: ReadStats,
    packets_written: u64,
}

#[derive(Debug, Default)]
struct ReadStats {
    packets: u64,
    super_packets: u64,
    malformed: u64,
}

impl Tun {
    /// Opens a device, creating it if there is none of that name. It is created down and without
    /// addresses.
    ///
    /// # Errors
    /// `NotFound` without the tun driver, `PermissionDenied` without `CAP_NET_ADMIN`, `ResourceBusy`
    /// if another process holds the device, `InvalidInput` for an impossible name.
    pub fn open(options: &TunOptions) -> io::Result<Self> {
        Self::from_fd(os::open(options)?, options.offload)
    }

    /// Takes over a descriptor that another process opened with [`Tun::open`] and passed on. The
    /// offloads of the device are set as asked, or switched off.
    ///
    /// # Errors
    /// `InvalidInput` if it was opened with a packet information header; others if it is no tun
    /// device.
    pub fn from_fd(fd: OwnedFd, offload: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let Opened { name, kind, has_virtio_header, merge } = os::examine(fd.as_fd(), offload)?;
        Ok(Self {
            writer: Writer::new(fd, has_virtio_header),
            name,
            kind,
            coalescer: Coalescer::new(merge),
            reads: ReadStats::default(),
            packets_written: 0,
        })
    }

    /// The device's name. Renaming the device later does not show here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the device carries.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// For which protocols super-packets are written. What the device refuses later is no longer
    /// merged.
    #[must_use]
    pub fn offload(&self) -> Merge {
        self.coalescer.merge()
    }

    /// Counters since opening.
    #[must_use]
    pub fn stats(&self) -> TunStats {
        TunStats {
            packets_read: self.reads.packets,
            super_packets_read: self.reads.super_packets,
            malformed_reads: self.reads.malformed,
            packets_written: self.packets_written,
            ..self.writer.stats()
        }
    }

    /// The device's MTU in bytes, without an Ethernet header.
    ///
    /// # Errors
    /// `ENODEV` if the device is not in this network namespace (any more).
    pub fn mtu(&self) -> io::Result<u32> {
        os::mtu(&self.name)
    }

    /// Sets the MTU in bytes. Needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// `InvalidInput` outside of what the device allows (68 to 65,535), `PermissionDenied`.
    pub fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        os::set_mtu(&self.name, mtu)
    }

    /// Sets the device up. Needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// `PermissionDenied`; `ENODEV` if the device is not in this network namespace.
    pub fn set_up(&self) -> io::Result<()> {
        os::set_up(&self.name)
    }

    /// Does one read and gives the packets in it to `sink`, in order and each with complete
    /// checksums. Returns their number; zero for a malformed read, which is counted.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing to read; `NotFound` if the device was removed.
    pub fn read_packets(
        &mut self,
        buf: &mut ReadBuf,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<usize> {
        let len = rustix::io::read(self.writer.as_fd(), &mut *buf.0).map_err(os::read_error)?;
        let read = &mut buf.0[..len];
        if !self.writer.has_virtio_header {
            sink(read);
            self.reads.packets += 1;
            return Ok(1);
        }
        let header = read.first_chunk().copied().and_then(VirtioHeader::parse);
        let packets = match header {
            Some(header) => {
                self.reads.super_packets += u64::from(header.gso.is_some());
                split::split(header, &mut read[HEADER_LEN..], sink).ok()
            }
            None => None,
        };
        self.reads.malformed += u64::from(packets.is_none());
        self.reads.packets += packets.unwrap_or(0) as u64;
        Ok(packets.unwrap_or(0))
    }

    /// Takes one packet (or frame) to be written, at the latest by [`Tun::flush`]. A failed write
    /// is counted and loses its packet only; the next flush tells of the first.
    pub fn write(&mut self, packet: &[u8]) {
        self.packets_written += 1;
        if self.writer.has_virtio_header {
            self.coalescer.push(packet, &mut |item| self.writer.write(item));
        } else {
            self.writer.write(Write::Packet(packet));
        }
        self.heed_refusals();
    }

    /// Writes what is still held back; to be called at the end of each batch.
    ///
    /// # Errors
    /// The first failed write since the last flush: `EIO` while the device is down, `WouldBlock` or
    /// `ENOBUFS` if it takes no more, `EINVAL` for what is no packet.
    pub fn flush(&mut self) -> io::Result<()> {
        self.coalescer.flush(&mut |item| self.writer.write(item));
        self.heed_refusals();
        self.writer.take_failure()
    }

    /// Some kernels accept the offloads and then refuse super-packets; those of the same protocol
    /// are no longer made.
    fn heed_refusals(&mut self) {
        let (merge, refused) = (self.coalescer.merge(), self.writer.refused());
        if (merge.tcp && refused.tcp) || (merge.udp && refused.udp) {
            tracing::warn!(device = self.name, ?refused, "tun refuses super-packets");
            self.coalescer.set_merge(Merge {
                tcp: merge.tcp && !refused.tcp,
                udp: merge.udp && !refused.udp,
            });
        }
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

impl From<Tun> for OwnedFd {
    /// Gives up the descriptor, to be passed to another process. Pending packets are lost.
    fn from(tun: Tun) -> Self {
        tun.writer.into()
    }
}
