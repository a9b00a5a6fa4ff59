//! The host's network, set up by the program itself: addresses, routes, rules, filters, name servers.
//!
//! Everything here runs in the privileged process and acts on its configuration and on what the kernel
//! tells; the worker says only whether the tunnel is up. The decisions are pure: what a configuration
//! wants ([`setup`]), on a host as it is ([`present`]), is what should be there ([`desired`]); the
//! [`operations`] are the difference between the two, and [`executor`] has the kernel do them. So a
//! start, a change of gateways, a reload, a stop and the start after a crash are one and the same
//! thing: bring about what is wanted now, and nothing else of our own.
//!
//! | module | purpose |
//! |---|---|
//! | `numbers` | tables, priorities, marks, by which all that is ours is known |
//! | `setup` | what the configuration wants |
//! | `present` | what there is |
//! | `desired`, `operations`, `executor` | addresses, routes and rules: wanted, compared, changed |
//! | `firewall`, `command` | the nftables table, and running `nft` |
//! | `sysctl` | settings of the kernel, put back unless somebody else changed them |
//! | `resolver` | name servers |
//! | `record` | what has to be known after a crash |
//! | `runner` | the thread that follows the tunnel, the kernel and reloads |

pub mod command;
pub mod desired;
pub mod executor;
pub mod firewall;
pub mod numbers;
pub mod operations;
pub mod present;
pub mod record;
pub mod resolver;
pub mod runner;
pub mod setup;
pub mod sysctl;

use std::path::{Path, PathBuf};

use mlvpn_io::netlink::{Netlink, TableMonitor};
use mlvpn_io::netns::NetNs;
use tracing::{debug, info, warn};

use desired::Desired;
use firewall::Surroundings;
use operations::{Operation, Owned};
use present::Present;
use record::{Claim, Record};
use resolver::Resolver;
use setup::Setup;
use sysctl::Sysctls;

/// Where records and locks are when the service manager names no folder.
const FOLDER: &str = "/run/mlvpn";
const FORWARD_V4: &str = "net/ipv4/ip_forward";
const FORWARD_V6: &str = "net/ipv6/conf/all/forwarding";

/// A part of the network that could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {purpose}: {answer} ({remedy})")]
pub struct NetworkError {
    /// What was to be done, as a phrase.
    pub purpose: String,
    /// What was tried, and the system's answer.
    pub answer: String,
    /// What helps.
    pub remedy: String,
    /// Whether it may come right without anybody's doing, as devices and gateways come and go: no reason
    /// not to start.
    pub is_passing: bool,
}

impl NetworkError {
    fn new(purpose: &str, answer: impl std::fmt::Display, remedy: impl Into<String>) -> Self {
        let (purpose, answer) = (purpose.to_owned(), answer.to_string());
        Self { purpose, answer, remedy: remedy.into(), is_passing: false }
    }

    fn passing(self, is_passing: bool) -> Self {
        Self { is_passing, ..self }
    }
}

/// The folder for records: the first of `RUNTIME_DIRECTORY`, which systemd sets, or `/run/mlvpn`.
#[must_use]
pub fn record_folder() -> PathBuf {
    let named = std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
    let first = std::env::split_paths(&named).find(|path| path.is_absolute());
    first.unwrap_or_else(|| PathBuf::from(FOLDER))
}

/// What this program has done to the host's network, and shall do.
#[derive(Debug)]
pub struct Network {
    claim: Claim,
    record: Record,
    netlink: Netlink,
    /// None where the kernel does not tell of its tables.
    tables: Option<TableMonitor>,
    setup: Setup,
    is_tunnel_up: bool,
    /// Whether the interface has been up since it is to be: who sets it down then wants it down.
    was_up: bool,
    /// The nftables table that there is; `None` also when that is not known.
    script: Option<String>,
    sysctls: Sysctls,
    resolver: Resolver,
}

