//! The line protocol of the C program, with commands of ours: one on a line, one answer for each.

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::time::timeout;

use super::{LinkSwitch, MAX_LINE, Request, Shared, Transport};

/// End of transmission: the client wants no more.
pub(super) const EOT: u8 = 0x04;

/// To a client for whom there is no place.
pub(super) const REFUSAL: &[u8] = b"ERR: Too many clients.\n";

/// Answers commands until the client ends, asks to quit, is silent or slow, or sends too much.
pub(super) async fn serve(
    reader: impl AsyncRead + Unpin,
    writer: &mut (impl AsyncWrite + Unpin),
    transport: Transport,
    shared: &Shared,
) {
    let mut reader = BufReader::new(reader);
    while let Ok(Some(line)) = timeout(shared.patience, read_line(&mut reader)).await {
        let command = Command::parse(&line);
        let answer = match &command {
            Command::Nothing => continue,
            Command::Status => shared.snapshot().to_json(),
            Command::Metrics => shared.snapshot().to_metrics(),
            Command::History => shared.history(),
            Command::Link { .. } if transport == Transport::Tcp => READ_ONLY.to_owned(),
            Command::Link { switch, name } => switch_link(name, *switch, shared).await,
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

const READ_ONLY: &str = "{\"error\": \"links are switched over the unix socket only\"}\n";

/// Has a link switched, and says what came of it.
async fn switch_link(name: &str, switch: LinkSwitch, shared: &Shared) -> String {
    let (request, answer) = Request::new(name.to_owned(), switch);
    let sent = shared.desk.requests.try_send(request);
    let answer = async { sent.ok().map(|()| answer)?.await.ok() };
    let done = timeout(shared.patience, answer).await.ok().flatten();
    let (key, text) = match done.unwrap_or_else(|| Err("the program is busy or ending".into())) {
        Ok(text) => ("done", text),
        Err(text) => ("error", text),
    };
    format!("{}\n", serde_json::json!({ key: text }))
}

/// Whether a line without its end is a command, so that no HTTP is to be expected.
pub(super) fn is_command(line: &[u8]) -> bool {
    Command::parse(line) != Command::Unknown
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    Nothing,
    Status,
    Metrics,
    History,
    Link { switch: LinkSwitch, name: String },
    Quit,
    Hangup,
    Unknown,
}

impl Command {
    /// The first word counts, in any case; carriage returns are nothing. The name of a link is all that
    /// follows the word for what is to become of it.
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
            b"history" | b"/history" => Self::History,
            b"quit" => Self::Quit,
            b"link" => Self::link(words).unwrap_or(Self::Unknown),
            _ => Self::Unknown,
        }
    }
}

impl Command {
    fn link<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let switch = LinkSwitch::from_word(std::str::from_utf8(words.next()?).ok()?)?;
        let name = words.collect::<Vec<_>>().join(&b' ');
        let name = String::from_utf8(name).ok().filter(|name| !name.is_empty())?;
        Some(Self::Link { switch, name })
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
        let down = |name: &str| Command::Link { switch: LinkSwitch::Down, name: name.to_owned() };
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
            (b"history\n", Command::History),
            (b"link DOWN dsl 1\n", down("dsl 1")),
            (b"link down ADSL\r\n", down("ADSL")),
            (
                b"link Cost-20 lte\n",
                Command::Link {
                    switch: LinkSwitch::Cost(std::time::Duration::from_millis(20)),
                    name: "lte".to_owned(),
                },
            ),
            (b"link cost-10001 lte\n", Command::Unknown),
            (b"link cost- lte\n", Command::Unknown),
            (b"link down\n", Command::Unknown),
            (b"link dsl1 down\n", Command::Unknown),
            (b"link up \xff\n", Command::Unknown),
            (b"statuses\n", Command::Unknown),
            (b"\xff\x00\n", Command::Unknown),
            (b"status\x04\n", Command::Hangup),
        ] {
            assert_eq!(Command::parse(line), command, "{}", line.escape_ascii());
        }
    }
}
