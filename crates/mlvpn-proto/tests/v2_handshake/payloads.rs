//! What may be in the two messages (section 5.3), and what ends the handshake: vectors of their own,
//! since no end of ours would seal them.

use mlvpn_proto::handshake::v2::{HandshakeError, rewrite_proposal, rewrite_reply};
use serde::{Deserialize, Serialize};

use crate::vectors::{hex, unhex};

type Read = fn(&[u8]) -> Result<Vec<u8>, HandshakeError>;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub(crate) struct Payload {
    about: String,
    /// `initiation` or `response`.
    of: String,
    payload: String,
    /// What a receiver knows of it, written as the specification says; absent when it ends the
    /// handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    understood: Option<String>,
}

/// A list of what is in a payload, to which a case does something.
type Entries = Vec<Vec<u8>>;

fn entry(key: u8, value: &[u8]) -> Vec<u8> {
    [&[key, value.len() as u8], value].concat()
}

fn proposal() -> Entries {
    vec![
        entry(1, &unhex::<8>("a0a1a2a3a4a5a6a7")),
        entry(2, &[1, 2]),
        entry(4, &[0]),
        entry(5, &1_700_000_000_000_000_u64.to_be_bytes()),
    ]
}

fn reply() -> Entries {
    vec![
        entry(1, &unhex::<8>("a0a1a2a3a4a5a6a7")),
        entry(3, &[2]),
        entry(4, &[1]),
        entry(6, &[1]),
        entry(7, &unhex::<12>("c2000300fffefdfc01020304")),
    ]
}

/// What both kinds of payload have in common.
fn of_both(of: &str, good: fn() -> Entries, read: Read) -> Vec<Payload> {
    let case = |about: &str, change: &dyn Fn(&mut Entries)| {
        let mut entries = good();
        change(&mut entries);
        Payload::read(about, of, &entries.concat(), read)
    };
    let flags = good().iter().position(|entry| entry[0] == 4).unwrap();
    vec![
        case("all there is", &|_| {}),
        case("the end, and padding", &|all| all.push(vec![0; 5])),
        case("one byte that ends it", &|all| all.push(vec![0])),
        case("unknown keys", &|all| all.extend([entry(8, b"future"), entry(255, b"")])),
        case("unknown flags", &|all| all[flags][2] |= 0xFC),
        case("nothing", &Vec::clear),
        case("padding alone", &|all| *all = vec![vec![0; 40]]),
        case("padding that is not zero", &|all| all.push(vec![0, 0, 1])),
        case("an entry after the end", &|all| all.insert(1, vec![0])),
        case("out of order", &|all| all.swap(1, 2)),
        case("a key twice", &|all| all.insert(1, all[0].clone())),
        case("an unknown key twice", &|all| all.extend([entry(9, b""), entry(9, b"")])),
        case("no session", &|all| drop(all.remove(0))),
        case("a session of 7 bytes", &|all| all[0] = entry(1, &[0xA0; 7])),
        case("a session of 9 bytes", &|all| all[0] = entry(1, &[0xA0; 9])),
        case("no cipher", &|all| drop(all.remove(1))),
        case("no flags", &|all| drop(all.remove(flags))),
        case("flags of no byte", &|all| all[flags] = entry(4, &[])),
        case("flags of two bytes", &|all| all[flags] = entry(4, &[0, 0])),
        case("a key without a length", &|all| all.push(vec![8])),
        case("an unknown entry beyond the end", &|all| all.push(vec![8, 3, 0, 0])),
    ]
}

pub(crate) fn payloads() -> Vec<Payload> {
    let proposed = |about: &str, change: &dyn Fn(&mut Entries)| {
        let mut entries = proposal();
        change(&mut entries);
        Payload::read(about, "initiation", &entries.concat(), rewrite_proposal)
    };
    let replied = |about: &str, change: &dyn Fn(&mut Entries)| {
        let mut entries = reply();
        change(&mut entries);
        Payload::read(about, "response", &entries.concat(), rewrite_reply)
    };
    let mut payloads = of_both("initiation", proposal, rewrite_proposal);
    payloads.extend([
        proposed("ciphers the other way round", &|all| all[1] = entry(2, &[2, 1])),
        proposed("unknown ciphers among them", &|all| all[1] = entry(2, &[9, 2, 0])),
        proposed("unknown ciphers alone: not answered", &|all| all[1] = entry(2, &[9])),
        proposed("a key of the response", &|all| all.insert(2, entry(3, b"any"))),
        proposed("both flags", &|all| all[2] = entry(4, &[3])),
        proposed("no time: with a password only", &|all| drop(all.pop())),
        proposed("a time of 4 bytes", &|all| all[3] = entry(5, &[1, 2, 3, 4])),
        proposed("a time beyond the end", &|all| all[3].truncate(9)),
    ]);
    payloads.extend(of_both("response", reply, rewrite_reply));
    payloads.extend([
        replied("a session that begins", &|all| all[3] = entry(6, &[0])),
        replied("a session that neither begins nor goes on", &|all| all[3] = entry(6, &[2])),
        replied("a key of the initiation", &|all| all.insert(1, entry(2, b"any"))),
        replied("a cipher that nobody knows", &|all| all[1] = entry(3, &[9])),
        replied("two ciphers", &|all| all[1] = entry(3, &[1, 2])),
        replied("no word whether it goes on", &|all| drop(all.remove(3))),
        replied("no header", &|all| drop(all.pop())),
        replied("a header of 11 bytes", &|all| all[4] = entry(7, &[0xC2; 11])),
    ]);
    payloads
}

impl Payload {
    fn read(about: &str, of: &str, payload: &[u8], read: Read) -> Self {
        let understood = match read(payload) {
            Ok(bytes) => Some(hex(&bytes)),
            Err(error) => {
                assert_eq!(error, HandshakeError::BadPayload, "{about}");
                None
            }
        };
        Self { about: about.into(), of: of.into(), payload: hex(payload), understood }
    }
}