impl Network {
    /// Takes a slot for the program with this interface. Nothing is changed yet, but what a program
    /// that crashed has left behind is known now.
    ///
    /// # Errors
    /// When the folder for records cannot be used, or the kernel does not tell of its network.
    pub fn open(folder: &Path, interface: &str) -> Result<Self, NetworkError> {
        let purpose = "take charge of the host's network";
        let namespace = NetNs::current().map_err(|error| error.to_string());
        let namespace = namespace.and_then(|ns| ns.id().map_err(|error| error.to_string()));
        let namespace =
            namespace.map_err(|error| NetworkError::new(purpose, error, "mount /proc"))?;
        let (claim, record) = Claim::take(folder, namespace, interface).map_err(|error| {
            let remedy = "make that folder writable for mlvpn, or set manage_network = \"no\"";
            NetworkError::new(purpose, format!("{}: {error}", folder.display()), remedy)
        })?;
        let netlink = Netlink::open()
            .map_err(|error| NetworkError::new(purpose, error, "check the kernel's rtnetlink"))?;
        let tables = TableMonitor::open(&firewall::table_name(claim.slot));
        let tables = tables.inspect_err(|error| debug!(%error, "network: tables are not watched"));
        let mut network = Self {
            claim,
            record,
            netlink,
            tables: tables.ok(),
            setup: Setup { interface: interface.to_owned(), ..Setup::default() },
            is_tunnel_up: false,
            was_up: false,
            script: None,
            sysctls: Sysctls::of_kernel(),
            resolver: Resolver::of_host(),
        };
        if !network.record.is_empty() {
            info!(
                interface = network.record.interface,
                "network: a program that was killed left things behind"
            );
            network.adopt(interface);
        }
        if network.record.resolver.is_none() {
            network.resolver.recover(interface);
        }
        // The interface is another one by now, or has been set down since.
        network.record.is_up = false;
        network.record.namespace = namespace;
        interface.clone_into(&mut network.record.interface);
        Ok(network)
    }

    /// What was left behind for another interface, or for one that is another now, is of no use.
    fn adopt(&mut self, interface: &str) {
        if self.record.interface != interface {
            let own = std::mem::replace(
                &mut self.setup,
                Setup { interface: self.record.interface.clone(), ..Setup::default() },
            );
            for error in self.undo() {
                warn!("network: {error}");
            }
            self.setup = own;
        }
    }

    /// The numbers that are its own.
    #[must_use]
    pub fn slot(&self) -> numbers::Slot {
        self.claim.slot
    }

    /// Brings about what `setup` wants while the tunnel is up or not, and on the host as it is now.
    /// What fails is left out, and nothing of it remains.
    ///
    /// # Errors
    /// Each part that failed.
    pub fn converge(&mut self, setup: &Setup, is_tunnel_up: bool) -> Vec<NetworkError> {
        self.setup.clone_from(setup);
        self.is_tunnel_up = is_tunnel_up;
        let present = match Present::read(&mut self.netlink) {
            Ok(present) => present,
            Err(error) => {
                let remedy = "it is tried again; check the kernel's rtnetlink";
                return vec![NetworkError::new("look at the host's network", error, remedy)];
            }
        };
        let sysctls = &self.sysctls;
        let around = Surroundings::of(setup, &present, |device| sysctls.is_strict(device));
        let mut errors = Vec::new();
        errors.extend(self.converge_table(&around).err());
        errors.extend(self.converge_sysctls(&around));
        errors.extend(self.converge_kernel(&present));
        errors.extend(self.converge_resolver().err());
        errors.extend(self.save().err());
        errors
    }

    /// Takes back all that was done.
    ///
    /// # Errors
    /// Each part that failed, and stays.
    pub fn undo(&mut self) -> Vec<NetworkError> {
        self.setup = Setup { interface: self.setup.interface.clone(), ..Setup::default() };
        self.is_tunnel_up = false;
        let around = Surroundings::default();
        let mut errors = Vec::new();
        errors.extend(self.converge_resolver().err());
        match Present::read(&mut self.netlink) {
            Ok(present) => errors.extend(self.converge_kernel(&present)),
            Err(error) => {
                errors.push(NetworkError::new("undo routes and rules", error, "restart the host"));
            }
        }
        errors.extend(self.converge_sysctls(&around));
        errors.extend(self.converge_table(&around).err());
        if errors.is_empty() {
            let cleared = self.claim.clear();
            errors.extend(cleared.err().map(|e| self.unwritten(&e)));
        } else {
            errors.extend(self.save().err());
        }
        errors
    }

