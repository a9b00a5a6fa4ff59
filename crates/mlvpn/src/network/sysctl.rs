//! Settings of the kernel: set while they are needed, and put back unless somebody else changed them.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// A setting that has another value because of us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its path below `/proc/sys`.
    pub key: String,
    /// What it was before.
    pub before: String,
    /// What it was set to.
    pub after: String,
    /// What else the kernel changes with it, now or when it is put back.
    pub with_it: Vec<SideEffect>,
}

/// A setting that the kernel changes together with another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideEffect {
    /// Its path below `/proc/sys`.
    pub key: String,
    /// What it was before.
    pub before: String,
    /// What the kernel made of it.
    pub after: String,
}

/// The settings below one folder, which is `/proc/sys` but in tests.
#[derive(Debug, Clone)]
pub struct Sysctls {
    root: PathBuf,
}

impl Sysctls {
    /// Those of the calling thread's network namespace.
    #[must_use]
    pub fn of_kernel() -> Self {
        Self { root: PathBuf::from("/proc/sys") }
    }

    /// The value of a setting, without the line's end.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn read(&self, key: &str) -> io::Result<String> {
        Ok(std::fs::read_to_string(self.root.join(key))?.trim_end().to_owned())
    }

    fn write(&self, key: &str, value: &str) -> io::Result<()> {
        std::fs::write(self.root.join(key), format!("{value}\n"))
    }

    /// Whether a device drops what it would not answer by itself (`rp_filter` = 1, strict).
    #[must_use]
    pub fn is_strict(&self, device: &str) -> bool {
        let value = |name: &str| {
            let text = self.read(&format!("net/ipv4/conf/{name}/rp_filter")).unwrap_or_default();
            text.parse::<u8>().unwrap_or(0)
        };
        // The kernel takes the larger of the two.
        value("all").max(value(device)) == 1
    }

    /// Whether there is such a setting: those of an interface go with it.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        exists(&self.root.join(key))
    }

    /// The interfaces that take IPv6 routes from routers, but would not while they forward.
    #[must_use]
    pub fn autoconfigured(&self) -> Vec<String> {
        let mut keys = self.keys("net/ipv6/conf", "accept_ra");
        keys.retain(|key| self.read(key).is_ok_and(|value| value == "1"));
        keys
    }

    /// What there will be to put back once a setting has this value; nothing when it has it already.
    /// It is to be written down before [`Self::set`] is called.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn plan(&self, key: &str, value: &str) -> io::Result<Option<Change>> {
        let before = self.read(key)?;
        if before == value {
            return Ok(None);
        }
        let others = self.values(&self.changed_with(key)).into_iter();
        // Also where it is the same: putting the other back may change it.
        let with_it = others.filter(|(other, _)| other != key).map(|(other, before)| {
            let after = made_of(&other, value).to_owned();
            SideEffect { key: other, before, after }
        });
        let with_it = with_it.collect();
        Ok(Some(Change { key: key.to_owned(), before, after: value.to_owned(), with_it }))
    }

    /// Sets a setting as planned, and notes in the plan what the kernel has made of the others.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set(&self, change: &mut Change) -> io::Result<()> {
        let Change { key, before, after, with_it } = change;
        self.write(key, after)?;
        info!(key, before, value = after, "network: kernel setting changed");
        for other in with_it {
            if let Ok(now) = self.read(&other.key) {
                other.after = now;
            }
        }
        Ok(())
    }

    /// Puts a setting back, and what the kernel changed with it; but nothing that has another value by
    /// now, for somebody else wants that.
    pub fn put_back(&self, change: &Change) {
        let is = |key: &str, value: &str| self.read(key).is_ok_and(|now| now == value);
        let is_done = is(&change.key, &change.before);
        if !is_done && !is(&change.key, &change.after) {
            // Those of an interface are gone with it.
            if self.has(&change.key) {
                warn!(key = change.key, "network: somebody else changed this setting; it stays");
            }
            return;
        }
        // Somebody was killed before it was set, or when it had just been put back.
        let left = |other: &SideEffect| match is_done {
            true => made_of(&other.key, &change.before).to_owned(),
            false => other.after.clone(),
        };
        let others = change.with_it.iter().filter(|other| is(&other.key, &left(other)));
        let others: Vec<_> = others.collect();
        if !is_done {
            self.restore(&change.key, &change.before);
        }
        for other in others {
            if !is(&other.key, &other.before) {
                self.restore(&other.key, &other.before);
            }
        }
    }

    fn restore(&self, key: &str, value: &str) {
        match self.write(key, value) {
            Ok(()) => info!(key, value, "network: kernel setting put back"),
            // Its interface went while the others were put back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                warn!(key, value, %error, "network: cannot put a setting back; set it by hand");
            }
        }
    }

    /// What the kernel changes together with a setting (ip-sysctl: `ip_forward`, `forwarding`).
    fn changed_with(&self, key: &str) -> Vec<String> {
        match key {
            "net/ipv4/ip_forward" => {
                let mut keys = self.keys("net/ipv4/conf", "forwarding");
                keys.push("net/ipv4/conf/all/accept_redirects".to_owned());
                keys
            }
            "net/ipv6/conf/all/forwarding" => self.keys("net/ipv6/conf", "forwarding"),
            _ => Vec::new(),
        }
    }

    /// One key for each folder of interfaces. Sorted.
    fn keys(&self, folder: &str, name: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let keys = names.map(|interface| format!("{folder}/{interface}/{name}"));
        let mut keys: Vec<_> = keys.filter(|key| self.has(key)).collect();
        keys.sort();
        keys
    }

    fn values(&self, keys: &[String]) -> Vec<(String, String)> {
        keys.iter().filter_map(|key| Some((key.clone(), self.read(key).ok()?))).collect()
    }
}

