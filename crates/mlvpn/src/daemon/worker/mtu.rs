//! Keeps the tunnel's MTU to what is known of the links.

use std::net::SocketAddr;

use mlvpn_proto::stats::Version;
use tokio::time::Instant;
use tracing::info;

use super::super::data::Command;
use super::super::ipc::ToPrivileged;
use super::Worker;

impl Worker {
    pub(super) fn learn_mtu(&mut self, link: &str, remote: Option<SocketAddr>) {
        if let (Some(control), Some(remote)) = (self.links.get(link), remote)
            && let Some(endpoints) = control.endpoints
        {
            self.mtu.on_remote(&control.config, endpoints.bind, remote);
            self.apply_mtu();
        }
    }

    /// Asks the routing table again where a report has become too old.
    pub(super) fn expire_mtu(&mut self) {
        for (link, remote) in self.mtu.expire(Instant::now()) {
            self.learn_mtu(&link, Some(remote));
        }
        self.apply_mtu();
    }

    pub(super) fn apply_mtu(&mut self) {
        let mtu = self.mtu.tunnel_mtu(&self.config);
        if mtu != self.current_mtu {
            info!(mtu, before = self.current_mtu, "the tunnel's MTU changes");
            self.current_mtu = mtu;
            self.data.send(Command::SetMtu(mtu));
            self.board.set_mtu(mtu);
            self.tell(&ToPrivileged::SetMtu { mtu });
        }
    }

    /// Has the MTU follow when another version is spoken.
    pub(super) fn note_version(&mut self, version: Option<Version>) {
        if self.mtu.on_version(version) {
            self.apply_mtu();
        }
    }
}
