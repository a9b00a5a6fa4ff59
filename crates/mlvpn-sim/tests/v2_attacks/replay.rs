//! What was recorded is worth nothing later, whatever happened in between.

use super::*;

/// Drops of what was handed in again, by reason.
type Dropped = BTreeMap<&'static str, u64>;

/// The new client or server of a conversation that goes on after a restart.
const RESTARTS: [(Side, Seed); 2] = [(Side::Client, Seed(5)), (Side::Server, Seed(6))];

fn packets_to_hosts(world: &Run) -> [u64; 2] {
    SIDES.map(|side| world.stats(side).to_tun.packets)
}

/// Both ends talk for that long, 1,000 packets a second each way.
fn converse(world: &mut Run, seconds: u64) {
    let flows = SIDES.map(|side| world.udp(side, 500, 4.0));
    world.run_for(secs(seconds));
    flows.into_iter().for_each(|flow| assert_eq!(world.finish_udp(flow).lost(), 0));
}

/// Everything that was sent in a conversation under many keys, in the middle of which first the one and then the
/// other end is started anew.
fn conversation(tunnel: &Tunnel) -> (Run, Vec<Recording>) {
    let mut world = tunnel.start(1);
    world.record();
    let is_up = |world: &Run| SIDES.iter().all(|&side| world.links_up(side) == 2);
    assert!(world.run_while_not(secs(10), is_up));
    for (side, seed) in RESTARTS {
        converse(&mut world, 3);
        tunnel.restart(&mut world, side, seed);
        world.run_for(secs(10));
        assert!(is_up(&world), "{:?}", world.events());
    }
    // More than a replay window holds.
    converse(&mut world, 12);
    let recorded = world.network().recordings().to_vec();
    // An initiation that was answered just now is answered again elsewhere [H24].
    world.run_for(secs(6));
    (world, recorded)
}

/// Hands each datagram to both ends over both links. Tells of those that were dropped, and how many were not.
fn hand_to_all(world: &mut Run, recorded: &[Recording]) -> (Dropped, Vec<Recording>) {
    let (mut dropped, mut taken) = (Dropped::new(), Vec::new());
    for (at, recording) in recorded.iter().enumerate() {
        for (side, link) in SIDES.iter().flat_map(|&side| [(side, 0), (side, 1)]) {
            let before = world.stats(side).drops;
            hand_to(world, side, link, recording.from, &recording.payload);
            let after = world.stats(side).drops;
            let reason = after.iter().find(|&(reason, count)| count > before.of(reason));
            match reason {
                Some((reason, _)) => *dropped.entry(reason.as_str()).or_default() += 1,
                None => taken.push(recording.clone()),
            }
            assert!(after.total() <= before.total() + 1, "{side:?}: {after:?}");
        }
        if at % 20 == 0 {
            world.run_for(millis(1));
        }
    }
    (dropped, taken)
}

/// Sealed packets to `side` over one path under how many keys, of what was sent after `from`.
fn longest_path(recorded: &[Recording], side: Side, from: Instant) -> (usize, usize) {
    let mut keys = BTreeSet::new();
    let mut packets = [0; 16];
    for recording in recorded.iter().filter(|r| r.to == side && r.at > from) {
        if let [first @ 0x80..=0xBF, a, b, c, d, ..] = recording.payload[..] {
            packets[usize::from(first & 0x0F)] += 1;
            keys.insert([a, b, c, d]);
        }
    }
    (packets.into_iter().max().unwrap_or(0), keys.len())
}

#[test]
fn a_conversation_under_many_keys_is_worth_nothing_when_it_is_replayed_after_restarts() {
    for (tunnel, is_password) in tunnels().into_iter().zip([true, false]) {
        let tunnel = tunnel.with_side(Side::Client, |config| config.rekey_packets = 1_500);
        let (mut world, recorded) = conversation(&tunnel);
        let since = world.stats(Side::Server).peers[0].since;
        for side in SIDES {
            let (packets, keys) = longest_path(&recorded, side, since);
            assert!(packets > 10_000 && keys > 6, "{side:?}: {packets} {keys}");
        }
        let (before, taken_before) = (standing(&world), packets_to_hosts(&world));
        let said = world.network().recordings().len();
        let (dropped, taken) = hand_to_all(&mut world, &recorded);
        assert_eq!(standing(&world), before, "{:?}", world.events());
        assert_eq!(packets_to_hosts(&world), taken_before, "no packet comes twice");
        let expected = [DropReason::Handshake, DropReason::Replayed, DropReason::UnknownSession];
        assert!(dropped.keys().copied().eq(expected.map(DropReason::as_str)), "{dropped:?}");
        let (refused, handed) = (dropped.values().sum::<u64>(), 4 * recorded.len());
        assert_eq!(refused as usize + taken.len(), handed, "each is counted");
        // With a password nobody remembers whose initiations of former sessions are [H11]: nobody can use the answers.
        assert_eq!(!taken.is_empty(), is_password);
        assert!(taken.iter().all(|r| r.to == Side::Server && r.payload[0] == INITIATION));
        let is_response = |r: &&Recording| r.payload[0] == RESPONSE;
        let responses = world.network().recordings()[said..].iter().filter(is_response);
        assert_eq!(responses.clone().count(), taken.len());
        assert!(responses.into_iter().all(|r| r.payload.len() <= INITIATION_LEN));
        converse(&mut world, 2);
        assert_eq!(standing(&world), before, "{:?}", world.events());
        world.oracle().assert_clean();
    }
}
