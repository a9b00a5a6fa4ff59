//! The same over HTTP/1: one request on a connection.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SERVER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::{Shared, Transport, access, page};

/// To a client for whom there is no place.
pub(super) const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nServer: mlvpn\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// Bytes that a request's head may have; hyper takes no less than 8192.
const MAX_HEAD: usize = 8192;

const UNAUTHORIZED: &str = "The token of control_token_file is wanted: as `Authorization: Bearer TOKEN`, \
    or as the password of Basic with any user name.\n";

const HELP: &str = "mlvpn\n\n\
    GET /         this text; for browsers, a page that shows all of it live\n\
    GET /history  the last five minutes, and the latest events\n\
    GET /status   what the program is doing, as JSON\n\
    GET /metrics  the same for Prometheus\n";

/// Answers one request and closes the connection. The caller limits the time.
pub(super) async fn serve(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    transport: Transport,
    shared: &Shared,
) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(&request, transport, shared))
    });
    let stream = TokioIo::new(tokio::io::join(&mut *reader, &mut *writer));
    let served = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .max_headers(64)
        .header_read_timeout(None)
        .serve_connection(stream, service)
        .await;
    if let Err(error) = served {
        debug!(%error, "control request");
    }
    super::close(reader, writer).await;
}

/// Whether a line without its end was meant as the first one of a request: it ends with a version
/// or begins with a method and a path.
pub(super) fn looks_like_request(line: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] =
        [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];
    let method = line.split(|&byte| byte == b' ').next().unwrap_or_default();
    line.windows(6).any(|bytes| bytes == b" HTTP/")
        || (METHODS.contains(&method) && line.len() > method.len())
}

fn answer<B>(request: &Request<B>, transport: Transport, shared: &Shared) -> Response<Full<Bytes>> {
    if transport == Transport::Tcp
        && let Some(token) = &shared.token
        && !access::is_granted(request.headers(), token)
    {
        let mut refusal = text(StatusCode::UNAUTHORIZED, UNAUTHORIZED.to_owned());
        refusal.headers_mut().insert(WWW_AUTHENTICATE, access::CHALLENGE);
        return refusal;
    }
    let mut answer = find(request, shared);
    // The C program allows every origin, and pages that show its status rely on that. Where a token is
    // needed, only pages that come from here shall use it.
    if shared.token.is_none() {
        answer.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    answer
}

fn find<B>(request: &Request<B>, shared: &Shared) -> Response<Full<Bytes>> {
    let (method, path) = (request.method(), request.uri().path());
    let is_known = matches!(path, "/" | "/status" | "/metrics" | "/history");
    if !is_known {
        return text(StatusCode::NOT_FOUND, "Not found. GET / tells what there is.\n".to_owned());
    }
    if method != Method::GET && method != Method::HEAD {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only.\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/status" => response(StatusCode::OK, "application/json", shared.snapshot().to_json()),
        "/history" => response(StatusCode::OK, "application/json", shared.history()),
        "/metrics" => response(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            shared.snapshot().to_metrics(),
        ),
        _ if page::is_wanted(request.headers()) => page::response(),
        _ => text(StatusCode::OK, HELP.to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body)
}

pub(super) fn response(
    status: StatusCode,
    kind: &'static str,
    body: String,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(SERVER, HeaderValue::from_static("mlvpn"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_commands_by_method_or_version() {
        for (line, is_request) in [
            (&b"GET /status HTTP/1.1\r"[..], true),
            (b"GET /status", true),
            (b"BREW /pot HTTP/1.0", true),
            (b"DELETE x", true),
            (b"GET", false),
            (b"status", false),
            (b"status GET /", false),
            (b"", false),
        ] {
            assert_eq!(looks_like_request(line), is_request, "{}", line.escape_ascii());
        }
    }
}
