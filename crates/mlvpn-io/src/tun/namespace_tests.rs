//! Tun devices against the kernel: two hosts in network namespaces of their own, and this test as
//! the wire between their devices. Needs root, or `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`.
//!
//! ```text
//!   host 1                                   host 2
//!   TCP/UDP - tun 10.9.0.1 === wire === tun 10.9.0.2 - TCP/UDP
//!                 fd09::1                   fd09::2
//! ```

use std::io::{Read, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use super::coalesce::Write;
use super::headers::{Layout, UDP};
use super::virtio::Gso;
use super::*;
use crate::clock::Clock;
use crate::netlink::Prefix;
use crate::netns::NetNs;
use crate::poller::{Interest, Poller, Token};

const ADDRESSES: [[&str; 2]; 2] = [["10.9.0.1", "fd09::1"], ["10.9.0.2", "fd09::2"]];

struct Host {
    namespace: NetNs,
    tun: Tun,
}

fn host(number: usize, offload: bool) -> Host {
    let namespace = NetNs::new().expect("this test needs root to make network namespaces");
    let options = TunOptions { name: Some(format!("wire{number}")), offload, ..Default::default() };
    let tun = namespace.run(|| Tun::open(&options)).unwrap();
    let tun = tun.expect("this test needs root and /dev/net/tun to make tun devices");
    namespace.run(|| tun.set_up()).unwrap().unwrap();
    let mut netlink = namespace.netlink().unwrap();
    let link = netlink.link_by_name(tun.name()).unwrap().index;
    for (address, length) in ADDRESSES[number - 1].iter().zip([24, 64]) {
        let address: IpAddr = address.parse().unwrap();
        netlink.add_address(link, Prefix::new(address, length)).unwrap();
    }
    namespace.run(|| await_ip6(number)).unwrap();
    Host { namespace, tun }
}

/// Waits until the host takes packets to its IPv6 address: the kernel gets there some time after
/// the device came up, and drops them until then.
fn await_ip6(number: usize) {
    let address = (ADDRESSES[number - 1][1], 0);
    for _ in 0..200 {
        if let Ok(socket) = UdpSocket::bind(address) {
            socket.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
            let sent = socket.send_to(b"x", socket.local_addr().unwrap());
            if sent.is_ok() && socket.recv(&mut [0]).is_ok() {
                return;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{address:?} is not reachable from its own host");
}

/// Carries packets both ways until told to stop, and checks each.
fn carry(one: &mut Tun, two: &mut Tun, stop: &AtomicBool) {
    let clock = Clock::new();
    let mut poller = Poller::new(clock).unwrap();
    poller.add(&*one, Token(0), Interest::Read).unwrap();
    poller.add(&*two, Token(1), Interest::Read).unwrap();
    let (mut events, mut buf) = (Vec::new(), ReadBuf::new());
    while !stop.load(Ordering::Relaxed) {
        poller.wait(&mut events, Some(clock.now_us() + 5_000)).unwrap();
        for event in &events {
            let (from, to) = if event.token == Token(0) {
                (&mut *one, &mut *two)
            } else {
                (&mut *two, &mut *one)
            };
            for _ in 0..32 {
                let read = from.read_packets(&mut buf, &mut |packet| {
                    check(packet);
                    to.write(packet);
                });
                match read {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => panic!("{e}"),
                }
            }
            to.flush().unwrap();
        }
    }
}

/// No packet exceeds the MTU, and its checksums are right.
fn check(packet: &[u8]) {
    assert!(packet.len() <= 1500, "a packet of {} bytes", packet.len());
    if let Some(layout) = Layout::parse(packet) {
        assert!(layout.has_valid_checksums(packet), "{layout:?} {packet:02x?}");
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Runs `work` while the wire carries.
fn with_wire<T>(one: &mut Host, two: &mut Host, work: impl FnOnce(&NetNs, &NetNs) -> T) -> T {
    struct StopAtEnd<'a>(&'a AtomicBool);
    impl Drop for StopAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| carry(&mut one.tun, &mut two.tun, &stop));
        let _stop = StopAtEnd(&stop);
        work(&one.namespace, &two.namespace)
    })
}

/// Sends two megabytes from host 1 to host 2 over TCP and expects them there unchanged.
fn transfer(one: &NetNs, two: &NetNs, address: &str) {
    let data = pattern(2_000_000);
    let at = SocketAddr::new(address.parse().unwrap(), 0);
    let listener = two.run(|| TcpListener::bind(at)).unwrap().unwrap();
    let to = listener.local_addr().unwrap();
    let mut sender = one.run(|| TcpStream::connect(to)).unwrap().unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.write_all(&data).unwrap();
            sender.shutdown(std::net::Shutdown::Write).unwrap();
        });
        receiver.read_to_end(&mut received).unwrap();
    });
    assert!(received == data, "{} of {} bytes, or changed ones", received.len(), data.len());
}

