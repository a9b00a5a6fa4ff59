//! A program continues as root of its own user namespace. Without the test harness, which has threads.

#[cfg(target_os = "linux")]
fn main() {
    use mlvpn_io::netns::{NetNs, is_in_user_namespace, reexec_in_user_namespace};

    // What test runners ask of a test program.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("a_program_continues_in_a_user_namespace: test");
        }
        return;
    }
    if !is_in_user_namespace() {
        let Err(error) = reexec_in_user_namespace();
        panic!("{error}");
    }
    assert!(nix::unistd::geteuid().is_root());
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("/proc is mounted");
    assert_eq!(map.split_whitespace().nth(2), Some("1"), "only its own user exists: {map}");
    let namespace = NetNs::new().expect("root of a user namespace may make network namespaces");
    namespace.set_sysctl("net/ipv4/ip_forward", "1").expect("and configure them");
    assert!(reexec_in_user_namespace().is_err(), "it does not start itself for ever");
    println!("test a_program_continues_in_a_user_namespace ... ok");
}

#[cfg(not(target_os = "linux"))]
fn main() {}