/// What the kernel makes of a setting that it changes together with one that becomes `value`.
fn made_of<'a>(key: &str, value: &'a str) -> &'a str {
    match (key.ends_with("/accept_redirects"), value) {
        // A host that forwards does not listen to others' advice.
        (true, "0") => "1",
        (true, _) => "0",
        (false, value) => value,
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use mlvpn_io::netns::NetNs;

    use super::*;

    /// All settings of a namespace that forwarding has to do with.
    fn all(namespace: &NetNs) -> Vec<(String, String)> {
        let sysctls = Sysctls::of_kernel();
        let read = || {
            let keys = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
            let mut all: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
            all.extend(keys.iter().flat_map(|key| sysctls.changed_with(key)));
            all.extend(sysctls.keys("net/ipv6/conf", "accept_ra"));
            sysctls.values(&all)
        };
        namespace.run(read).unwrap()
    }

    fn namespace() -> NetNs {
        let namespace = NetNs::new().unwrap();
        namespace.netlink().unwrap().create_veth("a", "b", None).unwrap();
        // One that forwards already, which setting all of them back would forget; and no redirects.
        namespace.set_sysctl("net/ipv4/conf/a/forwarding", "1").unwrap();
        namespace.set_sysctl("net/ipv6/conf/b/forwarding", "1").unwrap();
        namespace.set_sysctl("net/ipv4/conf/all/accept_redirects", "0").unwrap();
        namespace
    }

    #[test]
    fn all_is_as_before_once_forwarding_is_put_back() {
        let namespace = namespace();
        let before = all(&namespace);
        let sysctls = Sysctls::of_kernel();
        let change = || {
            let keys = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
            keys.map(|key| {
                let mut change = sysctls.plan(key, "1").unwrap().unwrap();
                let planned = change.clone();
                sysctls.set(&mut change).unwrap();
                assert_eq!(change, planned, "the kernel does what was expected");
                change
            })
        };
        let changes = namespace.run(change).unwrap();
        assert_eq!(namespace.sysctl("net/ipv4/conf/b/forwarding").unwrap(), "1");
        assert_ne!(all(&namespace), before);
        namespace.run(|| changes.iter().for_each(|change| sysctls.put_back(change))).unwrap();
        assert_eq!(all(&namespace), before);
    }

    #[test]
    fn a_setting_that_somebody_else_changed_stays() {
        let namespace = namespace();
        let sysctls = Sysctls::of_kernel();
        let key = "net/ipv4/conf/a/rp_filter";
        let change = namespace.run(|| sysctls.plan(key, "1").unwrap().unwrap()).unwrap();
        namespace.run(|| sysctls.set(&mut change.clone()).unwrap()).unwrap();
        namespace.set_sysctl(key, "2").unwrap();
        namespace.run(|| sysctls.put_back(&change)).unwrap();
        assert_eq!(namespace.sysctl(key).unwrap(), "2");
        assert_eq!(namespace.run(|| sysctls.plan(key, "2").unwrap()).unwrap(), None);
    }

    #[test]
    fn a_plan_undoes_what_was_begun_and_changes_nothing_that_was_not() {
        let namespace = namespace();
        let before = all(&namespace);
        let sysctls = Sysctls::of_kernel();
        let plan = |key| sysctls.plan(key, "1").unwrap().unwrap();
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            let plan = namespace.run(|| plan(key)).unwrap();
            // Killed before the setting was made, and right after it.
            namespace.run(|| sysctls.put_back(&plan)).unwrap();
            assert_eq!(all(&namespace), before, "{key}");
            namespace.run(|| sysctls.set(&mut plan.clone()).unwrap()).unwrap();
            assert_ne!(all(&namespace), before, "{key}");
            // Killed when it had just been put back, and the rest had not.
            namespace.set_sysctl(key, "0").unwrap();
            assert_ne!(all(&namespace), before, "{key}");
            namespace.run(|| sysctls.put_back(&plan)).unwrap();
            assert_eq!(all(&namespace), before, "{key}");
        }
    }

    #[test]
    fn the_setting_of_an_interface_that_is_gone_is_nobodys() {
        let namespace = namespace();
        let sysctls = Sysctls::of_kernel();
        let key = "net/ipv6/conf/a/accept_ra";
        let mut change = namespace.run(|| sysctls.plan(key, "2").unwrap().unwrap()).unwrap();
        namespace.run(|| sysctls.set(&mut change).unwrap()).unwrap();
        let mut netlink = namespace.netlink().unwrap();
        let index = netlink.link_by_name("a").unwrap().index;
        netlink.delete_link(index).unwrap();
        namespace.run(|| sysctls.put_back(&change)).unwrap();
        assert!(!namespace.run(|| sysctls.has(key)).unwrap());
    }
}
