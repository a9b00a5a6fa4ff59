//! What a SETTINGS frame says (section 4.8).

use super::packet::DATA_OVERHEAD;
use super::reader::Reader;
use crate::path::mtu::BASE;

const KEY_MAX_IP_PACKET: u8 = 0x01;
/// What every path carries: a peer that takes less would make the tunnel smaller for all others.
const LEAST_MAX_IP_PACKET: u16 = BASE - DATA_OVERHEAD as u16;
const KEY_RESEQUENCER_BYTES: u8 = 0x02;
const KEY_SOFTWARE: u8 = 0x03;

/// Longest name of a software.
const MAX_SOFTWARE_LEN: usize = 64;

/// What an endpoint tells of itself. What is not said is none. A value that cannot be understood,
/// because it has another length than its key says, is too small or not UTF-8, counts as not said; of a
/// repeated key the last value counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings<'a> {
    /// The largest IP packet that this end takes from the session, in bytes; at least 1,168.
    pub max_ip_packet: Option<u16>,
    /// How many bytes this end's resequencer may hold.
    pub resequencer_bytes: Option<u32>,
    /// The sender's software.
    pub software: Option<SoftwareName<'a>>,
}

impl<'a> Settings<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 2]);
        if let Some(len) = self.max_ip_packet {
            write_entry(KEY_MAX_IP_PACKET, &len.to_be_bytes(), out);
        }
        if let Some(bytes) = self.resequencer_bytes {
            write_entry(KEY_RESEQUENCER_BYTES, &bytes.to_be_bytes(), out);
        }
        if let Some(SoftwareName(name)) = self.software {
            write_entry(KEY_SOFTWARE, name.as_bytes(), out);
        }
        let len = (out.len() - start - 2) as u16;
        out[start..start + 2].copy_from_slice(&len.to_be_bytes());
    }

    /// Reads the fields behind the type; nothing when an entry is longer than the frame.
    pub(super) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let len = reader.u16()?;
        let mut entries = Reader(reader.bytes(usize::from(len))?);
        let mut settings = Self::default();
        while !entries.0.is_empty() {
            let (key, len) = (entries.u8()?, entries.u8()?);
            settings.take(key, entries.bytes(usize::from(len))?);
        }
        Some(settings)
    }

    fn take(&mut self, key: u8, value: &'a [u8]) {
        match key {
            KEY_MAX_IP_PACKET => {
                let len = u16_of(value).filter(|len| *len >= LEAST_MAX_IP_PACKET);
                replace(&mut self.max_ip_packet, len);
            }
            KEY_RESEQUENCER_BYTES => replace(&mut self.resequencer_bytes, u32_of(value)),
            KEY_SOFTWARE => replace(&mut self.software, SoftwareName::of(value)),
            _ => {}
        }
    }
}

/// The name and version of a software, at most 64 bytes of UTF-8. It comes from the peer: show it
/// only escaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SoftwareName<'a>(&'a str);

impl<'a> SoftwareName<'a> {
    /// That name; none when it is too long.
    #[must_use]
    pub fn new(name: &'a str) -> Option<Self> {
        (name.len() <= MAX_SOFTWARE_LEN).then_some(Self(name))
    }

    fn of(bytes: &'a [u8]) -> Option<Self> {
        str::from_utf8(bytes).ok().and_then(Self::new)
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

fn replace<T>(present: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *present = value;
    }
}

fn u16_of(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

fn u32_of(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn write_entry(key: u8, value: &[u8], out: &mut Vec<u8>) {
    let len = u8::try_from(value.len()).expect("no value of a setting is longer than 64 bytes");
    out.extend_from_slice(&[key, len]);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Option<Settings<'_>> {
        let bytes = [&(content.len() as u16).to_be_bytes(), content].concat();
        Settings::read(&mut Reader(Vec::leak(bytes)))
    }

    #[test]
    fn unknown_keys_and_odd_values_are_passed_over() {
        let settings = read(&[0x77, 1, 9, 0x01, 2, 5, 220, 0x02, 3, 1, 1, 1]).unwrap();
        let expected = Settings { max_ip_packet: Some(1500), ..Settings::default() };
        assert_eq!(settings, expected);
        assert_eq!(read(&[0x03, 2, 0xC3, 0x28]), Some(Settings::default()));
        assert_eq!(read(&[]), Some(Settings::default()));
    }

    #[test]
    fn the_last_value_that_can_be_understood_counts() {
        let settings = read(&[0x01, 2, 6, 1, 0x01, 2, 6, 2, 0x01, 1, 3]).unwrap();
        assert_eq!(settings.max_ip_packet, Some(0x602));
    }

    #[test]
    fn a_peer_cannot_make_the_tunnel_smaller_than_every_path() {
        let told = |len: u16| {
            let [high, low] = len.to_be_bytes();
            read(&[0x01, 2, high, low]).unwrap().max_ip_packet
        };
        assert_eq!([0, 576, 1_167].map(told), [None; 3]);
        assert_eq!([1_168, 9_000].map(told), [Some(1_168), Some(9_000)]);
    }

    #[test]
    fn an_entry_that_ends_early_spoils_the_frame() {
        assert_eq!(read(&[0x01, 3, 5, 220]), None);
        assert_eq!(read(&[0x01]), None);
        assert_eq!(Settings::read(&mut Reader(&[0, 5, 1, 2, 5])), None);
    }

    #[test]
    fn a_name_has_its_limit() {
        let name = "x".repeat(65);
        assert_eq!(SoftwareName::new(&name), None);
        assert!(SoftwareName::new(&name[..64]).is_some());
        let content = [&[0x03, 65], name.as_bytes()].concat();
        assert_eq!(read(&content), Some(Settings::default()));
    }
}
