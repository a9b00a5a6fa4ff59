//! What version 1 uses of an endpoint's settings.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::{EndpointConfig, FilterRule, Role, Versions};
use crate::crypto::v1::Key;
use crate::ip::PacketKind;
use crate::resequencer::ReorderPolicy;

/// The settings of a session; those that [`EndpointConfig`] has as well mean the same.
#[derive(Clone, Debug)]
pub(crate) struct SessionConfig {
    pub(crate) role: Role,
    pub(crate) inner: PacketKind,
    /// The shared key.
    pub(crate) key: Key,
    pub(crate) cleartext_data: bool,
    pub(crate) reorder: ReorderPolicy,
    /// At most [`Self::max_mtu`].
    pub(crate) mtu: u16,
    pub(crate) local_ip4: Option<Ipv4Addr>,
    pub(crate) local_ip6: Option<Ipv6Addr>,
    pub(crate) filters: Vec<FilterRule>,
}

impl SessionConfig {
    /// The settings of version 1, if it may be spoken: not without its password `[V4]`.
    pub(crate) fn of_endpoint(config: &EndpointConfig) -> Option<Self> {
        let key = config.v1_key.clone().filter(|_| config.versions != Versions::V2)?;
        let max_mtu = EndpointConfig::max_mtu_v1(config.inner, config.cleartext_data);
        Some(Self {
            role: config.role,
            inner: config.inner,
            key,
            cleartext_data: config.cleartext_data,
            reorder: config.reorder,
            mtu: config.mtu.min(max_mtu),
            local_ip4: config.local_ip4,
            local_ip6: config.local_ip6,
            filters: config.filters.clone(),
        })
    }

    /// The largest MTU whose packets fit into a datagram that the peer takes, in bytes.
    pub(crate) const fn max_mtu(&self) -> u16 {
        EndpointConfig::max_mtu_v1(self.inner, self.cleartext_data)
    }
}
