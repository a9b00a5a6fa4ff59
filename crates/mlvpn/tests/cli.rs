//! The built binary's command line, from outside.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const GOOD: &str = "[general]\nmode = \"server\"\npassword = \"w3nMzb8eTqLfYc5hXs2uRj7d\"\n\
                    [dsl1]\nbindport = 5080\nbandwidth_upload = 1468006\n\
                    [dsl2]\nbindport = 5081\nbandwidth_upload = 1468006\n";

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("mlvpn-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, content: &str, mode: u32) -> PathBuf {
        self.named("mlvpn.conf", content, mode)
    }

    fn named(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mlvpn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mlvpn")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn check(path: &Path) -> Output {
    mlvpn(&["check", path.to_str().unwrap()])
}

/// A check that must fail with `expected` in what it says, and without showing the password.
fn refused(content: &str, mode: u32, expected: &[&str]) {
    let dir = Dir::new();
    let output = check(&dir.file(content, mode));
    let text = err(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(out(&output).contains("error"), "{}", out(&output));
    for part in expected {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    assert!(!text.contains("w3nMzb8e"), "{text}");
}

#[test]
fn check_accepts_a_good_file_and_says_what_it_does() {
    let dir = Dir::new();
    let output = check(&dir.file(GOOD, 0o600));
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(err(&output), "");
    let text = out(&output);
    for part in [
        "server, tun interface mlvpn0",
        "mtu      1440, or 1428",
        "dsl1: listens on",
        "11.7 Mbit/s",
        "50 %",
    ] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    assert!(text.ends_with("no errors, no warnings\n"), "{text}");
}

#[test]
fn check_accepts_a_file_with_warnings_and_shows_them() {
    let dir = Dir::new();
    let output = check(&dir.file(&GOOD.replace("[dsl1]", "protocol = \"tcp\"\n[dsl1]"), 0o600));
    assert_eq!(output.status.code(), Some(0));
    assert!(err(&output).contains("`protocol` is a key of mlvpn 1.x"), "{}", err(&output));
    assert!(out(&output).ends_with("no errors, 1 warning\n"), "{}", out(&output));
}

#[test]
fn check_refuses_each_mistake_with_its_message() {
    let without = |line: &str| GOOD.replace(line, "");
    refused(
        &without("password = \"w3nMzb8eTqLfYc5hXs2uRj7d\"\n"),
        0o600,
        &["password is missing", "genpass"],
    );
    refused(&without("mode = \"server\"\n"), 0o600, &["mode is missing"]);
    refused(&without("bindport = 5080\n"), 0o600, &["bindport is missing"]);
    refused(&GOOD.replace("5080", "65536"), 0o600, &["65536 is out of range", "mlvpn.conf:5:"]);
    refused(&GOOD.replace("[dsl2]", "[dsl1]"), 0o600, &["two links called `dsl1`"]);
    refused(
        &GOOD.replace("[dsl1]", "bindhost = \"::\"\n[dsl1]"),
        0o600,
        &["`bindhost` outside a link section"],
    );
    refused(
        &GOOD.replace("[dsl1]", "\"10.44.43.2/30\"\n[dsl1]"),
        0o600,
        &["quoted text on a line of its own"],
    );
    refused(
        &format!("{GOOD}[filters]\ntelco = udp\n"),
        0o600,
        &["a link `telco` that does not exist", "dsl1, dsl2"],
    );
    refused(
        &format!("{GOOD}[filters]\ndsl1 = \"udp and and\"\n"),
        0o600,
        &["the filter for `dsl1`", "column"],
    );
}

#[test]
fn check_refuses_a_file_that_others_may_read() {
    refused(GOOD, 0o644, &["0644", "chmod 600"]);
    refused(GOOD, 0o640, &["0640", "chmod 600"]);
}

#[test]
fn check_says_why_a_file_cannot_be_read() {
    let output = check(Path::new("/nonexistent/mlvpn.conf"));
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("No such file or directory"), "{}", err(&output));
}

#[test]
fn check_shows_all_mistakes_at_once() {
    refused(
        &GOOD.replace("server", "both").replace("5080", "x").replace("5081", "y"),
        0o600,
        &["`both` is not a mode", "`x` is not a whole number", "`y` is not a whole number"],
    );
}

#[test]
fn genpass_prints_another_strong_password_each_time() {
    let (first, second) = (mlvpn(&["genpass"]), mlvpn(&["genpass"]));
    assert_ne!(out(&first), out(&second));
    for output in [&first, &second] {
        let text = out(output);
        let password = text.strip_suffix('\n').unwrap();
        assert_eq!(password.len(), 43);
        assert!(password.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }
}

/// The key pair of RFC 7748 section 6.1.
const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

/// What `mlvpn pubkey` makes of a text on its standard input.
fn pubkey(input: &str) -> Output {
    use std::io::Write as _;
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlvpn"));
    command.arg("pubkey").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Whether `text` is a key in base64 on a line of its own.
fn is_key(text: &str) -> bool {
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.len() == 45 && text.ends_with("=\n") && text.bytes().take(43).all(is_base64)
}

#[test]
fn genkey_and_genpsk_print_another_key_each_time() {
    for command in ["genkey", "genpsk"] {
        let (first, second) = (out(&mlvpn(&[command])), out(&mlvpn(&[command])));
        assert!(is_key(&first) && is_key(&second), "{command}: {first}{second}");
        assert_ne!(first, second);
    }
}

#[test]
fn pubkey_reads_standard_input_or_a_file() {
    for input in [PRIVATE.to_owned(), format!("{PRIVATE}\n"), format!(" {PRIVATE}\r\n")] {
        let output = pubkey(&input);
        assert!(output.status.success(), "{}", err(&output));
        assert_eq!(out(&output), format!("{PUBLIC}\n"));
    }
    let dir = Dir::new();
    let path = dir.named("own.key", PRIVATE, 0o600);
    assert_eq!(out(&mlvpn(&["pubkey", path.to_str().unwrap()])), format!("{PUBLIC}\n"));
}

#[test]
fn pubkey_says_what_is_no_key_without_showing_it() {
    for input in ["", "\n", &PRIVATE[1..], &PRIVATE.repeat(100)] {
        let output = pubkey(input);
        assert_eq!(output.status.code(), Some(1));
        assert!(err(&output).contains("no private key on standard input"), "{}", err(&output));
        assert!(err(&output).contains("mlvpn genkey") && !err(&output).contains(&PRIVATE[1..9]));
    }
    let output = mlvpn(&["pubkey", "/nonexistent/own.key"]);
    assert!(err(&output).contains("cannot read /nonexistent/own.key"), "{}", err(&output));
}

#[test]
fn a_key_is_written_to_a_new_file_for_its_owner_only() {
    let dir = Dir::new();
    let path = dir.0.join("own.key");
    let file = path.to_str().unwrap();
    let read = || fs::read_to_string(&path).unwrap();
    let output = mlvpn(&["genkey", "--out", file]);
    assert!(output.status.success(), "{}", err(&output));
    assert!(is_key(&read()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(out(&output), out(&pubkey(&read())), "the public key is printed");

    let first = read();
    let output = mlvpn(&["genkey", "--out", file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("exists") && err(&output).contains("--force"),
        "{}",
        err(&output)
    );
    assert_eq!(read(), first);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let output = mlvpn(&["genpsk", "--out", file, "--force"]);
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(out(&output), "", "a pre-shared key is not shown");
    assert!(is_key(&read()) && read() != first);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_key_is_not_written_where_it_cannot_be() {
    let dir = Dir::new();
    let out_to = |path: &str, more: &[&str]| {
        let output = mlvpn(&[&["genkey", "--out", path], more].concat());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(out(&output), "");
        err(&output)
    };
    let text = out_to("/nonexistent/own.key", &[]);
    assert!(text.contains("cannot write /nonexistent/own.key"), "{text}");
    let folder = dir.0.to_str().unwrap();
    assert!(out_to(folder, &[]).contains("exists"));
    let text = out_to(folder, &["--force"]);
    assert!(text.contains("cannot write") && text.contains("directory"), "{text}");
    // A dangling symbolic link is not followed.
    let link = dir.0.join("link");
    std::os::unix::fs::symlink(dir.0.join("target"), &link).unwrap();
    assert!(out_to(link.to_str().unwrap(), &[]).contains("exists"));
    assert!(!dir.0.join("target").exists());
    assert_eq!(mlvpn(&["genkey", "--force"]).status.code(), Some(2));
}

/// A server with a key file and a peer.
fn with_keys() -> String {
    GOOD.replace("password = \"w3nMzb8eTqLfYc5hXs2uRj7d\"", "private_key_file = own.key")
        + "[peer camper]\npublic_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n"
}

#[test]
fn check_reads_key_files_and_shows_public_keys_only() {
    let dir = Dir::new();
    dir.named("own.key", &format!("{PRIVATE}\n"), 0o400);
    let output = check(&dir.file(&with_keys(), 0o600));
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    for part in ["version 2 with key pairs", PUBLIC, "camper: 3p7bfXt9", "no errors, no warnings"] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    assert_eq!(err(&output), "");
    assert!(!format!("{text}{}", err(&output)).contains(&PRIVATE[..8]));
}

#[test]
fn check_refuses_a_key_file_that_others_may_read() {
    let dir = Dir::new();
    let config = dir.file(&with_keys(), 0o600);
    let text = err(&check(&config));
    assert!(text.contains("No such file") && text.contains("mlvpn genkey --out"), "{text}");
    dir.named("own.key", PRIVATE, 0o440);
    let output = check(&config);
    assert_eq!(output.status.code(), Some(1));
    for part in ["private_key_file", "own.key", "0440", "chmod 600", "mlvpn.conf:3:"] {
        assert!(err(&output).contains(part), "`{part}` is missing in\n{}", err(&output));
    }
    // A test that runs as root can give the file to somebody else.
    let path = dir.named("own.key", PRIVATE, 0o600);
    if std::os::unix::fs::chown(&path, Some(1), None).is_ok() {
        let text = err(&check(&config));
        assert!(text.contains("belongs to user 1"), "{text}");
    }
}

#[test]
fn check_refuses_key_pairs_that_make_no_sense() {
    let peer = "[peer a]\npublic_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n";
    refused(&format!("{GOOD}{peer}"), 0o600, &["no private key of this end", "genkey --out"]);
    refused(
        &(GOOD.replace("[dsl1]", "protocol_version = 1\n[dsl1]") + peer),
        0o600,
        &["version 1 of the protocol knows no key pairs"],
    );
    refused(
        &GOOD.replace("[dsl1]", "private_key_file = \"/nonexistent/own.key\"\n[dsl1]"),
        0o600,
        &["there is a private key, but no peer", "/nonexistent/own.key", "No such file"],
    );
}

#[test]
fn completions_are_printed_for_every_common_shell() {
    for (shell, part) in
        [("bash", "complete -F _mlvpn"), ("zsh", "#compdef mlvpn"), ("fish", "complete -c mlvpn")]
    {
        let output = mlvpn(&["completions", shell]);
        assert!(output.status.success());
        let text = out(&output);
        assert!(text.contains(part), "{shell}");
        assert!(text.contains("natural-title") && text.contains("genpass"), "{shell}");
        assert!(text.contains("genkey") && text.contains("pubkey"), "{shell}");
    }
    assert_eq!(mlvpn(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn the_manual_page_is_printed_and_written() {
    let page = out(&mlvpn(&["man"]));
    assert!(page.contains(".TH mlvpn 1"), "{page}");
    assert!(page.contains("yes\\-run\\-as\\-root"), "{page}");
    let dir = Dir::new();
    let target = dir.0.join("man1");
    assert!(mlvpn(&["man", "--dir", target.to_str().unwrap()]).status.success());
    for name in [
        "mlvpn.1",
        "mlvpn-check.1",
        "mlvpn-genpass.1",
        "mlvpn-genkey.1",
        "mlvpn-pubkey.1",
        "mlvpn-genpsk.1",
        "mlvpn-completions.1",
        "mlvpn-man.1",
    ] {
        assert!(fs::read_to_string(target.join(name)).unwrap().contains(".TH"), "{name}");
    }
}

#[test]
fn help_mentions_every_option_and_subcommand() {
    let output = mlvpn(&["--help"]);
    assert!(output.status.success());
    let text = out(&output);
    for part in [
        "-c, --config",
        "-u, --user",
        "-n, --name",
        "--debug",
        "-D <TOKEN>",
        "-v, --verbose",
        "-q, --quiet",
        "--natural-title",
        "--yes-run-as-root",
        "-V, --version",
        "-h, --help",
        "check",
        "genpass",
        "genkey",
        "pubkey",
        "genpsk",
        "completions",
        "man",
        "Examples:",
        "SIGHUP",
    ] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
}

#[test]
fn options_can_be_abbreviated_as_getopt_allows() {
    let output = mlvpn(&["--verb", "--conf", "/nonexistent/mlvpn.conf"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("/nonexistent/mlvpn.conf"), "{}", err(&output));
}

#[test]
fn without_arguments_there_is_help_and_status_2() {
    let output = mlvpn(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("Usage: mlvpn"), "{}", err(&output));
    let output = mlvpn(&["--debug"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("--config"), "{}", err(&output));
}

#[test]
fn the_version_is_printed() {
    for option in ["-V", "--version"] {
        let output = mlvpn(&[option]);
        assert!(output.status.success());
        assert_eq!(out(&output), format!("mlvpn {}\n", env!("CARGO_PKG_VERSION")));
    }
}