#[test]
fn tcp_passes_in_super_packets_and_arrives_unchanged() {
    for family in [0, 1] {
        let (mut one, mut two) = (host(1, true), host(2, true));
        assert!(one.tun.offload().tcp, "the kernel refuses TSO");
        with_wire(&mut one, &mut two, |one, two| transfer(one, two, ADDRESSES[1][family]));
        let (read, written) = (one.tun.stats(), two.tun.stats());
        assert!(
            read.super_packets_read > 10 && written.super_packets_written > 10,
            "{read:?} {written:?}"
        );
        assert!(read.packets_read > 4 * read.super_packets_read, "{read:?}");
        assert_eq!((read.malformed_reads, written.failed_writes), (0, 0));
        assert_eq!(written.super_packets_refused, 0);
    }
}

#[test]
fn a_device_without_offload_works_with_one_that_has_it() {
    for (first, second) in [(false, true), (true, false), (false, false)] {
        let (mut one, mut two) = (host(1, first), host(2, second));
        with_wire(&mut one, &mut two, |one, two| transfer(one, two, ADDRESSES[1][0]));
        assert_eq!(one.tun.stats().super_packets_read > 0, first);
        assert_eq!(two.tun.stats().super_packets_written > 0, second);
        assert_eq!(two.tun.stats().failed_writes, 0);
    }
}

#[test]
fn offload_that_was_on_is_off_after_taking_the_descriptor_over_without() {
    let (one, mut two) = (host(1, true), host(2, true));
    let Host { namespace, tun } = one;
    let tun = Tun::from_fd(OwnedFd::from(tun), false).unwrap();
    assert_eq!(tun.offload(), Merge::default());
    assert_eq!(tun.name(), "wire1");
    let mut one = Host { namespace, tun };
    with_wire(&mut one, &mut two, |one, two| transfer(one, two, ADDRESSES[1][0]));
    assert_eq!(one.tun.stats().super_packets_read, 0);
}

#[test]
fn a_segmented_udp_send_passes_and_is_received_datagram_by_datagram() {
    for family in [0, 1] {
        let (mut one, mut two) = (host(1, true), host(2, true));
        let has_uso = one.tun.offload().udp;
        let datagrams = with_wire(&mut one, &mut two, |one, two| {
            let to = SocketAddr::new(ADDRESSES[1][family].parse().unwrap(), 4000);
            let receiver = two.run(|| UdpSocket::bind(to)).unwrap().unwrap();
            let options = crate::udp::UdpOptions::towards(to);
            let sender =
                one.run(|| crate::udp::UdpSocket::open(&options, Clock::new())).unwrap().unwrap();
            let outcome = sender.send_batch(&pattern(40_000), 1000, to, crate::udp::Ecn::NotEct);
            assert!(outcome.error.is_none() && outcome.segments_sent == 40, "{outcome:?}");
            receiver.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            let mut buf = [0; 2000];
            let receive = |_| receiver.recv(&mut buf).map(|len| buf[..len].to_vec()).ok();
            (0..40).map_while(receive).collect::<Vec<_>>()
        });
        let (read, written) = (one.tun.stats(), two.tun.stats());
        assert!(datagrams.concat() == pattern(40_000), "{} {read:?} {written:?}", datagrams.len());
        assert!(datagrams.iter().all(|datagram| datagram.len() == 1000));
        assert_eq!(read.super_packets_read > 0, has_uso, "{read:?}");
        assert_eq!(written.super_packets_written > 0, has_uso, "{written:?}");
        assert_eq!((written.super_packets_refused, written.failed_writes), (0, 0));
    }
}

/// A UDP packet over IPv4 to host 1.
fn udp_packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, UDP, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1];
    packet.extend_from_slice(&[0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0, 0]); // port 4000
    packet.extend_from_slice(payload);
    let layout = Layout::parse(&packet).unwrap();
    layout.set_lengths(&mut packet);
    layout.set_checksum(&mut packet);
    packet
}

