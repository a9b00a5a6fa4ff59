//! Whatever the file holds, reading it ends, and what is said points into it.

use proptest::prelude::*;

use super::{MAX_FILE_BYTES, SERVER_OF_THE_HOW_TO, key_files, parse, parse_with_keys};

/// Random and mutated files that the test below reads.
const FILES: u32 = 100_000;
/// One in so many is also rendered, which takes longer than reading.
const RENDERED: u32 = 64;

/// Pieces that matter to the syntax, to be inserted anywhere.
const PIECES: [&str; 30] = [
    "\"",
    "'",
    "#",
    "=",
    "[",
    "]",
    "\n",
    "\r\n",
    " ",
    "\t",
    "\0",
    "\u{201c}",
    "\u{feff}",
    "[general]\n",
    "[filters]\n",
    "[dsl1]\n",
    "password =\n",
    "mode = client\n",
    "dsl1 = udp[8] & 3 = 1\n",
    "ip4 = ",
    "99999999999999999999",
    "::",
    "mtu = 70000\n",
    "\u{1f409}",
    "[peer a]\n",
    "[peer b]\n",
    "public_key = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n",
    "private_key_file = own.key\n",
    "protocol_version = 2\n",
    "ip4 = 10.0.0.0/8 default\n",
];

fn read(bytes: &[u8], render: bool) {
    let findings = match parse_with_keys("t", bytes, &mut key_files()) {
        Ok(parsed) => {
            assert!(!parsed.warnings.has_errors());
            assert!(!parsed.config.links.is_empty());
            parsed.warnings
        }
        Err(findings) => {
            assert!(findings.has_errors());
            findings
        }
    };
    let source = findings.source();
    for finding in findings.list() {
        if let Some(span) = finding.span {
            assert!(span.start <= span.end && span.end <= source.len(), "{span:?}");
            assert!(source.is_char_boundary(span.start), "{span:?} {source:?}");
        }
    }
    if render {
        let _ = findings.render(false);
        let _ = findings.log_lines();
    }
}

/// A small generator, so that a failure is found again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(bytes.len() + 1);
        match dice.roll(5) {
            0 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
            1 => bytes.truncate(at),
            2 => {
                let end = (at + dice.roll(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + dice.roll(80)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = dice.roll(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            _ => {
                let piece = PIECES[dice.roll(PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
}

#[test]
fn random_and_mutated_files_are_read_to_the_end() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..FILES {
        let bytes = if round % 4 == 0 {
            (0..dice.roll(200)).map(|_| dice.roll(256) as u8).collect()
        } else {
            let mut bytes = SERVER_OF_THE_HOW_TO.as_bytes().to_vec();
            mutate(&mut bytes, &mut dice);
            bytes
        };
        read(&bytes, round % RENDERED == 0);
    }
}

#[test]
fn the_largest_file_is_read_and_a_larger_one_refused() {
    for line in ["[a]\n", "a=b\n", "\"\n", "#\n", "[filters]\na=b\n"] {
        let bytes = line.repeat(MAX_FILE_BYTES / line.len());
        read(bytes.as_bytes(), false);
    }
    let findings = parse("t", &vec![b'\n'; MAX_FILE_BYTES + 1]).unwrap_err();
    assert!(findings.to_string().contains("larger than 1 MiB"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_to_the_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes, true);
    }

    #[test]
    fn arbitrary_text_is_read_to_the_end(text in "(\\PC|[\\[\\]=#\"' \n\r\t]){0,120}") {
        read(text.as_bytes(), true);
    }

    #[test]
    fn a_quoted_value_is_read_as_it_stands(text in "[!-~&&[^\"]]([ -~&&[^\"]]{0,40}[!-~&&[^\"]])?") {
        let file = format!(
            "[general]\nmode = client\npassword = \"{text}\" # c\n[a]\nremotehost = x\nremoteport = 1\n"
        );
        let parsed = parse("t", file.as_bytes()).unwrap();
        prop_assert_eq!(parsed.config.general.credentials.password.as_ref().unwrap().as_bytes(), text.as_bytes());
    }
}
