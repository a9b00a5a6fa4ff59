//! Each test puts up the fences in a process of its own, as they do not come down again.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use super::{Fences, Sandbox};

const IS_CHILD: &str = "MLVPN_IO_SANDBOX_CHILD";

/// Runs a test of this module again in a process of its own; in it: does `work` behind the fences.
fn behind_fences(test: &str, work: impl FnOnce(&Fences)) -> Option<ExitStatus> {
    if std::env::var_os(IS_CHILD).is_some() {
        work(&Sandbox::for_resolving_names().enter());
        return None;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("sandbox::tests::{test}"), "--nocapture"])
        .env(IS_CHILD, "1")
        .output()
        .unwrap();
    if output.status.signal() != Some(libc::SIGSYS) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Some(output.status)
}

/// A system call by its number, with numbers as arguments.
fn call(number: libc::c_long, arguments: [libc::c_long; 3]) -> io::Result<()> {
    let [a, b, c] = arguments;
    // SAFETY: the tests pass no pointer but null, which each of these calls refuses by itself.
    match unsafe { libc::syscall(number, a, b, c) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn errno(result: io::Result<()>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn both_fences_are_up() {
    behind_fences("both_fences_are_up", |fences| {
        assert_eq!(fences.missing, [""; 0]);
        assert!(
            fences.has_seccomp && fences.landlock_abi.is_some_and(|abi| abi >= 1),
            "{fences:?}"
        );
    });
}

#[test]
fn files_are_neither_written_nor_read_but_for_what_the_resolver_needs() {
    // Written by this test, so that root may do all of it but for the fences.
    let file = std::env::temp_dir().join(format!("mlvpn-sandbox-{}", std::process::id()));
    std::fs::write(&file, "x").unwrap();
    behind_fences("files_are_neither_written_nor_read_but_for_what_the_resolver_needs", |_| {
        let denied = |result: io::Result<()>| {
            let kind = result.expect_err("must be refused").kind();
            assert_eq!(kind, io::ErrorKind::PermissionDenied);
        };
        let mut options = std::fs::OpenOptions::new();
        denied(options.write(true).open("/etc/passwd").map(drop));
        denied(std::fs::write(&file, "y"));
        denied(std::fs::read(&file).map(drop));
        denied(std::fs::remove_file(&file));
        denied(std::fs::File::open("/proc/self/mem").map(drop));
        denied(std::fs::read_dir("/root").map(drop));
        std::fs::read("/etc/hosts").unwrap();
    });
    let _ = std::fs::remove_file(&file);
}

#[test]
fn sockets_are_for_udp_names_and_this_machine() {
    behind_fences("sockets_are_for_udp_names_and_this_machine", |_| {
        let open = |family: i32, kind: i32, protocol: i32| {
            errno(call(libc::SYS_socket, [family.into(), kind.into(), protocol.into()]))
        };
        let refused = Some(libc::EPERM);
        assert_eq!(open(libc::AF_PACKET, libc::SOCK_RAW, 0), refused);
        assert_eq!(open(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0), refused);
        assert_eq!(open(libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6), refused);
        assert_eq!(open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER), refused);
        assert_eq!(open(libc::AF_VSOCK, libc::SOCK_STREAM, 0), refused);
        for (family, kind) in [
            (libc::AF_INET, libc::SOCK_DGRAM),
            (libc::AF_INET6, libc::SOCK_STREAM | libc::SOCK_CLOEXEC),
            (libc::AF_UNIX, libc::SOCK_DGRAM),
            (libc::AF_NETLINK, libc::SOCK_RAW),
        ] {
            assert_eq!(open(family, kind, 0), None, "{family} {kind}");
        }
        let listening = std::net::TcpListener::bind("127.0.0.1:0");
        assert!(listening.is_err(), "a port to listen on");
    });
}

#[test]
fn tcp_goes_to_name_servers_only() {
    use std::net::{TcpListener, TcpStream};
    // In the parent, where it may be opened; only its number gets into the child.
    const PORT: &str = "MLVPN_IO_SANDBOX_PORT";
    if std::env::var_os(IS_CHILD).is_some() {
        let port: u16 = std::env::var(PORT).unwrap().parse().unwrap();
        let fences = Sandbox::for_resolving_names().enter();
        assert!(fences.landlock_abi >= Some(4), "a kernel of 6.7 or later: {fences:?}");
        let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let name_server = TcpStream::connect(("127.0.0.1", super::DNS_PORT));
        let reached = name_server.err().map(|error| error.kind());
        assert_ne!(reached, Some(io::ErrorKind::PermissionDenied));
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::tests::tcp_goes_to_name_servers_only", "--nocapture"])
        .env(IS_CHILD, "1")
        .env(PORT, listener.local_addr().unwrap().port().to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn there_are_threads_and_names_but_no_processes() {
    behind_fences("there_are_threads_and_names_but_no_processes", |_| {
        use std::net::ToSocketAddrs as _;
        let resolve = || ("localhost", 1).to_socket_addrs().unwrap().count();
        assert!(std::thread::spawn(resolve).join().unwrap() > 0);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        assert!(Command::new("/bin/true").status().is_err());
        let fork = libc::c_long::from(libc::SIGCHLD);
        assert_eq!(errno(call(libc::SYS_clone, [fork, 0, 0])), Some(libc::EPERM));
        assert_eq!(errno(call(libc::SYS_clone3, [0; 3])), Some(libc::ENOSYS));
    });
}

#[test]
fn no_code_is_made_and_the_fences_stay() {
    behind_fences("no_code_is_made_and_the_fences_stay", |_| {
        // At an address that cannot be mapped, were the protection none of the filter's business.
        let prot = libc::c_long::from(libc::PROT_WRITE | libc::PROT_EXEC);
        assert_eq!(errno(call(libc::SYS_mprotect, [0, 4096, prot])), Some(libc::EPERM));
        let dumpable = libc::c_long::from(libc::PR_SET_DUMPABLE);
        assert_eq!(errno(call(libc::SYS_prctl, [dumpable, 1, 0])), Some(libc::EPERM));
        let push = libc::TIOCSTI as libc::c_long;
        assert_eq!(errno(call(libc::SYS_ioctl, [0, push, 0])), Some(libc::EPERM));
        let other = libc::c_long::from(std::os::unix::process::parent_id());
        assert_eq!(errno(call(libc::SYS_tgkill, [other, other, 0])), Some(libc::EPERM));
        assert_eq!(errno(call(libc::SYS_kill, [other, 0, 0])), Some(libc::ENOSYS));
        assert_eq!(errno(call(100_000, [0; 3])), Some(libc::ENOSYS), "what nobody knows");
    });
}

/// Makes a call that must end the process.
fn is_fatal(test: &str, number: libc::c_long) {
    let status = behind_fences(test, |_| {
        let _ = call(number, [0; 3]);
    });
    if let Some(status) = status {
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
    }
}

#[test]
fn executing_a_program_is_fatal() {
    is_fatal("executing_a_program_is_fatal", libc::SYS_execve);
}

#[test]
fn looking_into_another_process_is_fatal() {
    is_fatal("looking_into_another_process_is_fatal", libc::SYS_ptrace);
}
