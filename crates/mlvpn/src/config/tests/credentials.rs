//! Passwords, key pairs and peers: what is read, from where, and what does not show.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

fn with_keys(text: &str) -> Config {
    match parse_with_keys("mlvpn.conf", text.as_bytes(), &mut key_files()) {
        Ok(parsed) if parsed.warnings.warnings() == 0 => parsed.config,
        Ok(parsed) => panic!("{}", parsed.warnings),
        Err(findings) => panic!("{findings}"),
    }
}

/// Which versions a configuration allows.
fn versions(text: &str) -> (bool, bool) {
    let general = with_keys(text).general;
    (general.speaks_v1(), general.speaks_v2())
}

#[test]
fn all_keys_of_peers_are_read() {
    let config = with_keys(&format!(
        "{SERVER_KEYS}[peer camper]\npublic_key = \"{PUBLIC}\"\npreshared_key = \"{THIRD_PUBLIC}\"\n\
         ip4 = \"10.42.43.2, 192.168.7.0/24\"\nip6 = fd00:42::/64\n\
         [peer b\u{fc}ro]\npublic_key = {THIRD_PUBLIC}\npreshared_key_file = psk\nip4 = 10.42.43.3\n"
    )
    .replace("[general]", "[general]\nprotocol_version = \"2\""));
    assert_eq!(config.general.protocol, ProtocolVersion::V2);
    let pair = config.general.credentials.key_pair.as_ref().unwrap();
    assert_eq!(pair.0.public_key().to_string(), OWN_PUBLIC);
    assert_eq!(config.general.credentials.password, None);
    let [camper, office] = config.peers.as_slice() else { panic!("{:?}", config.peers) };
    assert_eq!((camper.name.as_str(), camper.public_key.to_string().as_str()), ("camper", PUBLIC));
    let shown: Vec<_> = camper.ip4.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.42.43.2/32", "192.168.7.0/24"]);
    assert_eq!(camper.ip6[0].to_string(), "fd00:42::/64");
    assert_eq!(office.name, "büro");
    assert!(camper.preshared_key.is_some() && camper.preshared_key == office.preshared_key);
    assert_eq!(config.links.len(), 1);
}

#[test]
fn what_may_be_spoken_follows_from_the_credentials() {
    let password = |version: &str| format!("{CLIENT}protocol_version = {version}\n{LINK}");
    assert_eq!(versions(&format!("{CLIENT}{LINK}")), (true, true));
    assert_eq!(versions(&password("auto")), (true, true));
    assert_eq!(versions(&password("\"1\"")), (true, false));
    assert_eq!(versions(&password("2")), (false, true));
    assert_eq!(versions(&format!("{CLIENT_KEYS}{LINK}{PEER}")), (false, true));
    let both = format!("{CLIENT}private_key_file = own.key\n{LINK}{PEER}");
    assert_eq!(versions(&both), (true, true));
    assert_eq!(versions(&format!("{CLIENT_KEYS}password =\n{LINK}{PEER}")), (false, true));
}

#[test]
fn a_link_may_be_called_peer_as_in_the_c_program() {
    let config = good(&format!("{CLIENT}{}", LINK.replace("dsl1", "peer")));
    assert_eq!(config.links[0].name, "peer");
    assert_eq!(config.peers, []);
    let config = good(&format!("{CLIENT}{}", LINK.replace("dsl1", "peer1")));
    assert_eq!(config.links[0].name, "peer1");
}

#[test]
fn nothing_secret_is_in_the_debug_output() {
    let mut keys = key_files();
    let text = format!("{CLIENT_KEYS}{LINK}{PEER}preshared_key = {THIRD_PUBLIC}\n");
    let parsed = parse_with_keys("t", text.as_bytes(), &mut keys).unwrap();
    let shown = format!("{:?} {keys:?}", parsed.config);
    assert!(shown.contains(OWN_PUBLIC) && shown.contains(PUBLIC), "{shown}");
    assert!(!shown.contains("dwdt") && !shown.contains("XasI"), "{shown}");
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mlvpn-keys-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";

#[test]
fn key_files_beside_the_configuration_are_read_and_handed_over() {
    let folder = Folder::new("good");
    for mode in [0o600, 0o400] {
        let key = folder.write("own.key", format!("{PRIVATE}\n"), mode);
        let psk = folder.write("psk", THIRD_PUBLIC, mode);
        let absolute = psk.display();
        let text = format!("{CLIENT_KEYS}{LINK}{PEER}preshared_key_file = {absolute}\n");
        let loaded = load(&folder.write("mlvpn.conf", text, mode)).unwrap();
        fs::remove_file(key).unwrap();
        fs::remove_file(psk).unwrap();
        fs::remove_file(folder.0.join("mlvpn.conf")).unwrap();
        let mut handed = KeyFiles::from_bytes(&loaded.keys.to_bytes()).unwrap();
        let again = parse_with_keys("again", &loaded.bytes, &mut handed).unwrap();
        assert_eq!(again.config, loaded.parsed.config);
        assert!(again.config.peers[0].preshared_key.is_some());
    }
}

#[test]
fn a_key_file_that_is_of_no_use_is_refused_with_the_remedy() {
    let folder = Folder::new("bad");
    let conf = folder.write("mlvpn.conf", format!("{CLIENT_KEYS}{LINK}{PEER}"), 0o600);
    let refused = |expected: [&str; 2]| {
        let text = load(&conf).unwrap_err().log_lines().remove(0).1;
        assert!(text.contains("mlvpn.conf:3: private_key_file: "), "{text}");
        assert!(text.contains("own.key"), "{text}");
        assert!(expected.iter().all(|part| text.contains(part)), "{expected:?}: {text}");
        assert!(!text.contains("dwdt"), "{text}");
    };
    refused(["No such file", "mlvpn genkey --out"]);
    for mode in [0o640, 0o604, 0o444, 0o620] {
        folder.write("own.key", PRIVATE, mode);
        refused([&format!("{mode:04o}"), "chmod 600"]);
    }
    for content in [String::new(), PRIVATE.repeat(2), format!("{PRIVATE}\n{PRIVATE}\n"), "x".into()]
    {
        folder.write("own.key", content, 0o600);
        refused(["something else than one key", "mlvpn genkey"]);
    }
    folder.write("own.key", [0xff; 44], 0o600);
    refused(["something else than one key", "mlvpn genkey"]);
    folder.write("own.key", PRIVATE.replace("Co=", "Cp="), 0o600);
    refused(["a key is 32 bytes in base64", "mlvpn genkey"]);
    folder.write("own.key", "\n".repeat(1025), 0o600);
    refused(["larger than 1 KiB", "check the path"]);
    fs::remove_file(folder.0.join("own.key")).unwrap();
    fs::create_dir(folder.0.join("own.key")).unwrap();
    refused(["not a regular file", "the file of a key"]);
}

#[test]
fn what_was_handed_over_is_keys_or_refused() {
    for bytes in [&b"short path\n"[..], &[0xff; 60], format!("{PRIVATE}path\n").as_bytes()] {
        assert!(KeyFiles::from_bytes(bytes).is_none());
    }
    assert!(KeyFiles::from_bytes(&vec![b'\n'; MAX_KEYS_BYTES + 1]).is_none());
    let empty = KeyFiles::from_bytes(b"").unwrap();
    assert!(empty.to_bytes().is_empty());
    let files = key_files();
    let again = KeyFiles::from_bytes(&files.to_bytes()).unwrap();
    assert_eq!(again.to_bytes(), files.to_bytes());
}
