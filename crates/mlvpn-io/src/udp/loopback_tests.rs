//! UDP sockets against the kernel, over loopback.

use std::time::Duration;

use super::*;
use crate::poller::{Event, Interest, Poller, Token};
use crate::tun::{Kind, ReadBuf, Tun, TunOptions};

fn bind(address: &str) -> UdpOptions {
    UdpOptions::new(address.parse().unwrap())
}

fn open(options: &UdpOptions) -> UdpSocket {
    UdpSocket::open(options, Clock::new()).unwrap()
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 13 + at / 256) as u8).collect()
}

/// Waits until the poller reports the socket, at most ten seconds.
fn wait(socket: &UdpSocket) -> Event {
    let mut poller = Poller::new(socket.clock).unwrap();
    poller.add(socket, Token(0), Interest::Read).unwrap();
    let mut events = Vec::new();
    poller.wait(&mut events, Some(socket.clock.now_us() + 10_000_000)).unwrap();
    *events.first().expect("something happens within ten seconds")
}

/// Receives until there were `count` datagrams.
fn receive(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let (mut batch, mut received) = (RecvBatch::new(4), Vec::new());
    while received.len() < count {
        wait(socket);
        socket.recv_batch(&mut batch).unwrap();
        received.extend(batch.datagrams().map(|datagram| {
            assert!(!datagram.is_truncated);
            datagram.data.to_vec()
        }));
    }
    received
}

fn expect_sent(outcome: &SendOutcome, segments: usize) {
    assert!(outcome.error.is_none() && outcome.segments_sent == segments, "{outcome:?}");
}

#[test]
fn datagrams_without_room_are_counted() {
    let options =
        UdpOptions { receive_buffer: Some(10_000), offload: false, ..bind("127.0.0.1:0") };
    let (sender, receiver) = (open(&bind("127.0.0.1:0")), open(&options));
    let bytes = payload(1200);
    for _ in 0..200 {
        expect_sent(&sender.send_batch(&bytes, 1200, receiver.local_addr(), Ecn::NotEct), 1);
    }
    let (mut batch, mut received) = (RecvBatch::new(8), 0);
    while let Ok(messages) = receiver.recv_batch(&mut batch) {
        received += messages as u64;
    }
    assert_eq!(receiver.queue_drops(), 200 - received);
    assert!(received < 200);
}

#[test]
fn a_segmented_batch_is_received_merged_with_its_mark_and_time() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (sender, receiver) = (open(&bind(address)), open(&bind(address)));
        assert!(sender.is_segmenting(1200), "the kernel has no UDP_SEGMENT");
        let before = receiver.clock.now_us();
        let bytes = payload(10 * 1200 + 300);
        expect_sent(&sender.send_batch(&bytes, 1200, receiver.local_addr(), Ecn::Ect0), 11);
        wait(&receiver);
        let mut batch = RecvBatch::new(8);
        assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 1, "one message: merged");
        let mut all = Vec::new();
        for datagram in batch.datagrams() {
            assert_eq!(datagram.from, sender.local_addr());
            assert_eq!(datagram.ecn, Some(Ecn::Ect0));
            // The wall clock may run up to 500 ppm off the monotonic one while it is adjusted.
            assert!(datagram.received_at_us + 10_000 >= before);
            assert!(datagram.received_at_us <= receiver.clock.now_us());
            assert!(!datagram.is_truncated);
            all.push(datagram.data.to_vec());
        }
        assert_eq!(
            all.iter().map(Vec::len).collect::<Vec<_>>(),
            [&[1200; 10][..], &[300]].concat()
        );
        assert!(all.concat() == bytes);
        let empty = receiver.recv_batch(&mut batch).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(batch.datagrams().count(), 0);
    }
}

#[test]
fn kernel_time_is_of_the_arrival_not_of_the_reading() {
    let (sender, receiver) = (open(&bind("127.0.0.1:0")), open(&bind("127.0.0.1:0")));
    expect_sent(&sender.send_batch(b"early", 5, receiver.local_addr(), Ecn::NotEct), 1);
    let sent_at = receiver.clock.now_us();
    std::thread::sleep(Duration::from_millis(200));
    let mut batch = RecvBatch::new(1);
    receiver.recv_batch(&mut batch).unwrap();
    let datagram = batch.datagrams().next().unwrap();
    assert!(datagram.received_at_us < sent_at + 100_000);
    assert_eq!(datagram.ecn, Some(Ecn::NotEct));
}

#[test]
fn batches_beyond_one_call_take_several() {
    let (mut to, from) = (bind("127.0.0.1:0"), open(&bind("127.0.0.1:0")));
    to.receive_buffer = Some(4 << 20);
    let receiver = open(&to);
    let bytes = payload(150 * 1400 + 1);
    expect_sent(&from.send_batch(&bytes, 1400, receiver.local_addr(), Ecn::NotEct), 151);
    assert!(receive(&receiver, 151).concat() == bytes);
}

