//! A link of a lab, with its two ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::Sender;

use anyhow::{Context, Result, bail, ensure};
use mlvpn_io::netlink::Prefix;
use mlvpn_io::tun::{Tun, TunOptions};
use mlvpn_sim::link::{Change, Direction, WanLink};
use mlvpn_sim::preset::DEFAULT_MTU;

use super::LinkPlan;
use crate::emulator::{Emulator, LinkTraffic};
use crate::host::Host;

/// Packets that a link's device holds until the emulator reads them: more than it ever lags behind,
/// so that only the model drops.
const DEVICE_QUEUE: u32 = 10_000;

/// A link between the client and the server.
#[derive(Debug)]
pub struct LabLink {
    name: String,
    number: u8,
    /// `None`: a cable.
    emulator: Option<Emulator>,
    client: Host,
    server: Host,
}

impl LabLink {
    /// Makes link `number`, from 1, with its devices, which are up and have addresses.
    pub(crate) fn create(
        plan: &LinkPlan,
        number: u32,
        client: &Host,
        server: &Host,
        seed: u64,
    ) -> Result<Self> {
        ensure!(
            (1..=15).contains(&plan.name.len()) && !plan.name.contains(['/', '%', ':', ' ']),
            "`{}` cannot be an interface's name: 1 to 15 bytes without / % : or space",
            plan.name
        );
        let emulator = match &plan.spec {
            None => {
                client.connect(&plan.name, server, &plan.name)?;
                None
            }
            Some(spec) => {
                let ends = (open_tun(client, &plan.name)?, open_tun(server, &plan.name)?);
                Some(Emulator::start(&plan.name, ends.0, ends.1, spec, seed)?)
            }
        };
        let number = u8::try_from(number).context("too many links")?;
        let (name, client, server) = (plan.name.clone(), client.clone(), server.clone());
        let link = Self { name, number, emulator, client, server };
        let mtu = plan.device_mtu.or_else(|| plan.spec.as_ref().map(device_mtu));
        let client_end = [Prefix::new(link.client_v4(), 24), Prefix::new(link.client_v6(), 64)];
        link.client.configure(&link.name, mtu, &client_end)?;
        link.configure_server(mtu)?;
        Ok(link)
    }

    /// Its name, and that of its devices.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number, from 1.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// The client's IPv4 address on this link.
    #[must_use]
    pub fn client_v4(&self) -> IpAddr {
        self.v4(2)
    }

    /// The client's IPv6 address on this link.
    #[must_use]
    pub fn client_v6(&self) -> IpAddr {
        self.v6(2)
    }

    /// The server's IPv4 address on this link only; it is the client's gateway.
    #[must_use]
    pub fn server_end_v4(&self) -> IpAddr {
        self.v4(1)
    }

    /// The server's IPv6 address on this link only; it is the client's gateway.
    #[must_use]
    pub fn server_end_v6(&self) -> IpAddr {
        self.v6(1)
    }

    /// Gives the link new properties, which also hold for what is queued. The devices keep their MTU:
    /// with a smaller one than that the link becomes a black hole for large packets.
    ///
    /// # Errors
    /// When it is a cable.
    pub fn set_spec(&self, spec: &WanLink) -> Result<()> {
        self.emulator()?.set_spec(spec);
        Ok(())
    }

    /// Makes one change, such as a new rate of one direction.
    ///
    /// # Errors
    /// When it is a cable.
    pub fn apply(&self, change: &Change) -> Result<()> {
        self.emulator()?.apply(change);
        Ok(())
    }

    /// Cuts the link: packets vanish silently, the devices stay up. A cable is pulled instead, which
    /// both hosts notice: the server's device is down and the client's has no carrier.
    ///
    /// # Errors
    /// When the cable's device refuses.
    pub fn cut(&self) -> Result<()> {
        match &self.emulator {
            Some(emulator) => emulator.cut(),
            None => self.pull_cable()?,
        }
        Ok(())
    }

