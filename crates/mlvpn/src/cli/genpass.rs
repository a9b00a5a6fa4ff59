//! `mlvpn genpass`.

use zeroize::Zeroizing;

/// Strength of the password in bytes: 256 bits, as much as the key that is derived from it.
const RANDOM_BYTES: usize = 32;
/// 64 characters that mean nothing to the configuration's syntax, to shells, or to the C program.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Prints a password on a line of its own.
pub(super) fn run() -> anyhow::Result<()> {
    println!("{}", generate()?.as_str());
    Ok(())
}

/// A password that nobody has seen before.
pub(crate) fn generate() -> anyhow::Result<Zeroizing<String>> {
    Ok(spell(&*super::random_bytes()?))
}

/// Six bits per character, the last of which holds the remaining four.
fn spell(random: &[u8; RANDOM_BYTES]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(RANDOM_BYTES * 8 / 6 + 1));
    for three in random.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            let six = bits >> (18 - 6 * at) & 0x3f;
            text.push(char::from(ALPHABET[six as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_randomness_counts() {
        let base = spell(&[0; RANDOM_BYTES]);
        assert_eq!(base.len(), 43);
        for bit in 0..RANDOM_BYTES * 8 {
            let mut random = [0; RANDOM_BYTES];
            random[bit / 8] |= 1 << (bit % 8);
            assert_ne!(*spell(&random), *base, "bit {bit}");
        }
        assert_eq!(*spell(&[0xff; RANDOM_BYTES]), format!("{}8", "_".repeat(42)));
    }

    #[test]
    fn a_password_is_read_as_it_was_printed_with_and_without_quotes() {
        let random = std::array::from_fn(|i| (i * 37) as u8);
        let password = spell(&random);
        for quote in ["", "\""] {
            let text = format!(
                "[general]\nmode=server\npassword = {quote}{}{quote}\n[a]\nbindport=1\n",
                password.as_str()
            );
            let parsed = crate::config::parse("t", text.as_bytes()).unwrap();
            assert_eq!(
                parsed.config.general.credentials.password.as_ref().unwrap().as_bytes(),
                password.as_bytes()
            );
            assert_eq!(parsed.warnings.warnings(), 0);
        }
    }
}
