//! The server over a real unix socket and a real TCP port.

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::*;
use crate::status::{StatusSnapshot, tests::sample};

/// A server with a unix socket and a TCP port, served by the test's own runtime.
struct Running {
    path: PathBuf,
    address: SocketAddr,
    publisher: watch::Sender<Arc<StatusSnapshot>>,
    requests: mpsc::Receiver<Request>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

/// Long enough for every client of these tests that behaves, on any machine.
const LENIENT: ControlLimits = ControlLimits { clients: 64, patience: Duration::from_secs(120) };
/// Short, for those who do not.
const STRICT: ControlLimits = ControlLimits { clients: 64, patience: Duration::from_millis(50) };

impl Running {
    fn start(name: &str, limits: ControlLimits) -> Self {
        Self::start_with_token(name, limits, None)
    }

    fn start_with_token(name: &str, limits: ControlLimits, token: Option<ControlToken>) -> Self {
        let file = format!("mlvpn-control-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(file);
        let config = ControlConfig {
            unix_path: Some(path.clone()),
            tcp: Some(("127.0.0.1".to_owned(), 0)),
            token,
            limits,
        };
        let (server, failures) = ControlServer::bind(&config);
        assert!(failures.is_empty(), "{failures:?}");
        let address = server.tcp_address().unwrap();
        let (publisher, status) = watch::channel(Arc::new(sample()));
        let (stop, stopped) = oneshot::channel();
        let (sender, requests) = mpsc::channel(1);
        let desk = Desk { status, history: Arc::default(), requests: sender };
        let task = tokio::spawn(server.run(desk, async {
            let _ = stopped.await;
        }));
        Self { path, address, publisher, requests, stop: Some(stop), task }
    }

    /// Sends `request` on a connection of `transport`, and returns all that comes until it ends.
    async fn ask(&self, transport: Transport, request: &[u8]) -> Vec<u8> {
        match transport {
            Transport::Unix => exchange(self.unix().await, request).await,
            Transport::Tcp => exchange(self.tcp().await, request).await,
        }
    }

    async fn ask_text(&self, transport: Transport, request: &str) -> String {
        String::from_utf8(self.ask(transport, request.as_bytes()).await).unwrap()
    }

    async fn unix(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap().unwrap();
        assert!(!self.path.exists(), "the socket's file goes with the server");
    }
}

/// A client that is cut off while it writes still reads what it was told.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Vec<u8> {
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a response has an empty line").1
}

const BOTH: [Transport; 2] = [Transport::Unix, Transport::Tcp];

#[tokio::test]
async fn both_sockets_answer_http_and_commands() {
    let server = Running::start("good", LENIENT);
    for transport in BOTH {
        assert_eq!(server.ask_text(transport, "status\n").await, sample().to_json());
        assert_eq!(server.ask_text(transport, "metrics\r\n").await, sample().to_metrics());
        let answer = server.ask_text(transport, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(body(&answer), sample().to_json());
        let answer = server.ask_text(transport, "GET /metrics HTTP/1.0\r\n\r\n").await;
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert_eq!(body(&answer), sample().to_metrics());
        let answer = server.ask_text(transport, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(body(&answer).contains("/metrics"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let server = Running::start("head", LENIENT);
    let answer = server.ask_text(Transport::Tcp, "HEAD /status HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains(&format!("content-length: {}\r\n", sample().to_json().len())));
    assert_eq!(body(&answer), "");
    server.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_answered_with_the_status_that_fits() {
    let server = Running::start("bad", LENIENT);
    let many_headers = "x: y\r\n".repeat(100);
    let long_header = format!("x: {}\r\n", "y".repeat(20_000));
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 404),
        ("GET /status/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 404),
        ("POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi".to_owned(), 405),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 405),
        ("GET /status?a=b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 200),
        ("GET /status\r\n\r\n".to_owned(), 400),
        ("GET  HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /status HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400),
        (format!("GET /status HTTP/1.1\r\n{many_headers}\r\n"), 431),
        (format!("GET /status HTTP/1.1\r\n{long_header}\r\n"), 431),
    ] {
        for transport in BOTH {
            let answer = server.ask_text(transport, &request).await;
            let line = answer.lines().next().unwrap_or_default();
            assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {line}");
        }
    }
    let answer = server.ask_text(Transport::Tcp, "PUT / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_word_is_answered_and_the_conversation_goes_on() {
    let server = Running::start("words", LENIENT);
    let unknown = "{\"error\": \"unknown command\"}\n";
    let answer = server.ask_text(Transport::Unix, "hello\n\nstatus\nquit\nstatus\n").await;
    assert_eq!(answer, format!("{unknown}{}bye.", sample().to_json()));
    let answer = server.ask_text(Transport::Unix, "status\nhello").await;
    assert_eq!(answer, format!("{}{unknown}", sample().to_json()), "the end ends a line too");
    assert_eq!(server.ask_text(Transport::Unix, "\x04status\n").await, "");
    let answer = server.ask_text(Transport::Tcp, "hello\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn lines_without_end_are_cut_off() {
    let server = Running::start("long", LENIENT);
    assert_eq!(server.ask(Transport::Unix, &vec![b'x'; 100_000]).await, b"");
    let second = [b"status\n".to_vec(), vec![b'x'; 5_000]].concat();
    assert_eq!(server.ask(Transport::Unix, &second).await, sample().to_json().as_bytes());
    let answer = server.ask(Transport::Tcp, &vec![b'x'; 100_000]).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", answer.escape_ascii());
    server.stop().await;
}

#[tokio::test]
async fn what_follows_a_request_is_not_taken_for_another_and_loses_no_answer() {
    let server = Running::start("pipelined", LENIENT);
    let mut request = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    request.extend(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    request.extend((0..20_000u32).map(|n| (n * 7) as u8));
    for transport in BOTH {
        let answer = String::from_utf8(server.ask(transport, &request).await).unwrap();
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert_eq!(body(&answer), sample().to_json());
    }
    server.stop().await;
}

#[tokio::test]
async fn silent_and_slow_clients_are_cut_off() {
    let server = Running::start("slow", STRICT);
    let mut silent = server.unix().await;
    let mut half = server.tcp().await;
    half.write_all(b"GET /status HTTP/1.1\r\nHo").await.unwrap();
    let mut idle = server.unix().await;
    idle.write_all(b"nothing\n").await.unwrap();
    let mut answer = Vec::new();
    // Each of these ends although the client does not close its side.
    silent.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"");
    let _ = half.read_to_end(&mut answer).await;
    idle.read_to_end(&mut answer).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = Running::start("unread", STRICT);
    let mut status = sample();
    status.links[0].name = "x".repeat(32 << 20);
    server.publisher.send(Arc::new(status)).unwrap();
    for request in [&b"status\n"[..], b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut client = server.unix().await;
        client.write_all(request).await.unwrap();
        // Only the server's end of the connection makes this come.
        client.ready(tokio::io::Interest::READABLE).await.unwrap();
        while !client.ready(tokio::io::Interest::READABLE).await.unwrap().is_read_closed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn random_bytes_never_end_the_service() {
    let server = Running::start("random", STRICT);
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..100 {
        let length = random() as usize % 3_000;
        let mut bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        if round % 3 == 0 {
            bytes.splice(0..0, *b"GET /status HTTP/1.1\r\n");
        }
        server.ask(BOTH[round % 2], &bytes).await;
    }
    // The short patience may cut off even a good client when the machine is busy: it asks again.
    while server.ask_text(Transport::Unix, "status\n").await != sample().to_json() {}
    server.stop().await;
}

#[tokio::test]
async fn many_are_served_at_once_and_those_above_the_limit_refused() {
    let server = Running::start("many", ControlLimits { clients: 10, ..LENIENT });
    let mut seated = Vec::new();
    for _ in 0..10 {
        let mut client = server.unix().await;
        client.write_all(b"hello\n").await.unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).await.unwrap();
        seated.push(client);
    }
    let mut answer = String::new();
    server.unix().await.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer.as_bytes(), line::REFUSAL);
    // The port has seats of its own.
    let told = exchange(server.tcp().await, b"status\n").await;
    assert!(told.ends_with(sample().to_json().as_bytes()), "{told:?}");
    let mut at_port = Vec::new();
    for _ in 0..10 {
        at_port.push(server.tcp().await);
    }
    answer.clear();
    server.tcp().await.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for mut client in seated {
        let answer = exchange(&mut client, b"status\n").await;
        assert!(answer.ends_with(sample().to_json().as_bytes()));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_latest_snapshot_is_told() {
    let server = Running::start("latest", LENIENT);
    let mut status = sample();
    status.pid = 99;
    server.publisher.send(Arc::new(status.clone())).unwrap();
    assert_eq!(server.ask_text(Transport::Tcp, "status\n").await, status.to_json());
    server.stop().await;
}

#[test]
fn a_port_that_is_taken_is_told_and_the_unix_socket_works_all_the_same() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = std::env::temp_dir().join(format!("mlvpn-control-taken-{}", std::process::id()));
    let (server, failures) = ControlServer::bind(&ControlConfig {
        unix_path: Some(path.clone()),
        tcp: Some(("127.0.0.1".to_owned(), taken.local_addr().unwrap().port())),
        token: None,
        limits: LENIENT,
    });
    assert!(matches!(failures.as_slice(), [ControlError::Tcp { .. }]), "{failures:?}");
    assert!(path.exists());
    drop(server);
    assert!(!path.exists());
}

#[tokio::test]
async fn the_history_is_told_over_both_sockets() {
    let server = Running::start("history", LENIENT);
    let empty = History::default().to_json();
    for transport in BOTH {
        assert_eq!(server.ask_text(transport, "history\n").await, empty);
        let answer = server.ask_text(transport, "GET /history HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert_eq!(body(&answer), empty);
    }
    server.stop().await;
}

#[tokio::test]
async fn links_are_switched_over_the_unix_socket_and_not_over_tcp() {
    let mut server = Running::start("switch", LENIENT);
    let refused = server.ask_text(Transport::Tcp, "link down dsl1\n").await;
    assert!(refused.contains("over the unix socket only"), "{refused}");
    for transport in BOTH {
        let request = "POST /link HTTP/1.1\r\nHost: x\r\n\r\n";
        let answer = server.ask_text(transport, request).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    assert!(server.requests.try_recv().is_err(), "nobody was asked");

    let client = exchange(server.unix().await, b"link fallback-on dsl 1\n");
    let worker = async {
        let Request { link, switch, answer } = server.requests.recv().await.unwrap();
        assert_eq!((link.as_str(), switch), ("dsl 1", LinkSwitch::Fallback(true)));
        answer.send(Err("no \"such\" link".to_owned())).unwrap();
    };
    let (answer, ()) = tokio::join!(client, worker);
    assert_eq!(answer, b"{\"error\":\"no \\\"such\\\" link\"}\n");
    server.requests.close();
    let answer = server.ask_text(Transport::Unix, "link up dsl1\n").await;
    assert!(answer.contains("busy or ending"), "{answer}");
    server.stop().await;
}

const TOKEN: &str = "XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=";

#[tokio::test]
async fn with_a_token_nothing_is_told_over_tcp_without_it() {
    let token = ControlToken::parse(TOKEN).ok();
    let server = Running::start_with_token("token", LENIENT, token);
    for path in ["/", "/status", "/history", "/metrics", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n");
        for proof in ["", "Authorization: Bearer x\r\n"] {
            let answer = server.ask_text(Transport::Tcp, &format!("{request}{proof}\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
            assert!(answer.contains("www-authenticate: Basic realm="), "{answer}");
            assert!(!answer.contains("dsl1"), "{answer}");
        }
        let proof = format!("Authorization: Bearer {TOKEN}\r\n\r\n");
        let answer = server.ask_text(Transport::Tcp, &format!("{request}{proof}")).await;
        assert!(!answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
        assert!(!answer.contains("access-control-allow-origin"), "{answer}");
        let answer = server.ask_text(Transport::Unix, &format!("{request}\r\n")).await;
        assert!(!answer.starts_with("HTTP/1.1 401 "), "{path}: the socket has its mode: {answer}");
    }
    for line in ["status\n", "metrics\n", "history\n"] {
        let answer = server.ask_text(Transport::Tcp, line).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    server.stop().await;
}

#[test]
fn an_address_that_others_reach_is_bound_to_with_a_token_only() {
    for host in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        let tcp = Some((host.to_owned(), 0));
        let open = ControlConfig { tcp: tcp.clone(), ..ControlConfig::default() };
        let (server, failures) = ControlServer::bind(&open);
        assert!(server.tcp_address().is_none());
        let [ControlError::NoToken { .. }] = failures.as_slice() else { panic!("{failures:?}") };
        assert!(failures[0].to_string().contains("control_token_file"), "{}", failures[0]);
        let token = ControlToken::parse(TOKEN).ok();
        let (server, failures) = ControlServer::bind(&ControlConfig { token, ..open });
        assert!(server.tcp_address().is_some(), "{failures:?}");
    }
    let tcp = Some(("localhost".to_owned(), 0));
    let (server, failures) =
        ControlServer::bind(&ControlConfig { tcp, ..ControlConfig::default() });
    assert!(server.tcp_address().is_some(), "{failures:?}");
}