    fn converge_kernel(&mut self, present: &Present) -> Vec<NetworkError> {
        let slot = self.claim.slot;
        let desired = Desired::of(&self.setup, slot, present, self.is_tunnel_up);
        let is_up = present.link(&desired.interface).is_some_and(|link| link.is_up);
        self.was_up = desired.is_up && (self.was_up || is_up);
        let owned = Owned { was_up: self.was_up, ..self.record.owned() };
        let batches = operations::difference(&desired, present, &owned, slot);
        let mut errors = Vec::new();
        for batch in &batches {
            for operation in &batch.operations {
                match operation {
                    Operation::AddAddress(_, prefix) => {
                        self.record.addresses.push(prefix.to_string());
                    }
                    Operation::SetUp(_) => self.record.is_up = true,
                    _ => {}
                }
            }
            errors.extend(self.save().err());
            if let Err(error) = executor::execute(&mut self.netlink, batch) {
                let sets_up = batch.operations.iter().any(|o| matches!(o, Operation::SetUp(_)));
                self.record.is_up &= !sets_up;
                errors.push(error);
            }
        }
        let wanted: Vec<_> = desired.addresses.iter().map(ToString::to_string).collect();
        self.record.addresses.retain(|address| wanted.contains(address));
        self.record.addresses.sort();
        self.record.addresses.dedup();
        self.record.is_up &= desired.is_up;
        errors
    }

    fn converge_table(&mut self, around: &Surroundings) -> Result<(), NetworkError> {
        let slot = self.claim.slot;
        let wanted = firewall::script(&self.setup, slot, around);
        if wanted == self.script && (wanted.is_some() || !self.record.has_table) {
            return Ok(());
        }
        let purpose = format!("filter packets (table inet {})", firewall::table_name(slot));
        let is_for_links_alone = self.setup.nat.is_none() && !self.setup.has_kill_switch;
        let Some(nft) = command::find("nft") else {
            let error = NetworkError::new(
                &purpose,
                format!(
                    "{} needs the program nft, which is not installed",
                    needs_table(&self.setup)
                ),
                "install the package nftables",
            );
            return Err(error.passing(is_for_links_alone));
        };
        self.record.has_table = true;
        self.save()?;
        let script = wanted.clone().unwrap_or_else(|| firewall::removal(slot));
        debug!("nft -f - <<EOF\n{script}EOF");
        command::run(&nft, &["-f", "-"], &script).map_err(|error| {
            let remedy = "this kernel may lack nftables (CONFIG_NF_TABLES_INET, CONFIG_NFT_MASQ, \
                          CONFIG_NFT_REJECT_INET, CONFIG_NFT_SOCKET): modprobe nf_tables";
            NetworkError::new(&purpose, error, remedy).passing(is_for_links_alone)
        })?;
        info!(table = firewall::table_name(slot), is_there = wanted.is_some(), "network: nftables");
        self.record.has_table = wanted.is_some();
        self.script = wanted;
        // What is heard now is our own doing, unless the table is gone all the same.
        let news = self.tables.as_mut().and_then(|tables| tables.drain().ok());
        if news.is_some_and(|news| news.is_there == Some(false)) {
            self.script = None;
        }
        Ok(())
    }

    /// What becomes readable when tables of nftables change.
    #[must_use]
    pub fn tables(&self) -> Option<&TableMonitor> {
        self.tables.as_ref()
    }

    /// Takes in what has become of tables; `true` when somebody has changed or removed ours, and the
    /// next [`Self::converge`] is to make it anew.
    ///
    /// # Errors
    /// When nothing will be heard any more.
    pub fn hear_of_tables(&mut self) -> std::io::Result<bool> {
        let Some(tables) = &mut self.tables else { return Ok(false) };
        let is_changed = tables.drain()?.is_touched && self.script.take().is_some();
        Ok(is_changed)
    }

