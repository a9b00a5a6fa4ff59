//! Messages with file descriptors between two processes, over a pair of unix sockets that keep the
//! bounds of messages.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

/// Longest message in bytes.
pub const MAX_MESSAGE: usize = 65_536;

/// Most descriptors in a message.
pub const MAX_FDS: usize = 16;

/// macOS has no sequenced packets for unix sockets; its datagrams are as reliable.
#[cfg(not(target_os = "macos"))]
const TYPE: SocketType = SocketType::SEQPACKET;
#[cfg(target_os = "macos")]
const TYPE: SocketType = SocketType::DGRAM;

/// One end of a pair.
#[derive(Debug)]
pub struct Channel {
    fd: OwnedFd,
}

impl Channel {
    /// Two connected ends, blocking and close-on-exec.
    ///
    /// # Errors
    /// Those of creating sockets.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, two) = socketpair(AddressFamily::UNIX, TYPE, SocketFlags::CLOEXEC, None)?;
        for fd in [&one, &two] {
            // Room for a longest message whatever the system's default; what it cannot have, it
            // does without.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(fd, 4 * MAX_MESSAGE);
        }
        Ok((Self { fd: one }, Self { fd: two }))
    }

    /// An end that another process handed over, as an inherited descriptor for instance.
    ///
    /// # Errors
    /// If it is no socket, or one of another kind.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        if rustix::net::sockopt::socket_type(&fd)? != TYPE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a socket of messages"));
        }
        Ok(Self { fd })
    }

    /// Whether sending and receiving wait.
    ///
    /// # Errors
    /// None on a socket.
    pub fn set_nonblocking(&self, is_nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.fd, is_nonblocking)?)
    }

    /// Sends one message. The descriptors are duplicated: the caller keeps its own.
    ///
    /// # Errors
    /// `InvalidInput` for no bytes, or more than [`MAX_MESSAGE`] bytes or [`MAX_FDS`] descriptors;
    /// `WouldBlock`; `BrokenPipe` or `ConnectionReset` once the other end is closed.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > MAX_MESSAGE || fds.len() > MAX_FDS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a message of {} bytes and {} descriptors", bytes.len(), fds.len()),
            ));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            let has_room = ancillary.push(SendAncillaryMessage::ScmRights(fds));
            debug_assert!(has_room, "the space is for MAX_FDS");
        }
        let sent = retry_interrupted(|| {
            sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)
        })?;
        debug_assert_eq!(sent, bytes.len(), "messages are sent whole");
        Ok(())
    }

    /// Receives one message and the descriptors sent with it, which are close-on-exec; `None` once
    /// the other end is closed.
    ///
    /// # Errors
    /// `WouldBlock`; `InvalidData` for a message that is too long or has too many descriptors,
    /// which is lost then; `ConnectionReset` if the other end closed without reading all.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = retry_interrupted(|| {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            recvmsg(&self.fd, &mut parts, &mut ancillary, RECV_FLAGS)
        })?;
        let mut fds = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        #[cfg(not(target_os = "linux"))]
        for fd in &fds {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an oversized message"));
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        bytes.truncate(received.bytes);
        Ok(Some((bytes, fds)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.fd
    }
}

#[cfg(target_os = "linux")]
const RECV_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECV_FLAGS: RecvFlags = RecvFlags::empty();

fn retry_interrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_carry_descriptors() {
        let (one, two) = Channel::pair().unwrap();
        let (mut reader, mut writer) = io::pipe().unwrap();
        one.send(b"first", &[writer.as_fd(), one.as_fd()]).unwrap();
        one.send(&vec![7; MAX_MESSAGE], &[]).unwrap();
        let first = two.receive().unwrap().unwrap();
        assert_eq!((first.0.as_slice(), first.1.len()), (&b"first"[..], 2));
        for fd in &first.1 {
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        let mut passed = File::from(first.1.into_iter().next().unwrap());
        passed.write_all(b"p").unwrap();
        writer.write_all(b"w").unwrap();
        drop((passed, writer));
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "pw");
        let second = two.receive().unwrap().unwrap();
        assert!(second.0 == vec![7; MAX_MESSAGE] && second.1.is_empty());
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let (one, two) = Channel::pair().unwrap();
        for bytes in [0, MAX_MESSAGE + 1] {
            let error = one.send(&vec![0; bytes], &[]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let fds = [one.as_fd(); MAX_FDS + 1];
        assert_eq!(one.send(b"x", &fds).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        one.send(b"x", &fds[..MAX_FDS]).unwrap();
        assert_eq!(two.receive().unwrap().unwrap().1.len(), MAX_FDS);
        // A peer that does not keep to them.
        rustix::net::send(&one.fd, &vec![0; MAX_MESSAGE + 1], SendFlags::empty()).unwrap();
        one.send(b"next", &[]).unwrap();
        assert_eq!(two.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(two.receive().unwrap().unwrap().0, b"next");
    }

    #[test]
    fn an_empty_channel_would_block_and_a_closed_one_ends() {
        let (one, two) = Channel::pair().unwrap();
        let two = Channel::from_fd(OwnedFd::from(two)).unwrap();
        assert!(Channel::from_fd(io::pipe().unwrap().0.into()).is_err());
        two.set_nonblocking(true).unwrap();
        assert_eq!(two.receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        one.send(b"last", &[]).unwrap();
        drop(one);
        assert_eq!(two.receive().unwrap().unwrap().0, b"last");
        assert!(two.receive().unwrap().is_none());
        assert_eq!(two.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
