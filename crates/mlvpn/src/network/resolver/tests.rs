use std::os::unix::fs::symlink;

use super::*;

/// An `/etc` and a `/run/systemd/resolve`, removed at the end.
struct Host(PathBuf);

impl Host {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("mlvpn-resolver-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("etc")).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("etc/resolv.conf")
    }

    fn resolver(&self) -> Resolver {
        Resolver::with(&self.file(), &self.0.join("run"))
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// The names of all files in `/etc`.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("etc")).unwrap().flatten();
        let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Plans and does it.
    fn apply(&self, interface: &str) -> Applied {
        let plan = self.resolver().plan(interface, &["9.9.9.9".parse().unwrap()]);
        self.resolver().apply(&plan).unwrap();
        plan
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const USERS: &str = "nameserver 192.0.2.1\n";

#[test]
fn the_users_file_comes_back_as_it_was() {
    let host = Host::new("file");
    fs::write(host.file(), USERS).unwrap();
    let plan = host.apply("tun0");
    assert_eq!(host.text().lines().last(), Some("nameserver 9.9.9.9"));
    host.resolver().undo(&plan);
    assert_eq!((host.text().as_str(), host.files().len()), (USERS, 1));
    // Undone twice, as after a crash in the middle of the end.
    host.resolver().undo(&plan);
    assert_eq!((host.text().as_str(), host.files().len()), (USERS, 1));
}

#[test]
fn a_symbolic_link_stays_one_and_what_it_leads_to_is_not_written() {
    let host = Host::new("link");
    let real = host.0.join("etc/real");
    fs::write(&real, USERS).unwrap();
    symlink("real", host.file()).unwrap();
    let plan = host.apply("tun0");
    assert_eq!(fs::read_to_string(&real).unwrap(), USERS);
    host.resolver().undo(&plan);
    assert_eq!(fs::read_link(host.file()).unwrap(), Path::new("real"));
}

#[test]
fn where_there_was_no_file_there_is_none_afterwards() {
    let host = Host::new("none");
    let plan = host.apply("tun0");
    assert!(host.file().exists());
    host.resolver().undo(&plan);
    assert!(host.files().is_empty(), "{:?}", host.files());
}

#[test]
fn what_somebody_else_has_written_stays() {
    let host = Host::new("other");
    fs::write(host.file(), USERS).unwrap();
    let plan = host.apply("tun0");
    fs::write(host.file(), "nameserver 192.0.2.77\n").unwrap();
    host.resolver().undo(&plan);
    assert_eq!((host.text().as_str(), host.files().len()), ("nameserver 192.0.2.77\n", 1));
}

#[test]
fn killed_at_any_moment_the_users_file_comes_back() {
    let host = Host::new("killed");
    fs::write(host.file(), USERS).unwrap();
    let plan = host.resolver().plan("tun0", &["9.9.9.9".parse().unwrap()]);
    // Planned and written down only.
    host.resolver().undo(&plan);
    assert_eq!((host.text().as_str(), host.files().len()), (USERS, 1));
    // The former one is kept already.
    fs::hard_link(host.file(), kept(&host.file(), "tun0")).unwrap();
    host.resolver().undo(&plan);
    assert_eq!((host.text().as_str(), host.files().len()), (USERS, 1));
}

#[test]
fn what_a_power_failure_left_is_put_back_though_the_record_is_gone() {
    let host = Host::new("power");
    fs::write(host.file(), USERS).unwrap();
    host.apply("tun0");
    host.resolver().recover("tun1");
    assert_ne!(host.text(), USERS, "that of another program");
    host.resolver().recover("tun0");
    assert_eq!((host.text().as_str(), host.files().len()), (USERS, 1));
    host.resolver().recover("tun0");
    assert_eq!(host.text(), USERS);
}

#[test]
fn two_programs_put_the_users_file_back_in_whichever_order_they_end() {
    let host = Host::new("two");
    for first in [0, 1] {
        fs::write(host.file(), USERS).unwrap();
        let plans = ["tun0", "tun1"].map(|interface| host.apply(interface));
        host.resolver().undo(&plans[first]);
        assert_ne!(host.text(), USERS, "the other one's");
        host.resolver().undo(&plans[1 - first]);
        assert_eq!((host.text().as_str(), host.files().len()), (USERS, 1), "{first}");
    }
}

#[test]
fn resolved_is_asked_where_the_host_asks_it() {
    let host = Host::new("stub");
    fs::create_dir_all(host.0.join("run")).unwrap();
    fs::write(host.0.join("run/stub-resolv.conf"), "nameserver 127.0.0.53\n").unwrap();
    symlink("../run/stub-resolv.conf", host.file()).unwrap();
    assert!(host.resolver().is_resolved(), "as Debian and Ubuntu have it");
    fs::remove_file(host.file()).unwrap();
    fs::write(host.file(), "# by NetworkManager\nnameserver 127.0.0.53\n").unwrap();
    assert!(host.resolver().is_resolved());
    fs::write(host.file(), USERS).unwrap();
    assert!(!host.resolver().is_resolved(), "it may run, but nobody asks it");
    fs::write(host.file(), "nameserver 127.0.0.53\n").unwrap();
    fs::remove_dir_all(host.0.join("run")).unwrap();
    assert!(!host.resolver().is_resolved(), "it does not run");
}
