//! Byte compatibility with mlvpn 2.x: two recorded conversations of the C program, encrypted and
//! with `cleartext_data`, datagram by datagram.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use mlvpn_proto::crypto::v1::{Key, TAG_LEN};
use mlvpn_proto::id::{DataSeq, FlowId, PacketNumber};
use mlvpn_proto::wire::v1::{Datagram, HEADER_LEN, Header, Kind};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    password: String,
    encrypted: Vec<Record>,
    cleartext_data: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    datagram: String,
    len: usize,
    version: u8,
    #[serde(rename = "type")]
    kind: String,
    reorder: u8,
    timestamp: u16,
    timestamp_reply: u16,
    flow_id: u32,
    seq: u64,
    data_seq: u64,
    nonce: Option<String>,
    plaintext: String,
}

impl Record {
    fn header(&self) -> Header {
        let kind = match self.kind.as_str() {
            "auth" => Kind::Auth,
            "auth_ok" => Kind::AuthOk,
            "keepalive" => Kind::Keepalive,
            "data" => Kind::Data,
            "disconnect" => Kind::Disconnect,
            other => panic!("unknown type {other}"),
        };
        Header {
            kind,
            reorder: self.reorder == 1,
            timestamp: self.timestamp,
            timestamp_reply: self.timestamp_reply,
            flow_id: FlowId(self.flow_id),
            packet_number: PacketNumber(self.seq),
            data_seq: DataSeq(self.data_seq),
        }
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("data/v1-vectors.json")).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn check_decoding(record: &Record, key: &Key) {
    let bytes = hex(&record.datagram);
    let datagram = Datagram::parse(&bytes).unwrap();
    assert_eq!(record.version, 1);
    assert_eq!(*datagram.header(), record.header());
    assert_eq!(datagram.payload().len(), record.len);
    let mut plain = Vec::new();
    if record.nonce.is_some() {
        let Header { flow_id, packet_number, .. } = *datagram.header();
        key.open(flow_id, packet_number, datagram.payload(), &mut plain).unwrap();
    } else {
        plain.extend_from_slice(datagram.payload());
    }
    assert_eq!(plain, hex(&record.plaintext));
}

fn check_encoding(record: &Record, key: &Key) {
    let plain = hex(&record.plaintext);
    let header = record.header();
    let mut payload = plain.clone();
    if record.nonce.is_some() {
        payload = vec![0; plain.len() + TAG_LEN];
        key.seal(header.flow_id, header.packet_number, &plain, &mut payload);
    }
    let mut bytes = header.encode(payload.len()).to_vec();
    bytes.extend_from_slice(&payload);
    assert_eq!(bytes.len(), HEADER_LEN + payload.len());
    assert_eq!(bytes, hex(&record.datagram));
}

#[test]
fn every_recorded_datagram_is_decoded_to_its_fields_and_encoded_to_its_bytes() {
    let vectors = vectors();
    let key = Key::from_password(vectors.password.as_bytes());
    let records: Vec<_> = vectors.encrypted.iter().chain(&vectors.cleartext_data).collect();
    assert_eq!(records.len(), 90, "all of the recording");
    for record in records {
        check_decoding(record, &key);
        check_encoding(record, &key);
    }
}

#[test]
fn clear_text_data_is_the_only_thing_that_is_not_sealed() {
    for record in vectors().cleartext_data {
        assert_eq!(record.nonce.is_none(), record.kind == "data");
    }
    assert!(vectors().encrypted.iter().all(|record| record.nonce.is_some()));
}
