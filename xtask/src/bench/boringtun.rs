//! A tunnel through `boringtun-cli`, a userspace WireGuard, set up without any other tool.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use mlvpn_lab::{Daemon, Host, Lab};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::tunnel::PATIENCE;

/// Where such programs put their sockets (WireGuard's cross-platform interface).
const SOCKETS: &str = "/var/run/wireguard";
/// What WireGuard's own tools set over links of 1500 bytes; room for 80 bytes of headers.
pub(super) const MTU: u32 = 1420;
/// UDP port at both ends.
const PORT: u16 = 51_820;

/// One end. Dropping it removes its socket.
#[derive(Debug)]
pub(super) struct End {
    daemon: Daemon,
    interface: String,
    socket: PathBuf,
    private_key: [u8; 32],
    underlay: IpAddr,
}

/// Starts both ends and tells them of each other: (client, server).
///
/// # Errors
/// When the program does not start or refuses its configuration.
pub(super) fn start(program: &Path, lab: &Lab, inner: [IpAddr; 2]) -> Result<(End, End)> {
    let link = lab.links().first().context("the lab has a link")?;
    let client = End::start(program, lab.client(), link.client_v4())?;
    let server = End::start(program, lab.server(), link.server_end_v4())?;
    client.set_peer(&server, inner[1])?;
    server.set_peer(&client, inner[0])?;
    Ok((client, server))
}

impl End {
    fn start(program: &Path, host: &Host, underlay: IpAddr) -> Result<Self> {
        // Sockets of all namespaces share a directory; a name has up to 15 bytes.
        let interface = format!("wg{}{}", std::process::id(), &host.name()[..1]);
        let socket = Path::new(SOCKETS).join(format!("{interface}.sock"));
        let daemon = Daemon::builder(host, program)?
            .args(["--foreground", "--disable-drop-privileges", &interface])
            .start()?;
        let mut private_key = [0; 32];
        getrandom::fill(&mut private_key).map_err(|error| anyhow!("no random numbers: {error}"))?;
        let mut end = Self { daemon, interface, socket, private_key, underlay };
        let socket = end.socket.clone();
        end.daemon.wait_until("listening", PATIENCE, |_| UnixStream::connect(&socket).is_ok())?;
        Ok(end)
    }

    /// Its tun device.
    pub(super) fn interface(&self) -> &str {
        &self.interface
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    fn set_peer(&self, peer: &Self, inner: IpAddr) -> Result<()> {
        let public_key = x25519(peer.private_key, X25519_BASEPOINT_BYTES);
        self.configure(&format!(
            "private_key={}\nlisten_port={PORT}\npublic_key={}\nendpoint={}\nallowed_ip={inner}/32\n",
            hex(&self.private_key),
            hex(&public_key),
            SocketAddr::new(peer.underlay, PORT),
        ))
    }

    /// One `set` request, which is answered by an error number.
    fn configure(&self, settings: &str) -> Result<()> {
        let exchange = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(format!("set=1\n{settings}\n").as_bytes())?;
            let mut answer = String::new();
            while !answer.ends_with("\n\n") {
                let mut bytes = [0; 256];
                match stream.read(&mut bytes)? {
                    0 => break,
                    length => answer.push_str(&String::from_utf8_lossy(&bytes[..length])),
                }
            }
            Ok(answer)
        };
        let answer = exchange().with_context(|| format!("cannot configure {}", self.interface))?;
        ensure!(answer.starts_with("errno=0\n"), "{} answers {answer:?}", self.interface);
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // It removes its socket itself when it ends in order, and is killed otherwise.
        let _ = self.daemon.terminate(PATIENCE);
        let _ = fs::remove_file(&self.socket);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lower_case_hex() {
        assert_eq!(hex(&[0x00, 0x0f, 0xf0, 0xab]), "000ff0ab");
    }
}
