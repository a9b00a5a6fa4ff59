//! The line protocol of the C program: one command on a line, one answer for each.

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::time::timeout;

use super::{MAX_LINE, Shared};

/// End of transmission: the client wants no more.
pub(super) const EOT: u8 = 0x04;

/// To a client for whom there is no place.
pub(super) const REFUSAL: &[u8] = b"ERR: Too many clients.\n";

/// Answers commands until the client ends, asks to quit, is silent or slow, or sends too much.
pub(super) async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: &mut (impl AsyncWrite + Unpin),
    shared: &Shared,
) {
    let mut reader = BufReader::new(reader);
    while let Ok(Some(line)) = timeout(shared.patience, read_line(&mut reader)).await {
        let command = Command::parse(&line);
        let answer = match command {
            Command::Nothing => continue,
            Command::Status => shared.snapshot().to_json(),
            Command::Metrics => shared.snapshot().to_metrics(),
            Command::Quit => "bye.".to_owned(),
            Command::Hangup => break,
            Command::Unknown => "{\"error\": \"unknown command\"}\n".to_owned(),
        };
        let sent = timeout(shared.patience, send(writer, answer.as_bytes())).await;
        if !matches!(sent, Ok(Ok(()))) || command == Command::Quit {
            break;
        }
    }
    let _ = timeout(shared.patience, super::close(reader, writer)).await;
}

/// Whether a line without its end is a command, so that no HTTP is to be expected.
pub(super) fn is_command(line: &[u8]) -> bool {
    Command::parse(line) != Command::Unknown
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Nothing,
    Status,
    Metrics,
    Quit,
    Hangup,
    Unknown,
}

impl Command {
    /// The first word counts, in any case; carriage returns are nothing.
    fn parse(line: &[u8]) -> Self {
        if line.contains(&EOT) {
            return Self::Hangup;
        }
        let line: Vec<u8> = line.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
        let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        let Some(word) = words.next() else { return Self::Nothing };
        match word.to_ascii_lowercase().as_slice() {
            b"status" | b"/status" => Self::Status,
            b"metrics" | b"/metrics" => Self::Metrics,
            b"quit" => Self::Quit,
            _ => Self::Unknown,
        }
    }
}

/// The next line; none at the end, and when it is longer than a line may be.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let mut bounded = reader.take(MAX_LINE as u64);
    let count = bounded.read_until(b'\n', &mut line).await.ok()?;
    let is_whole = line.ends_with(b"\n") || count < MAX_LINE;
    (count > 0 && is_whole).then_some(line)
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), answer: &[u8]) -> std::io::Result<()> {
    writer.write_all(answer).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_recognised_by_their_first_word_in_any_case() {
        for (line, command) in [
            (&b"status\n"[..], Command::Status),
            (b"STATUS\r\n", Command::Status),
            (b"  /Status now\n", Command::Status),
            (b"metrics", Command::Metrics),
            (b"/metrics\n", Command::Metrics),
            (b"Quit\n", Command::Quit),
            (b"\r\n", Command::Nothing),
            (b"  \n", Command::Nothing),
            (b"sta\rtus\n", Command::Status),
            (b"statuses\n", Command::Unknown),
            (b"\xff\x00\n", Command::Unknown),
            (b"status\x04\n", Command::Hangup),
        ] {
            assert_eq!(Command::parse(line), command, "{}", line.escape_ascii());
        }
    }
}
