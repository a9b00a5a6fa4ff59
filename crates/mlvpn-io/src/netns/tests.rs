use std::net::{Ipv4Addr, TcpListener, TcpStream};

use super::*;

#[test]
fn a_namespace_has_only_its_own_loopback() {
    let namespace = NetNs::new().unwrap();
    let links = namespace.netlink().unwrap().links().unwrap();
    assert_eq!(links.len(), 1, "{links:?}");
    assert_eq!(links[0].name, "lo");
    assert!(links[0].is_up);
    assert_ne!(namespace.id().unwrap(), NetNs::current().unwrap().id().unwrap());
}

#[test]
fn sockets_of_a_namespace_are_not_reachable_from_another() {
    let namespace = NetNs::new().unwrap();
    let listener = namespace.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    assert!(TcpStream::connect(address).is_err());
    assert!(namespace.run(|| TcpStream::connect(address).is_ok()).unwrap());
}

#[test]
fn programs_and_threads_start_inside() {
    let namespace = NetNs::new().unwrap();
    let expected = format!("net:[{}]", namespace.id().unwrap());
    let output = namespace.command("readlink").arg("/proc/self/ns/net").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);

    let link = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let thread = namespace.spawn("inside", link).unwrap();
    assert_eq!(thread.join().unwrap().to_string_lossy(), expected);
}

#[test]
fn settings_belong_to_the_namespace() {
    let namespace = NetNs::new().unwrap();
    let before = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    namespace.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
    assert_eq!(namespace.sysctl("net/ipv4/ip_forward").unwrap(), "1");
    let after = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    assert_eq!(before, after);
    let error = namespace.set_sysctl("net/ipv4/no_such_setting", "1").unwrap_err();
    assert!(error.to_string().contains("net/ipv4/no_such_setting"), "{error}");
}

#[test]
fn a_panic_inside_reaches_the_caller() {
    let namespace = NetNs::new().unwrap();
    let caught = std::panic::catch_unwind(|| namespace.run(|| panic!("inside")));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "inside");
}
