//! The test vectors, checked by another implementation: the one in Python in `reference`, which shares no code with
//! this one.

use std::process::Command;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference");
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// That of the system: Debian's packages are for it.
const PYTHON: &str = "/usr/bin/python3";

#[test]
fn another_implementation_derives_the_same_from_the_vectors() {
    let check = Command::new(PYTHON)
        .arg("-B")
        .arg(format!("{REFERENCE}/check_vectors.py"))
        .arg(VECTORS)
        .output();
    let output = check.expect("python3, python3-cryptography and python3-argon2 are needed");
    let said = String::from_utf8(output.stdout).unwrap();
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{trouble}");
    for file in ["v2-handshake.json: ", "v2-packets.json: "] {
        assert!(said.lines().any(|line| line.starts_with(file)), "{said}{trouble}");
    }
}
