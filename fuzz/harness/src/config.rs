//! A configuration file: it is read to the end, and what is said about it points into it.

use mlvpn::config::{MAX_FILE_BYTES, parse};

/// Pieces of configuration files.
pub const WORDS: &[&[u8]] = &[
    b"[general]\n",
    b"[filters]\n",
    b"[dsl1]\n",
    b"\"",
    b"#",
    b"=",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"mode = \"client\"\n",
    b"password = \"x\"\n",
    b"remotehost = 192.0.2.1\n",
    b"remoteport = 5080\n",
    b"bindport = 65536\n",
    b"[peer a]\n",
    b"[peer b]\n",
    b"public_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n",
    b"private_key_file = own.key\n",
    b"protocol_version = 2\n",
    b"bandwidth_upload = 18446744073709551616\n",
    b"reorder_buffer_size = 0\n",
    b"ip6_routes = \"::/0 default\"\n",
    b"dsl1 = udp[8] & 3 = 1\n",
];
/// One in so many inputs is also shown, which takes longer than reading.
const SHOWN: usize = 16;

/// Runs the target.
///
/// # Panics
/// When the findings do not fit the file.
pub fn run(bytes: &[u8]) {
    let findings = match parse("fuzz.conf", bytes) {
        Ok(parsed) => {
            assert!(!parsed.warnings.has_errors(), "a file with errors was accepted");
            assert!(!parsed.config.links.is_empty(), "a configuration without links");
            parsed.warnings
        }
        Err(findings) => {
            assert!(findings.has_errors(), "refused without a reason");
            findings
        }
    };
    assert!(bytes.len() <= MAX_FILE_BYTES || findings.has_errors());
    if let Ok(text) = std::str::from_utf8(bytes) {
        for span in findings.list().iter().filter_map(|finding| finding.span.as_ref()) {
            assert!(span.start <= span.end && span.end <= text.len(), "{span:?}");
        }
    }
    if bytes.len().is_multiple_of(SHOWN) {
        assert_eq!(findings.render(false).is_empty(), findings.list().is_empty());
    }
}
