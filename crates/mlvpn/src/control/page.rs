//! The page for browsers: one document that needs nothing else, and reads `status` and `history`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};

use super::http;

/// The document, with [`NONCE`] where the number used once belongs.
const DOCUMENT: &str = include_str!("page/page.html");
const NONCE: &str = "NUMBER-USED-ONCE";

/// Whether whoever asks is a browser, and not a program that wants the help text.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    kinds.any(|value| value.contains("text/html"))
}

/// The page. Only its own script and style are in force, which a number proves that nobody can know
/// beforehand; and it can ask nobody but us.
pub(super) fn response() -> Response<Full<Bytes>> {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        let text = "There are no random numbers.\n".to_owned();
        return http::response(StatusCode::SERVICE_UNAVAILABLE, "text/plain", text);
    }
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = DOCUMENT.replace(NONCE, &nonce);
    let mut response = http::response(StatusCode::OK, "text/html; charset=utf-8", body);
    let policy = HeaderValue::try_from(policy(&nonce)).expect("it is printable ASCII");
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'"
    )
}

#[cfg(test)]
mod tests;
