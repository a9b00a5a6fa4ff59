//! The poller on Linux: epoll, with a timeout in nanoseconds where the kernel has it (5.11).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::{Event, Interest, Token};

#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    has_pwait2: bool,
}

/// `struct __kernel_timespec`, 64-bit on every architecture.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, has_pwait2: true })
    }

    pub(super) fn add(
        &mut self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, data(token), flags(interest))?)
    }

    pub(super) fn modify(
        &mut self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, data(token), flags(interest))?)
    }

    pub(super) fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    pub(super) fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout_us: Option<u64>,
    ) -> io::Result<()> {
        let mut ready = [libc::epoll_event { events: 0, u64: 0 }; super::Poller::MAX_EVENTS];
        let mut result = self.wait_raw(&mut ready, timeout_us);
        if self.has_pwait2 && is_unsupported(&result) {
            self.has_pwait2 = false;
            result = self.wait_raw(&mut ready, timeout_us);
        }
        events.extend(ready[..result?].iter().map(from_raw));
        Ok(())
    }

    fn wait_raw(
        &self,
        ready: &mut [libc::epoll_event],
        timeout_us: Option<u64>,
    ) -> io::Result<usize> {
        if self.has_pwait2 {
            self.pwait2(ready, timeout_us)
        } else {
            self.wait_ms(ready, timeout_us)
        }
    }

    fn pwait2(
        &self,
        ready: &mut [libc::epoll_event],
        timeout_us: Option<u64>,
    ) -> io::Result<usize> {
        let timeout = timeout_us.map(|us| KernelTimespec {
            seconds: i64::try_from(us / 1_000_000).unwrap_or(i64::MAX),
            nanoseconds: (us % 1_000_000 * 1000) as i64,
        });
        let timeout_ptr = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `ready` is writable for its length, the timeout is null or lives until the call
        // returns, and the null signal mask changes no mask.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                ready.as_mut_ptr(),
                ready.len() as libc::c_int,
                timeout_ptr,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn wait_ms(
        &self,
        ready: &mut [libc::epoll_event],
        timeout_us: Option<u64>,
    ) -> io::Result<usize> {
        // Rounded up: a deadline must not be early.
        let timeout_ms = timeout_us
            .map_or(-1, |us| libc::c_int::try_from(us.div_ceil(1000)).unwrap_or(libc::c_int::MAX));
        // SAFETY: `ready` is writable for its length.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                ready.as_mut_ptr(),
                ready.len() as libc::c_int,
                timeout_ms,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

/// An eventfd that a waker raises.
#[derive(Debug)]
pub(super) struct Signal(OwnedFd);

impl Signal {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn raise(&self) {
        // Fails only if the counter is full, and then it is raised.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(super) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

/// ENOSYS from an old kernel, EPERM from a sandbox that does not know the call.
fn is_unsupported(result: &io::Result<usize>) -> bool {
    let code = result.as_ref().err().and_then(io::Error::raw_os_error);
    code == Some(libc::ENOSYS) || code == Some(libc::EPERM)
}

fn data(token: Token) -> epoll::EventData {
    epoll::EventData::new_u64(token.0 as u64)
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    if interest.wants_read() {
        flags |= epoll::EventFlags::IN;
    }
    if interest.wants_write() {
        flags |= epoll::EventFlags::OUT;
    }
    flags
}

fn from_raw(raw: &libc::epoll_event) -> Event {
    let bits = raw.events;
    Event {
        token: Token(raw.u64 as usize),
        is_readable: bits & libc::EPOLLIN as u32 != 0,
        is_writable: bits & libc::EPOLLOUT as u32 != 0,
        is_error: bits & libc::EPOLLERR as u32 != 0,
        is_hangup: bits & libc::EPOLLHUP as u32 != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_pwait2_is_waited_on_in_milliseconds_never_early() {
        let clock = crate::clock::Clock::new();
        let mut poller = Poller { has_pwait2: false, ..Poller::new().unwrap() };
        let signal = Signal::new().unwrap();
        poller.add(signal.as_fd(), Token(3), Interest::Read).unwrap();
        let mut events = Vec::new();
        let start = clock.now_us();
        poller.wait(&mut events, Some(1_200)).unwrap();
        assert!(events.is_empty() && clock.now_us() - start >= 1_200);
        signal.raise();
        poller.wait(&mut events, None).unwrap();
        assert_eq!(events[0].token, Token(3));
    }
}
