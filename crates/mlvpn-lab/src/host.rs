//! A host: a network namespace with a name.

use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use mlvpn_io::netlink::{LinkCounters, Netlink, NetlinkError, Prefix};
use mlvpn_io::netns::NetNs;

/// Settings of every host, by their path below `/proc/sys`.
const SETTINGS: [(&str, &str); 11] = [
    // Answers may leave by another interface than the question came in by.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // Room for several times the bandwidth-delay product of 1 Gbit/s and 50 ms.
    ("net/ipv4/tcp_rmem", "4096 131072 33554432"),
    ("net/ipv4/tcp_wmem", "4096 65536 33554432"),
    // A test must not inherit the path that the one before it found.
    ("net/ipv4/tcp_no_metrics_save", "1"),
    // A connection whose program has ended, and whose peer does not answer, would otherwise keep the
    // host from disappearing for minutes.
    ("net/ipv4/tcp_orphan_retries", "1"),
    // Echo requests from root, without a raw socket.
    ("net/ipv4/ping_group_range", "0 0"),
    // No packets but those of the workload: no router discovery, no link-local addresses.
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/accept_dad", "0"),
];

/// A network stack of its own with named interfaces. Clones are handles to the same host; with the
/// last of them, and the last thread, program and socket inside, it disappears.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    namespace: NetNs,
    netlink: Mutex<Netlink>,
}

impl Host {
    /// A host with nothing but a loopback interface.
    ///
    /// # Errors
    /// Without root or `CAP_SYS_ADMIN`, or when the kernel lacks IPv6; the text says so.
    pub fn new(name: &str) -> Result<Self> {
        let namespace = NetNs::new().with_context(|| format!("host {name}"))?;
        namespace.run(|| {
            SETTINGS.iter().try_for_each(|(key, value)| {
                std::fs::write(format!("/proc/sys/{key}"), value)
                    .with_context(|| format!("host {name}: cannot set {key} to {value}"))
            })
        })??;
        let netlink = Mutex::new(namespace.netlink()?);
        Ok(Self { inner: Arc::new(Inner { name: name.to_owned(), namespace, netlink }) })
    }

    /// What reports call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &NetNs {
        &self.inner.namespace
    }

    /// Its routing socket, to look at or change its interfaces, addresses, routes and rules.
    pub fn netlink(&self) -> MutexGuard<'_, Netlink> {
        // A request that panicked has no half-done state: the next one has a number of its own.
        self.inner.netlink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` inside, on a thread of its own, and waits for it. What it opens stays inside.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        Ok(self.inner.namespace.run(work)?)
    }

    /// Starts `work` inside, on a thread called `name`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        Ok(self.inner.namespace.spawn(name, work)?)
    }

    /// A command whose program will run inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.inner.namespace.command(program)
    }

    /// Gives an interface addresses and sets it up. Addresses that it has are no error.
    ///
    /// # Errors
    /// When there is no such interface, or an address is refused.
    pub fn configure(&self, interface: &str, mtu: Option<u32>, addresses: &[Prefix]) -> Result<()> {
        let mut netlink = self.netlink();
        let mut configure = || -> Result<(), NetlinkError> {
            let index = netlink.link_by_name(interface)?.index;
            if let Some(mtu) = mtu {
                netlink.set_link_mtu(index, mtu)?;
            }
            netlink.set_link_up(index, true)?;
            for address in addresses {
                match netlink.add_address(index, *address) {
                    Err(error) if error.is_already_there() => {}
                    other => other?,
                }
            }
            Ok(())
        };
        configure().with_context(|| format!("host {}: interface {interface}", self.name()))
    }

    /// What an interface has carried.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn counters(&self, interface: &str) -> Result<LinkCounters> {
        let link = self.netlink().link_by_name(interface);
        Ok(link.with_context(|| format!("host {}", self.name()))?.counters)
    }

    /// The addresses of an interface.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn addresses(&self, interface: &str) -> Result<Vec<IpAddr>> {
        let mut netlink = self.netlink();
        let index = netlink.link_by_name(interface)?.index;
        let all = netlink.addresses()?;
        Ok(all.iter().filter(|a| a.link == index).map(|a| a.prefix.address).collect())
    }

    /// Joins two hosts by an ethernet cable without limits: `interface` here and `peer_interface` on
    /// `peer`. They are down and have no addresses yet.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn connect(&self, interface: &str, peer: &Self, peer_interface: &str) -> Result<()> {
        self.netlink()
            .create_veth(interface, peer_interface, Some(peer.namespace().as_fd()))
            .with_context(|| format!("hosts {} and {}", self.name(), peer.name()))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.inner.name).finish()
    }
}
