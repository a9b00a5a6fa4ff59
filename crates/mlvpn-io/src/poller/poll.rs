//! The poller where there is no epoll: poll(2), level-triggered everywhere.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Event, Interest, Token};

#[derive(Debug)]
pub(super) struct Poller {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// A duplicate, so that the entry cannot outlive what it refers to.
    fd: OwnedFd,
    number: i32,
    token: Token,
    interest: Interest,
}

impl Poller {
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as the other pollers")]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { entries: Vec::new() })
    }

    pub(super) fn add(
        &mut self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        if self.position(fd).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = fd.as_raw_fd();
        self.entries.push(Entry { fd: fd.try_clone_to_owned()?, number, token, interest });
        Ok(())
    }

    pub(super) fn modify(
        &mut self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        let at = self.position(fd)?;
        self.entries[at].token = token;
        self.entries[at].interest = interest;
        Ok(())
    }

    pub(super) fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let at = self.position(fd)?;
        self.entries.swap_remove(at);
        Ok(())
    }

    pub(super) fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout_us: Option<u64>,
    ) -> io::Result<()> {
        // poll(2) has milliseconds; rounded up, because a deadline must not be early.
        let timeout = timeout_us.map(|us| {
            let ms = us.div_ceil(1000).min(i32::MAX as u64);
            Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as _ }
        });
        let mut fds: Vec<PollFd<'_>> =
            self.entries.iter().map(|e| PollFd::new(&e.fd, flags(e.interest))).collect();
        poll(&mut fds, timeout.as_ref())?;
        let ready = fds.iter().zip(&self.entries).filter(|(fd, _)| !fd.revents().is_empty());
        events.extend(
            ready
                .map(|(fd, entry)| Event {
                    token: entry.token,
                    is_readable: fd.revents().contains(PollFlags::IN),
                    is_writable: fd.revents().contains(PollFlags::OUT),
                    is_error: fd.revents().contains(PollFlags::ERR),
                    is_hangup: fd.revents().contains(PollFlags::HUP),
                })
                .take(super::Poller::MAX_EVENTS),
        );
        // What did not fit this time comes first the next time.
        if events.len() == super::Poller::MAX_EVENTS {
            self.entries.rotate_left(super::Poller::MAX_EVENTS);
        }
        Ok(())
    }

    fn position(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let number = fd.as_raw_fd();
        let found = self.entries.iter().position(|e| e.number == number);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A pipe that a waker writes to.
#[derive(Debug)]
pub(super) struct Signal {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Signal {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe()?;
        for fd in [&reader, &writer] {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Self { reader, writer })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    pub(super) fn raise(&self) {
        // Fails only if the pipe is full, and then it is raised.
        let _ = rustix::io::write(&self.writer, &[1]);
    }

    pub(super) fn clear(&self) {
        while matches!(rustix::io::read(&self.reader, &mut [0_u8; 64]), Ok(64)) {}
    }
}

fn flags(interest: Interest) -> PollFlags {
    let mut flags = PollFlags::empty();
    if interest.wants_read() {
        flags |= PollFlags::IN;
    }
    if interest.wants_write() {
        flags |= PollFlags::OUT;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_levels_by_token_and_waits_long_enough() {
        let clock = crate::clock::Clock::new();
        let mut poller = Poller::new().unwrap();
        let (quiet, loud) = (Signal::new().unwrap(), Signal::new().unwrap());
        poller.add(quiet.as_fd(), Token(1), Interest::Read).unwrap();
        poller.add(loud.as_fd(), Token(2), Interest::Read).unwrap();
        assert!(poller.add(loud.as_fd(), Token(2), Interest::Read).is_err());
        loud.raise();
        for _ in 0..2 {
            let mut events = Vec::new();
            poller.wait(&mut events, None).unwrap();
            assert_eq!(events.iter().map(|e| e.token).collect::<Vec<_>>(), [Token(2)]);
        }
        loud.clear();
        poller.modify(quiet.as_fd(), Token(9), Interest::ReadWrite).unwrap();
        poller.remove(loud.as_fd()).unwrap();
        assert!(poller.remove(loud.as_fd()).is_err());
        quiet.raise();
        let mut events = Vec::new();
        poller.wait(&mut events, None).unwrap();
        assert_eq!(events.iter().map(|e| e.token).collect::<Vec<_>>(), [Token(9)]);
        quiet.clear();
        let (mut events, start) = (Vec::new(), clock.now_us());
        poller.wait(&mut events, Some(1_100)).unwrap();
        assert!(events.is_empty() && clock.now_us() - start >= 1_100);
    }

    #[test]
    fn more_ready_descriptors_than_fit_take_turns() {
        let mut poller = Poller::new().unwrap();
        let signals: Vec<_> = (0..80).map(|_| Signal::new().unwrap()).collect();
        for (n, signal) in signals.iter().enumerate() {
            poller.add(signal.as_fd(), Token(n), Interest::Read).unwrap();
            signal.raise();
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2 {
            let mut events = Vec::new();
            poller.wait(&mut events, None).unwrap();
            seen.extend(events.iter().map(|e| e.token));
        }
        assert_eq!(seen.len(), 80);
    }
}
