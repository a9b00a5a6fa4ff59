//! Events to the local syslog daemon, as RFC 3164 has them and local daemons expect them: priority,
//! ident, process id, text; no time and no host, which the daemon adds.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Facility "system daemons" (RFC 3164, section 4.1.1), shifted into its place.
const LOG_DAEMON: u8 = 3 << 3;

/// Where daemons listen: Linux and BSD; macOS.
const PATHS: [&str; 2] = ["/dev/log", "/var/run/syslog"];

/// Longest datagram; RFC 3164 asks for no more than 1024, local daemons take more.
const MAX_DATAGRAM: usize = 2048;

/// A socket to the syslog daemon. Never blocks: what the daemon does not take at once is counted,
/// and told when it takes something again.
#[derive(Debug)]
pub(super) struct Syslog {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None after the daemon went away.
    socket: Option<UnixDatagram>,
    lost: u64,
}

impl Syslog {
    /// Connects to the daemon.
    pub(super) fn open() -> io::Result<Self> {
        let mut failure = io::ErrorKind::NotFound.into();
        for path in PATHS {
            match Self::open_at(Path::new(path)) {
                Err(error) => failure = error,
                opened => return opened,
            }
        }
        Err(failure)
    }

    fn open_at(path: &Path) -> io::Result<Self> {
        let state = State { socket: Some(connect(path)?), lost: 0 };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// Sends `text`, headed by priority, ident and process id.
    fn send(&self, head: &Head<'_>, text: &str) {
        // A panic of another thread leaves a socket and a number that are as good as any.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lost > 0 {
            let lost = state.lost;
            let report = Head { level: Level::WARN, ..*head };
            let text =
                format!("{lost} messages before this one were lost, syslog did not take them");
            if !state.transmit(&self.path, &report.datagram(&text)) {
                state.lost += 1;
                return;
            }
            state.lost = 0;
        }
        if !state.transmit(&self.path, &head.datagram(text)) {
            state.lost += 1;
        }
    }
}

impl State {
    /// Whether the daemon took it. When it has been restarted, its new socket is tried once.
    fn transmit(&mut self, path: &Path, datagram: &[u8]) -> bool {
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket = connect(path).ok();
            }
            let Some(socket) = &self.socket else { return false };
            match socket.send(datagram) {
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => self.socket = None,
            }
        }
        false
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// What stands before the text of a message.
#[derive(Clone, Copy)]
struct Head<'a> {
    level: Level,
    ident: &'a str,
    pid: u32,
}

impl Head<'_> {
    fn datagram(&self, text: &str) -> Vec<u8> {
        let priority = LOG_DAEMON | severity(self.level);
        let mut line = format!("<{priority}>{}[{}]: ", self.ident, self.pid);
        for character in text.chars() {
            if line.len() + character.len_utf8() > MAX_DATAGRAM {
                break;
            }
            // A line feed or an escape sequence must not forge another message.
            line.push(if character.is_control() { ' ' } else { character });
        }
        line.into_bytes()
    }
}

/// RFC 3164, table 2.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Formats events for syslog: the message, then ` name=value` for each field.
#[derive(Debug)]
pub(super) struct SyslogLayer {
    syslog: Syslog,
    ident: String,
    pid: u32,
}

impl SyslogLayer {
    pub(super) fn new(syslog: Syslog, ident: String, pid: u32) -> Self {
        Self { syslog, ident, pid }
    }
}

