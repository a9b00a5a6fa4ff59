//! Waiting for many file descriptors and a deadline at once.
//!
//! Readiness is **level-triggered**: as long as a descriptor can be read (or written, or has an
//! error pending), every wait reports it again. A caller may therefore stop after any amount of
//! work per wakeup, its budget, and nothing is lost or starved; in turn it must ask for write
//! readiness only while it has something to write, and must fetch a reported error.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::clock::Clock;

#[cfg(target_os = "linux")]
use self::epoll as os;
#[cfg(not(target_os = "linux"))]
use self::poll as os;

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(any(test, not(target_os = "linux")))]
mod poll;

/// The caller's name for a registered descriptor. `usize::MAX` is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub usize);

/// Names the waker; not available to callers.
const WAKE: Token = Token(usize::MAX);

/// Which readiness to report. Errors and hangups are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something can be read.
    Read,
    /// Something can be written.
    Write,
    /// Either.
    ReadWrite,
}

impl Interest {
    fn wants_read(self) -> bool {
        self != Self::Write
    }

    fn wants_write(self) -> bool {
        self != Self::Read
    }
}

/// What is ready on one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The registered name.
    pub token: Token,
    /// Reading will not block.
    pub is_readable: bool,
    /// Writing will not block.
    pub is_writable: bool,
    /// An error is pending: for a UDP socket, read its error queue until it is empty.
    pub is_error: bool,
    /// The other end is gone.
    pub is_hangup: bool,
}

/// Waits for descriptors, a [`Waker`] and a deadline.
#[derive(Debug)]
pub struct Poller {
    inner: os::Poller,
    clock: Clock,
    waker: Waker,
}

impl Poller {
    /// Events that one wait returns at most; what is left is returned by the next.
    pub const MAX_EVENTS: usize = 64;

    /// A poller whose deadlines are readings of `clock`.
    ///
    /// # Errors
    /// Those of creating two descriptors.
    pub fn new(clock: Clock) -> io::Result<Self> {
        let mut inner = os::Poller::new()?;
        let waker = Waker { signal: Arc::new(os::Signal::new()?) };
        inner.add(waker.signal.as_fd(), WAKE, Interest::Read)?;
        Ok(Self { inner, clock, waker })
    }

    /// Reports readiness of `fd` as `token` from now on. Remove it before closing it.
    ///
    /// # Errors
    /// `AlreadyExists` if it is registered already; `InvalidInput` for the reserved token.
    pub fn add(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        reject_reserved(token)?;
        self.inner.add(fd.as_fd(), token, interest)
    }

    /// Changes what is reported of a registered descriptor.
    ///
    /// # Errors
    /// `NotFound` if it is not registered; `InvalidInput` for the reserved token.
    pub fn modify(&mut self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        reject_reserved(token)?;
        self.inner.modify(fd.as_fd(), token, interest)
    }

    /// Forgets a descriptor.
    ///
    /// # Errors
    /// `NotFound` if it is not registered.
    pub fn remove(&mut self, fd: impl AsFd) -> io::Result<()> {
        self.inner.remove(fd.as_fd())
    }

    /// Blocks until something is ready, the waker is used or the clock reaches `deadline` (its
    /// microseconds; `None` waits forever; a deadline in the past only looks). Replaces the content
    /// of `events`. Returns whether the waker was used; several wakes may count as one. A signal
    /// ends the wait early, without events. On Linux the deadline is met to the timer slack of the
    /// thread (50 us by default), elsewhere to the next millisecond; never early.
    ///
    /// # Errors
    /// Those of the system's call, which mean a mistake in using it.
    pub fn wait(&mut self, events: &mut Vec<Event>, deadline: Option<u64>) -> io::Result<bool> {
        events.clear();
        let timeout_us = deadline.map(|at| at.saturating_sub(self.clock.now_us()));
        match self.inner.wait(events, timeout_us) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(false),
            other => other?,
        }
        let before = events.len();
        events.retain(|event| event.token != WAKE);
        let was_woken = events.len() < before;
        if was_woken {
            self.waker.signal.clear();
        }
        Ok(was_woken)
    }

    /// A handle with which any thread can end the current or the next wait.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// Ends a wait of its [`Poller`] from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    signal: Arc<os::Signal>,
}

impl Waker {
    /// Makes the current wait, or else the next one, return at once.
    pub fn wake(&self) {
        self.signal.raise();
    }
}

fn reject_reserved(token: Token) -> io::Result<()> {
    if token == WAKE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "token usize::MAX is reserved"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn poller() -> (Poller, Clock) {
        let clock = Clock::new();
        (Poller::new(clock).unwrap(), clock)
    }

    #[test]
    fn a_deadline_is_never_early() {
        let (mut poller, clock) = poller();
        let mut events = Vec::new();
        for wait_us in [0, 1, 100, 700, 2_300] {
            let deadline = clock.now_us() + wait_us;
            assert!(!poller.wait(&mut events, Some(deadline)).unwrap());
            assert!(clock.now_us() >= deadline, "woke before the deadline of {wait_us} us");
            assert!(events.is_empty());
        }
        assert!(!poller.wait(&mut events, Some(0)).unwrap());
    }

    #[test]
    fn readiness_is_reported_until_it_is_used_up() {
        let (mut poller, _) = poller();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        poller.add(&near, Token(7), Interest::Read).unwrap();
        far.write_all(b"x").unwrap();
        let mut events = Vec::new();
        for _ in 0..3 {
            poller.wait(&mut events, None).unwrap();
            assert_eq!(events.len(), 1);
            assert!(events[0].token == Token(7) && events[0].is_readable && !events[0].is_writable);
        }
        io::Read::read_exact(&mut near, &mut [0]).unwrap();
        poller.wait(&mut events, Some(0)).unwrap();
        assert!(events.is_empty());
    }

    #[test]
    fn interest_can_change_and_end() {
        let (mut poller, _) = poller();
        let (near, far) = UnixStream::pair().unwrap();
        let mut events = Vec::new();
        poller.add(&near, Token(1), Interest::Read).unwrap();
        assert_eq!(
            poller.add(&near, Token(1), Interest::Read).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        poller.modify(&near, Token(2), Interest::ReadWrite).unwrap();
        poller.wait(&mut events, None).unwrap();
        assert!(events[0].token == Token(2) && events[0].is_writable);
        drop(far);
        poller.wait(&mut events, None).unwrap();
        assert!(events[0].is_hangup);
        poller.remove(&near).unwrap();
        poller.wait(&mut events, Some(0)).unwrap();
        assert!(events.is_empty());
        assert_eq!(poller.remove(&near).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(poller.add(&near, Token(usize::MAX), Interest::Read).is_err());
    }

    #[test]
    fn another_thread_ends_an_endless_wait_and_the_wake_is_used_up() {
        let (mut poller, _) = poller();
        let waker = poller.waker();
        let thread = std::thread::spawn(move || waker.wake());
        let mut events = Vec::new();
        assert!(poller.wait(&mut events, None).unwrap());
        thread.join().unwrap();
        assert!(!poller.wait(&mut events, Some(0)).unwrap());
    }
}