#[test]
fn without_offload_each_datagram_travels_alone() {
    let options = UdpOptions { offload: false, ..bind("127.0.0.1:0") };
    let (sender, receiver) = (open(&options), open(&options));
    assert!(!sender.is_segmenting(100));
    let bytes = payload(950);
    expect_sent(&sender.send_batch(&bytes, 100, receiver.local_addr(), Ecn::Ce), 10);
    wait(&receiver);
    let mut batch = RecvBatch::with_slot_len(16, 200);
    assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 10);
    assert!(batch.datagrams().all(|datagram| datagram.ecn == Some(Ecn::Ce)));
    assert!(batch.datagrams().flat_map(|datagram| datagram.data.to_vec()).eq(bytes));
}

#[test]
fn a_refused_segmented_send_loses_nothing_and_is_not_tried_again() {
    let (sender, receiver) = (open(&bind("127.0.0.1:0")), open(&bind("127.0.0.1:0")));
    // The kernel refuses to segment for a socket that sends no checksums.
    sys::set_option(sender.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let bytes = payload(20 * 1000 + 7);
    expect_sent(&sender.send_batch(&bytes, 1000, receiver.local_addr(), Ecn::Ect1), 21);
    assert!(receive(&receiver, 21).concat() == bytes);
    assert!(!sender.is_segmenting(1) && !sender.is_segmenting(1000));
    expect_sent(&sender.send_batch(&bytes, 1000, receiver.local_addr(), Ecn::NotEct), 21);
    assert!(receive(&receiver, 21).concat() == bytes);
    assert!(open(&bind("127.0.0.1:0")).is_segmenting(1000), "other sockets are not affected");
}

#[test]
fn a_bad_destination_does_not_end_segmenting() {
    let sender = open(&bind("127.0.0.1:0"));
    let outcome =
        sender.send_batch(&payload(5000), 1000, "127.0.0.1:0".parse().unwrap(), Ecn::NotEct);
    assert!(outcome.segments_sent == 0 && outcome.error.is_some(), "{outcome:?}");
    let outcome = sender.send_batch(&payload(5000), 1000, "[::1]:9".parse().unwrap(), Ecn::NotEct);
    assert!(outcome.segments_sent == 0 && outcome.error.is_some(), "{outcome:?}");
    assert!(sender.is_segmenting(1000));
}

/// A namespace whose neighbours on 10.8.0.0/24 this test plays.
fn neighbourhood() -> (crate::netns::NetNs, Tun) {
    let namespace = crate::netns::NetNs::new().expect("this test needs root for a namespace");
    let options = TunOptions { name: Some("tap0".into()), kind: Kind::Tap, ..Default::default() };
    let tap = namespace.run(|| Tun::open(&options)).unwrap();
    let tap = tap.expect("this test needs root and /dev/net/tun");
    namespace.run(|| tap.set_up()).unwrap().unwrap();
    // Waits for a neighbour as long as a busy machine may take.
    namespace.set_sysctl("net/ipv4/neigh/tap0/mcast_solicit", "60").unwrap();
    let mut netlink = namespace.netlink().unwrap();
    let link = netlink.link_by_name("tap0").unwrap().index;
    let address: std::net::IpAddr = "10.8.0.1".parse().unwrap();
    netlink.add_address(link, crate::netlink::Prefix::new(address, 24)).unwrap();
    (namespace, tap)
}

/// Reads a tap until it is empty: the hardware address of who asks for a neighbour, if someone does,
/// and the number of UDP datagrams to port 9.
fn read_frames(tap: &mut Tun) -> (Option<[u8; 6]>, usize) {
    let (mut buf, mut asker, mut datagrams) = (ReadBuf::new(), None, 0);
    let mut look = |frame: &[u8]| match frame[12..14] {
        [8, 6] => asker = frame[6..12].first_chunk().copied(),
        [8, 0] => datagrams += usize::from(frame[23] == 17 && frame[36..38] == [0, 9]),
        _ => {}
    };
    while tap.read_packets(&mut buf, &mut look).is_ok() {}
    (asker, datagrams)
}

#[test]
fn a_full_send_buffer_says_how_far_it_came() {
    for (offload, last) in [(true, 2), (false, 3)] {
        let (namespace, mut tap) = neighbourhood();
        let to = SocketAddr::from(([10, 8, 0, last], 9));
        let options = UdpOptions { send_buffer: Some(50_000), offload, ..bind("10.8.0.1:0") };
        let sender = namespace.run(|| open(&options)).unwrap();
        // Until the neighbour answers, what is sent stays in the socket's buffer.
        let outcome = sender.send_batch(&payload(1000 * 1000), 1000, to, Ecn::NotEct);
        assert!(matches!(outcome.error, Some(SendError::WouldBlock)), "{outcome:?}");
        assert!((1..1000).contains(&outcome.segments_sent), "{outcome:?}");
        let (asker, early) = read_frames(&mut tap);
        assert_eq!(early, 0);
        let asker = asker.expect("the kernel asks for the neighbour");
        let mut answer = [&asker[..], &[2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
        answer.extend_from_slice(&[2, 0, 0, 0, 0, 9, 10, 8, 0, last]);
        answer.extend_from_slice(&asker);
        answer.extend_from_slice(&[10, 8, 0, 1]);
        tap.write(&answer);
        tap.flush().unwrap();
        let (_, sent) = read_frames(&mut tap);
        assert_eq!(sent, outcome.segments_sent, "neither lost nor sent twice");
    }
}

#[test]
fn truncated_datagrams_are_flagged() {
    let options = UdpOptions { offload: false, ..bind("127.0.0.1:0") };
    let (sender, receiver) = (open(&options), open(&options));
    for len in [100, 101, 3000] {
        expect_sent(&sender.send_batch(&payload(len), len, receiver.local_addr(), Ecn::NotEct), 1);
    }
    wait(&receiver);
    let mut batch = RecvBatch::with_slot_len(4, 100);
    assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 3);
    let seen: Vec<_> = batch.datagrams().map(|d| (d.data.len(), d.is_truncated)).collect();
    assert_eq!(seen, [(100, false), (100, true), (100, true)]);
}

#[test]
fn truncated_merged_datagrams_are_flagged_at_the_end() {
    let (sender, receiver) = (open(&bind("127.0.0.1:0")), open(&bind("127.0.0.1:0")));
    expect_sent(&sender.send_batch(&payload(4000), 1000, receiver.local_addr(), Ecn::NotEct), 4);
    wait(&receiver);
    let mut batch = RecvBatch::with_slot_len(1, 2500);
    receiver.recv_batch(&mut batch).unwrap();
    let seen: Vec<_> = batch.datagrams().map(|d| (d.data.len(), d.is_truncated)).collect();
    assert_eq!(seen, [(1000, false), (1000, false), (500, true)]);
}

#[test]
fn a_closed_port_is_told_by_the_error_queue_and_disturbs_no_one_else() {
    for (address, icmp) in [
        ("127.0.0.1:0", IcmpError { kind: 3, code: 3 }),
        ("[::1]:0", IcmpError { kind: 1, code: 4 }),
    ] {
        let (sender, receiver) = (open(&bind(address)), open(&bind(address)));
        let closed = open(&bind(address)).local_addr();
        expect_sent(&sender.send_batch(b"anyone?", 7, closed, Ecn::NotEct), 1);
        assert!(wait(&sender).is_error);
        // The next send reports the pending error in the kernel's way of thinking; not in ours.
        expect_sent(
            &sender.send_batch(&payload(3000), 1000, receiver.local_addr(), Ecn::NotEct),
            3,
        );
        assert!(receive(&receiver, 3).concat() == payload(3000));
        let expected = SocketError::Unreachable {
            to: closed,
            from: Some(closed.ip()),
            icmp: Some(icmp),
            errno: libc::ECONNREFUSED,
        };
        assert_eq!(sender.poll_error().unwrap(), Some(expected));
        assert_eq!(sender.poll_error().unwrap(), None);
    }
}

#[test]
fn an_error_does_not_hide_what_was_received() {
    let (sender, receiver) = (open(&bind("127.0.0.1:0")), open(&bind("127.0.0.1:0")));
    let closed = open(&bind("127.0.0.1:0")).local_addr();
    expect_sent(&receiver.send_batch(b"x", 1, closed, Ecn::NotEct), 1);
    assert!(wait(&receiver).is_error);
    let mut batch = RecvBatch::new(1);
    assert_eq!(receiver.recv_batch(&mut batch).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    expect_sent(&receiver.send_batch(b"x", 1, closed, Ecn::NotEct), 1);
    assert!(wait(&receiver).is_error);
    expect_sent(&sender.send_batch(b"data", 4, receiver.local_addr(), Ecn::NotEct), 1);
    assert_eq!(receive(&receiver, 1), [b"data"]);
}

#[test]
fn too_big_and_unreachable_are_told_apart() {
    let namespace = crate::netns::NetNs::new().expect("this test needs root for a namespace");
    let mut netlink = namespace.netlink().unwrap();
    let loopback = netlink.link_by_name("lo").unwrap().index;
    netlink.set_link_mtu(loopback, 1500).unwrap();
    namespace
        .run(|| {
            let (sender, receiver) = (open(&bind("127.0.0.1:0")), open(&bind("127.0.0.1:0")));
            let to = receiver.local_addr();
            let outcome = sender.send_batch(&payload(4000), 2000, to, Ecn::NotEct);
            assert!(matches!(outcome.error, Some(SendError::TooBig)), "{outcome:?}");
            assert_eq!(outcome.segments_sent, 0);
            assert!(sender.is_segmenting(2000), "too big for the route is no refusal");
            let anywhere = open(&bind("0.0.0.0:0"));
            let nowhere = "192.0.2.1:9".parse().unwrap();
            let outcome = anywhere.send_batch(&payload(20), 10, nowhere, Ecn::NotEct);
            assert!(matches!(outcome.error, Some(SendError::Unreachable(_))), "{outcome:?}");

            // Whoever allows fragmentation gets it, and keeps segmenting what fits.
            let fragmenting = open(&UdpOptions { pmtu: Pmtu::Dont, ..bind("127.0.0.1:0") });
            expect_sent(&fragmenting.send_batch(&payload(4000), 2000, to, Ecn::NotEct), 2);
            assert!(receive(&receiver, 2).concat() == payload(4000));
            assert!(fragmenting.is_segmenting(1400) && !fragmenting.is_segmenting(2000));
            fragmenting.set_pmtu(Pmtu::Probe).unwrap();
            let outcome = fragmenting.send_batch(&payload(2000), 2000, to, Ecn::NotEct);
            assert!(matches!(outcome.error, Some(SendError::TooBig)), "{outcome:?}");
        })
        .unwrap();
}

#[test]
fn a_route_tells_its_mtu() {
    let namespace = crate::netns::NetNs::new().expect("this test needs root for a namespace");
    let mut netlink = namespace.netlink().unwrap();
    let loopback = netlink.link_by_name("lo").unwrap().index;
    netlink.set_link_mtu(loopback, 1444).unwrap();
    namespace
        .run(|| {
            for (local, remote) in [("127.0.0.1:0", "127.0.0.9:1"), ("[::1]:0", "[::1]:1")] {
                let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
                assert_eq!(route_mtu(Some(local), Some("lo"), Some(7), remote).unwrap(), 1444);
                assert_eq!(route_mtu(None, None, None, remote).unwrap(), 1444);
            }
            let nowhere = route_mtu(None, None, None, "192.0.2.1:9".parse().unwrap());
            assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
        })
        .unwrap();
}

#[test]
fn options_reach_the_kernel() {
    let options = UdpOptions {
        device: Some("lo".into()),
        mark: Some(0x2a),
        receive_buffer: Some(300_000),
        send_buffer: Some(200_000),
        ..bind("127.0.0.1:0")
    };
    let socket = open(&options);
    let option = |name| sys::option(socket.as_fd(), libc::SOL_SOCKET, name).unwrap();
    assert_eq!(option(libc::SO_MARK), 0x2a, "this test needs root, or CAP_NET_ADMIN");
    // The kernel doubles what it is asked for.
    assert_eq!((option(libc::SO_RCVBUF), option(libc::SO_SNDBUF)), (600_000, 400_000));
    let device = socket2::SockRef::from(&socket).device().unwrap();
    assert_eq!(device.as_deref(), Some(&b"lo"[..]));
    let discover = sys::option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER).unwrap();
    assert_eq!(discover, libc::IP_PMTUDISC_PROBE);
    let error = UdpOptions { device: Some("none0".into()), ..options }.bind_fd().unwrap_err();
    assert!(error.to_string().starts_with("cannot bind to device none0: "), "{error}");
}

#[test]
fn an_address_is_shared_only_if_asked_for() {
    let first = open(&bind("127.0.0.1:0"));
    let again = UdpOptions::new(first.local_addr());
    let error = again.bind_fd().unwrap_err();
    assert_eq!(error.io().kind(), io::ErrorKind::AddrInUse);
    let first = open(&UdpOptions { reuse: true, ..bind("127.0.0.1:0") });
    UdpOptions { reuse: true, ..UdpOptions::new(first.local_addr()) }.bind_fd().unwrap();
}

#[test]
fn a_socket_that_was_passed_on_works() {
    let options = bind("127.0.0.1:0");
    let receiver = UdpSocket::from_fd(options.bind_fd().unwrap(), true, Clock::new()).unwrap();
    let sender = open(&UdpOptions::towards(receiver.local_addr()));
    expect_sent(&sender.send_batch(&payload(30), 10, receiver.local_addr(), Ecn::NotEct), 3);
    assert_eq!(receive(&receiver, 3).concat(), payload(30));
}