#[test]
fn what_the_kernel_refuses_as_a_super_packet_arrives_packet_by_packet() {
    let mut host = host(1, true);
    let receiver = host.namespace.run(|| UdpSocket::bind("10.9.0.1:4000")).unwrap().unwrap();
    // A header length beyond the packet is EINVAL to the kernel and nothing to us.
    let gso = VirtioHeader { checksum: None, gso: Some((Gso::Udp, 100)) };
    let mut bytes = gso.encode(u16::MAX).to_vec();
    bytes.extend_from_slice(&udp_packet(&pattern(250)));
    host.tun.writer.write(Write::Super(&mut bytes));
    host.tun.flush().unwrap();

    let mut buf = [0; 500];
    let lens: Vec<_> = (0..3).map(|_| receiver.recv(&mut buf).unwrap()).collect();
    assert_eq!(lens, [100, 100, 50]);
    assert_eq!(host.tun.stats().super_packets_refused, 1);
    assert_eq!(host.tun.stats().failed_writes, 0);
    assert_eq!(host.tun.offload(), Merge { tcp: true, udp: false });
    for _ in 0..2 {
        host.tun.write(&udp_packet(b"after"));
    }
    host.tun.flush().unwrap();
    assert_eq!(receiver.recv(&mut buf).unwrap() + receiver.recv(&mut buf).unwrap(), 10);
    assert_eq!(host.tun.stats().super_packets_written, 0);
}

#[test]
fn a_failed_write_loses_its_packet_only_and_is_told_once() {
    let mut host = host(1, true);
    let receiver = host.namespace.run(|| UdpSocket::bind("10.9.0.1:4000")).unwrap().unwrap();
    host.tun.write(&[0xff; 40]); // of no IP version
    host.tun.write(&udp_packet(b"hello"));
    let failure = host.tun.flush().unwrap_err();
    assert_eq!(failure.raw_os_error(), Some(libc::EINVAL));
    host.tun.flush().unwrap();
    assert_eq!(receiver.recv(&mut [0; 10]).unwrap(), 5);
    assert_eq!((host.tun.stats().failed_writes, host.tun.stats().packets_written), (1, 2));
}

#[test]
fn names_and_mtus_are_as_asked_for() {
    let host = host(1, true);
    assert_eq!((host.tun.name(), host.tun.kind()), ("wire1", Kind::Tun));
    host.namespace
        .run(|| {
            assert_eq!(host.tun.mtu().unwrap(), 1500);
            host.tun.set_mtu(1380).unwrap();
            assert_eq!(host.tun.mtu().unwrap(), 1380);
            assert!(host.tun.set_mtu(70_000).is_err());
            let options = TunOptions { name: Some("n".repeat(16)), ..Default::default() };
            assert_eq!(Tun::open(&options).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            let options = TunOptions { name: Some("wire1".into()), ..Default::default() };
            assert_eq!(Tun::open(&options).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
            let chosen = Tun::open(&TunOptions { name: None, ..Default::default() }).unwrap();
            assert!(chosen.name().starts_with("tun"));
        })
        .unwrap();
    let mut netlink = host.namespace.netlink().unwrap();
    assert_eq!(netlink.link_by_name("wire1").unwrap().mtu, 1380);
}

#[test]
fn tap_carries_frames_one_by_one() {
    let namespace = NetNs::new().expect("this test needs root to make network namespaces");
    let options = TunOptions { kind: Kind::Tap, ..Default::default() };
    let mut tap = namespace
        .run(|| {
            let tap = Tun::open(&options).unwrap();
            tap.set_up().unwrap();
            tap
        })
        .unwrap();
    assert_eq!((tap.kind(), tap.offload()), (Kind::Tap, Merge::default()));
    let mut netlink = namespace.netlink().unwrap();
    let link = netlink.link_by_name(tap.name()).unwrap().index;
    netlink.add_address(link, Prefix::new("10.9.0.1".parse::<IpAddr>().unwrap(), 24)).unwrap();
    // An ARP request for the device's address is answered.
    let mut request = vec![0xff; 6];
    request.extend_from_slice(&[2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    request.extend_from_slice(&[2, 0, 0, 0, 0, 9, 10, 9, 0, 2, 0, 0, 0, 0, 0, 0, 10, 9, 0, 1]);
    tap.write(&request);
    tap.flush().unwrap();
    let clock = Clock::new();
    let mut poller = Poller::new(clock).unwrap();
    poller.add(&tap, Token(0), Interest::Read).unwrap();
    let (mut buf, mut events, mut is_answered) = (ReadBuf::new(), Vec::new(), false);
    while !is_answered {
        poller.wait(&mut events, Some(clock.now_us() + 10_000_000)).unwrap();
        assert!(!events.is_empty(), "no answer within ten seconds");
        let expected = [&[2, 0, 0, 0, 0, 9][..], &[8, 6]];
        tap.read_packets(&mut buf, &mut |frame| {
            is_answered |= [&frame[..6], &frame[12..14]] == expected && frame[21] == 2;
        })
        .unwrap();
    }
}
