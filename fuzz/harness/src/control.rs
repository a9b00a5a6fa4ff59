//! What a client of the control server sends, after a byte that says how it came: over the unix socket, or
//! over the TCP port with or without a token. Only the former may have links switched, and who does not
//! bring the token learns nothing.

use std::sync::Arc;

use mlvpn::config::ControlToken;
use mlvpn::control::{Desk, Transport, serve_stream};
use mlvpn::status::{Mode, StatusSnapshot};
use tokio::sync::{mpsc, watch};

/// Commands, requests, and parts of them.
pub const WORDS: &[&[u8]] = &[
    b"status\n",
    b"metrics\r\n",
    b"history\n",
    b"link down dsl\n",
    b"link cost-20 lte\n",
    b"link fallback-on dsl\n",
    b"quit\n",
    b"\x04",
    b"GET /status HTTP/1.1\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"POST /history HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"Transfer-Encoding: chunked\r\n",
    b"Authorization: Bearer XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=\r\n",
    b"Authorization: Basic OnRva2Vu\r\n",
    b"Accept: text/html\r\n",
];

/// What only somebody with the token may read over TCP.
const NAME: &str = "of nobody's concern";
const TOKEN: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";

/// Runs the target.
///
/// # Panics
/// When the answer is none that the client may have.
pub fn run(bytes: &[u8]) {
    let (&[choice], speech) = bytes.split_first_chunk().unwrap_or((&[0], &[]));
    let (transport, has_token) = match choice % 3 {
        0 => (Transport::Unix, false),
        1 => (Transport::Tcp, false),
        _ => (Transport::Tcp, true),
    };
    let token = ControlToken::parse(TOKEN).expect("the token is good");
    let token = Some(token).filter(|_| has_token);
    let (answer, switched) = serve(speech, transport, token);
    assert!(switched == 0 || transport == Transport::Unix, "{switched} links over TCP");
    let lines = speech.split(|&byte| byte == b'\n').count();
    assert!(switched <= lines, "{switched} links by {lines} lines");
    let is_told = answer.windows(NAME.len()).any(|bytes| bytes == NAME.as_bytes());
    let has_proof = speech.windows(13).any(|bytes| bytes.eq_ignore_ascii_case(b"authorization"));
    assert!(!is_told || !has_token || has_proof, "told without the token");
    assert!(!has_token || answer.is_empty() || answer.starts_with(b"HTTP/1."), "no HTTP");
}

/// What the server says to somebody who says `speech`, and how many links it had switched.
fn serve(speech: &[u8], transport: Transport, token: Option<ControlToken>) -> (Vec<u8>, usize) {
    let status = StatusSnapshot::starting(NAME, Mode::Client, 1, 0);
    let (_publisher, status) = watch::channel(Arc::new(status));
    let (sender, mut requests) = mpsc::channel(1);
    let desk = Arc::new(Desk { status, history: Arc::default(), requests: sender });
    let (mut answer, mut switched) = (Vec::new(), 0);
    let stream = tokio::io::join(speech, &mut answer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without I/O needs nothing of the system").block_on(async {
        let switching = async {
            while let Some(request) = requests.recv().await {
                switched += 1;
                let _ = request.answer.send(Err("it is no use".to_owned()));
            }
        };
        tokio::select! {
            () = serve_stream(stream, transport, Arc::clone(&desk), token) => {}
            () = switching => unreachable!("the desk is not gone"),
        }
    });
    (answer, switched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_switched_and_the_name_is_told_where_that_is_allowed() {
        let switched = |transport| serve(b"link down dsl\nlink up dsl\n", transport, None).1;
        assert_eq!([Transport::Unix, Transport::Tcp].map(switched), [2, 0]);
        let told = |head: &str| {
            let speech = format!("GET /status HTTP/1.1\r\n{head}\r\n");
            let token = ControlToken::parse(TOKEN).ok();
            let (answer, _) = serve(speech.as_bytes(), Transport::Tcp, token);
            String::from_utf8_lossy(&answer).contains(NAME)
        };
        assert!(told(&format!("Authorization: Bearer {TOKEN}\r\n")));
        assert!(!told("") && !told("Authorization: Bearer wrong\r\n"));
    }
}