    /// Cuts one direction.
    ///
    /// # Errors
    /// When it is a cable.
    pub fn cut_direction(&self, direction: Direction) -> Result<()> {
        self.emulator()?.cut_direction(direction);
        Ok(())
    }

    /// Ends a cut of either direction. On a cable IPv4 works again at once, IPv6 only after neighbour
    /// discovery has, which was seen to take up to a minute.
    ///
    /// # Errors
    /// When the cable's device refuses.
    pub fn restore(&self) -> Result<()> {
        match &self.emulator {
            Some(emulator) => emulator.restore(),
            None => self.configure_server(None)?,
        }
        Ok(())
    }

    /// What the emulated link did with the packets that it was given; `None` for a cable.
    #[must_use]
    pub fn traffic(&self) -> Option<LinkTraffic> {
        self.emulator.as_ref().map(Emulator::traffic)
    }

    /// Bytes of IP packets that have arrived so far: at the client, and at the server.
    ///
    /// # Errors
    /// When the device of a cable is gone.
    pub fn delivered_bytes(&self) -> Result<(u64, u64)> {
        match self.traffic() {
            Some(traffic) => Ok((traffic.down.delivered_bytes, traffic.up.delivered_bytes)),
            None => {
                let counters = self.client.counters(&self.name)?;
                Ok((counters.rx_bytes, counters.tx_bytes))
            }
        }
    }

    /// Has each IP packet that enters the link copied to `sink`, with where it goes; the link does not
    /// wait for it. One at a time; the former one gets nothing more.
    ///
    /// # Errors
    /// When it is a cable.
    pub fn copy_to(&self, sink: Sender<(Direction, Vec<u8>)>) -> Result<()> {
        self.emulator()?.copy_to(sink);
        Ok(())
    }

    fn emulator(&self) -> Result<&Emulator> {
        match &self.emulator {
            Some(emulator) => Ok(emulator),
            None => bail!("link {} is a cable, which has no properties", self.name),
        }
    }

    fn pull_cable(&self) -> Result<()> {
        let mut netlink = self.server.netlink();
        let index = netlink.link_by_name(&self.name)?.index;
        Ok(netlink.set_link_up(index, false)?)
    }

    /// Sets the server's device up, and gives it the addresses that it does not have: IPv6 ones go
    /// with a device that is set down.
    fn configure_server(&self, mtu: Option<u32>) -> Result<()> {
        let addresses =
            [Prefix::new(self.server_end_v4(), 24), Prefix::new(self.server_end_v6(), 64)];
        self.server.configure(&self.name, mtu, &addresses)
    }

    fn v4(&self, host: u8) -> IpAddr {
        Ipv4Addr::new(198, 18, self.number, host).into()
    }

    fn v6(&self, host: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 2, 0, u16::from(self.number), 0, 0, 0, host).into()
    }
}

fn open_tun(host: &Host, name: &str) -> Result<Tun> {
    // Not by the options: root of a user namespace may set the length by netlink only.
    let options =
        TunOptions { name: Some(name.to_owned()), txqueuelen: None, ..TunOptions::default() };
    let tun = host.run(|| Tun::open(&options))?.with_context(|| {
        format!(
            "cannot create the tun device {name} (it needs CAP_NET_ADMIN, a kernel with tun and \
             the permission to open /dev/net/tun)"
        )
    })?;
    let mut netlink = host.netlink();
    let index = netlink.link_by_name(name)?.index;
    netlink.set_link_tx_queue_len(index, DEVICE_QUEUE)?;
    Ok(tun)
}

fn device_mtu(spec: &WanLink) -> u32 {
    let mtu = spec.down.mtu.into_iter().chain(spec.up.mtu).min().unwrap_or(DEFAULT_MTU);
    u32::try_from(mtu).unwrap_or(u32::MAX)
}