    fn converge_sysctls(&mut self, around: &Surroundings) -> Vec<NetworkError> {
        let wanted = self.wanted_sysctls(around);
        let changes = std::mem::take(&mut self.record.sysctls);
        let is_wanted = |change: &sysctl::Change| wanted.iter().any(|(key, _)| *key == change.key);
        let (kept, stale): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_wanted);
        for change in stale.iter().rev() {
            self.sysctls.put_back(change);
        }
        self.record.sysctls = kept;
        let mut errors = Vec::new();
        for (key, value) in wanted {
            if let Err(error) = self.set(&key, value) {
                errors.push(NetworkError::new(
                    &format!("set {} to {value}", key.replace('/', ".")),
                    error,
                    "in a container, set it where the container is made",
                ));
            }
        }
        errors
    }

    /// Written down first, so that it can be put back whenever we are killed.
    fn set(&mut self, key: &str, value: &str) -> std::io::Result<()> {
        let Some(mut change) = self.sysctls.plan(key, value)? else { return Ok(()) };
        // That of an interface which was away, or one that somebody has put back.
        self.record.sysctls.retain(|known| known.key != key);
        let place = self.record.sysctls.len();
        self.record.sysctls.push(change.clone());
        self.write_record()?;
        let done = self.sysctls.set(&mut change);
        match done {
            Ok(()) => self.record.sysctls[place] = change,
            Err(_) => drop(self.record.sysctls.pop()),
        }
        self.write_record()?;
        done
    }

    /// Settings and their values, in the order in which they are to be set.
    fn wanted_sysctls(&self, around: &Surroundings) -> Vec<(String, &'static str)> {
        let mut wanted = Vec::new();
        for device in &around.strict_devices {
            wanted.push((format!("net/ipv4/conf/{device}/src_valid_mark"), "1"));
        }
        if self.setup.nat.is_none() {
            return wanted;
        }
        if self.setup.has_family(false) {
            wanted.push((FORWARD_V4.to_owned(), "1"));
        }
        if self.setup.has_family(true) {
            // A host that forwards hears no routers, unless it is told to do so all the same.
            let tunnel = format!("/{}/", self.setup.interface);
            let is_common = |key: &String| {
                ["/all/", "/default/", "/lo/", tunnel.as_str()].iter().any(|c| key.contains(c))
            };
            let changed = self.record.sysctls.iter().map(|change| change.key.clone());
            let changed =
                changed.filter(|key| key.ends_with("/accept_ra") && self.sysctls.has(key));
            let mut keys: Vec<_> =
                self.sysctls.autoconfigured().into_iter().chain(changed).collect();
            keys.retain(|key| !is_common(key));
            keys.sort();
            keys.dedup();
            wanted.extend(keys.into_iter().map(|key| (key, "2")));
            wanted.push((FORWARD_V6.to_owned(), "1"));
        }
        wanted
    }

    fn converge_resolver(&mut self) -> Result<(), NetworkError> {
        let wanted = if self.is_tunnel_up { self.setup.name_servers.as_slice() } else { &[] };
        let present = self.record.resolver.as_ref().map_or(&[][..], |applied| applied.servers());
        if wanted == present {
            return Ok(());
        }
        if let Some(applied) = &self.record.resolver {
            self.resolver.undo(applied);
            self.record.resolver = None;
        }
        if wanted.is_empty() {
            return self.save();
        }
        let plan = self.resolver.plan(&self.setup.interface, wanted);
        // Written down first, so that it can be undone whenever we are killed.
        self.record.resolver = Some(plan.clone());
        let written = self.save();
        let done = written.and_then(|()| {
            let remedy = "set the name servers by hand, and remove dns from the configuration";
            let purpose = format!("set name servers {}", plan.place());
            self.resolver.apply(&plan).map_err(|error| NetworkError::new(&purpose, error, remedy))
        });
        if done.is_err() {
            self.record.resolver = None;
            self.save()?;
        }
        done
    }

    fn save(&self) -> Result<(), NetworkError> {
        self.write_record().map_err(|error| self.unwritten(&error))
    }

    fn write_record(&self) -> std::io::Result<()> {
        match self.record.is_empty() {
            true => self.claim.clear(),
            false => self.claim.write(&self.record),
        }
    }

    fn unwritten(&self, error: &std::io::Error) -> NetworkError {
        let slot = self.claim.slot.number();
        NetworkError::new(
            &format!("write down what slot {slot} has changed"),
            error,
            "make room on the disk of /run/mlvpn; else a crash leaves changes behind",
        )
    }
}

/// The key for which there has to be a table.
fn needs_table(setup: &Setup) -> &'static str {
    if setup.nat.is_some() {
        "nat"
    } else if setup.has_kill_switch {
        "kill_switch"
    } else {
        "strict reverse-path filtering (rp_filter = 1) on a link's device"
    }
}