impl<S: Subscriber> Layer<S> for SyslogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let head = Head { level: *event.metadata().level(), ident: &self.ident, pid: self.pid };
        self.syslog.send(&head, &format!("{}{}", text.message, text.fields));
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && !"\"=".contains(c)) {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        }
        .expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// A daemon that has just started, on a path of its own.
    struct Daemon {
        path: PathBuf,
        socket: UnixDatagram,
    }

    impl Daemon {
        fn start(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("mlvpn-log-{name}-{}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Self { path, socket }
        }

        fn restart(&mut self) {
            std::fs::remove_file(&self.path).unwrap();
            self.socket = UnixDatagram::bind(&self.path).unwrap();
            self.socket.set_nonblocking(true).unwrap();
        }

        /// The next message that has come; none when there is none.
        fn next(&self) -> Option<String> {
            let mut buffer = [0; 4096];
            let length = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        }

        fn log(&self, work: impl FnOnce()) {
            let syslog = Syslog::open_at(&self.path).unwrap();
            let layer = SyslogLayer::new(syslog, "mlvpn-test".to_owned(), 42);
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    const HEAD: Head<'_> = Head { level: Level::INFO, ident: "i", pid: 1 };

    #[test]
    fn an_event_is_one_line_with_priority_ident_pid_message_and_fields() {
        let daemon = Daemon::start("event");
        daemon.log(|| {
            tracing::info!(link = "dsl1", loss = 3, why = "no answer", error = %"x", "link down");
            tracing::error!("bad");
            tracing::warn!("odd");
            tracing::debug!(n = ?Some(1), "detail");
        });
        let expected = [
            "<30>mlvpn-test[42]: link down link=dsl1 loss=3 why=\"no answer\" error=x",
            "<27>mlvpn-test[42]: bad",
            "<28>mlvpn-test[42]: odd",
            "<31>mlvpn-test[42]: detail n=Some(1)",
        ];
        for line in expected {
            assert_eq!(daemon.next().as_deref(), Some(line));
        }
        assert_eq!(daemon.next(), None);
    }

    #[test]
    fn nobody_forges_a_second_line_and_a_long_text_is_cut_between_characters() {
        let daemon = Daemon::start("forge");
        daemon.log(|| {
            tracing::info!("a\n<0>kernel: b\u{1b}[2J");
            tracing::info!("{}", "é".repeat(5_000));
        });
        assert_eq!(daemon.next().unwrap(), "<30>mlvpn-test[42]: a <0>kernel: b [2J");
        let long = daemon.next().unwrap();
        assert!(long.len() <= MAX_DATAGRAM && long.len() > MAX_DATAGRAM - 2);
        assert!(long.ends_with('é'));
    }

    #[test]
    fn a_restarted_daemon_gets_the_next_message() {
        let mut daemon = Daemon::start("restart");
        let syslog = Syslog::open_at(&daemon.path).unwrap();
        syslog.send(&HEAD, "one");
        assert_eq!(daemon.next().unwrap(), "<30>i[1]: one");
        daemon.restart();
        syslog.send(&HEAD, "two");
        assert_eq!(daemon.next().unwrap(), "<30>i[1]: two");
    }

    #[test]
    fn what_came_while_there_was_no_daemon_is_counted_and_told() {
        let mut daemon = Daemon::start("away");
        let syslog = Syslog::open_at(&daemon.path).unwrap();
        daemon.socket = UnixDatagram::unbound().unwrap();
        syslog.send(&HEAD, "lost");
        syslog.send(&HEAD, "lost too");
        daemon.restart();
        syslog.send(&HEAD, "back");
        let report = daemon.next().unwrap();
        assert!(report.starts_with("<28>i[1]: 2 messages "), "{report}");
        assert_eq!(daemon.next().unwrap(), "<30>i[1]: back");
        assert_eq!(daemon.next(), None);
    }

    #[test]
    fn a_daemon_that_does_not_read_holds_nobody_up() {
        let daemon = Daemon::start("full");
        let syslog = Syslog::open_at(&daemon.path).unwrap();
        // This ends although nobody reads; the kernel keeps far fewer than that.
        for number in 0..100_000 {
            syslog.send(&HEAD, &number.to_string());
        }
        let mut kept = 0;
        while daemon.next().is_some() {
            kept += 1;
        }
        assert!(kept < 100_000);
        syslog.send(&HEAD, "again");
        let report = daemon.next().unwrap();
        assert!(report.contains(" messages before this one were lost"), "{report}");
        assert_eq!(daemon.next().unwrap(), "<30>i[1]: again");
    }

    #[test]
    fn without_a_daemon_there_is_no_syslog() {
        assert!(Syslog::open_at(Path::new("/nonexistent/log")).is_err());
    }
}
