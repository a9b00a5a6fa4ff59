//! What comes to a client that does not come from its server, or not as its server sent it.

use super::*;

/// Bits beside those of the header that are flipped, one by one.
const OTHER_BITS: usize = 200;
/// Index, path and number, or the kind of a handshake message and both indices.
const HEADER_BITS: usize = 12 * 8;

/// What anybody sent to where nobody of this tunnel is.
fn sent_elsewhere(world: &Run) -> usize {
    world.network().recordings().iter().filter(|r| r.to_address == elsewhere()).count()
}

fn dropped(world: &Run) -> u64 {
    world.stats(Side::Client).drops.total()
}

/// The first datagram to the client that is `wanted`, of those recorded.
fn to_client(world: &Run, wanted: impl Fn(&Recording) -> bool) -> Recording {
    let mut recordings = world.network().recordings().iter().filter(|r| r.to == Side::Client);
    recordings.find(|r| wanted(r)).cloned().expect("it was sent")
}

/// Hands the datagram to the client with one bit flipped, for each bit of the header and some others, from where it came
/// and from elsewhere. Insists that each is counted, and that nothing comes of it.
fn hand_flipped(world: &mut Run, datagram: &Recording) {
    // Anybody may change the last field of a response, which says nothing.
    let mac2 = if datagram.payload[0] == RESPONSE { 16 } else { 0 };
    let bits = (datagram.payload.len() - mac2) * 8;
    let mut random = Seed(1).stream("bits");
    let others = (0..OTHER_BITS).map(|_| random.below(bits as u64) as usize);
    let flipped: Vec<_> = (0..HEADER_BITS.min(bits)).chain(others).collect();
    let (before, said) = (standing(world), world.network().recordings().len());
    for bit in flipped {
        for from in [datagram.from, elsewhere()] {
            let mut payload = datagram.payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            let counted = dropped(world);
            hand_to(world, Side::Client, datagram.link, from, &payload);
            assert_eq!(dropped(world), counted + 1, "bit {bit} of {:x}", datagram.payload[0]);
        }
    }
    assert_eq!(standing(world), before, "{:?}", world.events());
    assert_eq!(world.network().recordings().len(), said, "nothing is answered");
}

#[test]
fn a_bit_flipped_on_the_way_to_the_client_makes_a_packet_nothing() {
    for tunnel in tunnels() {
        let mut world = tunnel.start_up(1);
        world.udp(Side::Client, 500, 0.4);
        world.udp(Side::Server, 500, 0.4);
        world.run_for(secs(2));
        world.record();
        (0..2).for_each(|link| world.cut(link));
        world.run_for(millis(100));
        let taken = |world: &Run| world.stats(Side::Client).to_tun.packets;
        let before = taken(&world);
        let data = to_client(&world, |r| r.payload.len() > 500);
        let feedback = to_client(&world, |r| r.payload.len() < 200);
        for datagram in [&data, &feedback] {
            hand_flipped(&mut world, datagram);
        }
        assert_eq!(taken(&world), before);
        hand_to(&mut world, Side::Client, data.link, data.from, &data.payload);
        world.run_for(millis(300));
        assert_eq!(taken(&world), before + 1, "the packet itself is taken");
        world.oracle().assert_clean();
    }
}

#[test]
fn a_bit_flipped_in_a_response_keeps_the_client_waiting_for_the_true_one() {
    for tunnel in tunnels() {
        let mut world = tunnel.start(1);
        world.record();
        // All that the server says is lost.
        let ahead = LinkSpec::new(20.0, 10);
        let lossy = WanLink::new(ahead.with_loss(1.0), ahead);
        (0..2).for_each(|link| world.set_link(link, &lossy));
        world.run_for(millis(100));
        let response = to_client(&world, |r| r.payload[0] == RESPONSE);
        hand_flipped(&mut world, &response);
        let said = world.network().recordings().len();
        hand_to(&mut world, Side::Client, response.link, response.from, &response.payload);
        let sealed = &world.network().recordings()[said..];
        assert!(!sealed.is_empty() && sealed.iter().all(|r| r.payload[0] & 0xC0 == 0x80));
        (0..2).for_each(|link| world.set_link(link, &WanLink::symmetric(ahead)));
        world.run_for(secs(3));
        assert_eq!(SIDES.map(|side| world.links_up(side)), [2, 2], "{:?}", world.events());
    }
}

#[test]
fn strangers_get_no_answer_from_a_client_whatever_they_say() {
    let of_versions = |versions| with_both_credentials(&Tunnel::new(two_links(), versions));
    for tunnel in [Versions::V2, Versions::Auto].into_iter().flat_map(of_versions) {
        let mut world = tunnel.start_up(1);
        world.record();
        let (before, counted) = (standing(&world), dropped(&world));
        let mut random = Seed(1).stream("stranger");
        let mut handed = 0;
        for (first, len) in (0..=255).flat_map(|first| STRANGE_LENGTHS.map(|len| (first, len))) {
            let mut bytes = vec![0; len];
            random.fill(&mut bytes);
            bytes.iter_mut().take(1).for_each(|byte| *byte = first);
            hand_to(&mut world, Side::Client, 0, elsewhere(), &bytes);
            handed += 1;
        }
        assert_eq!(dropped(&world) - counted, handed, "{:?}", world.stats(Side::Client).drops);
        world.run_for(millis(500));
        assert_eq!(sent_elsewhere(&world), 0, "{tunnel:?}");
        assert_eq!(standing(&world), before);
        let drops = world.stats(Side::Client).drops;
        for reason in [DropReason::Malformed, DropReason::UnknownSession, DropReason::Handshake] {
            assert!(drops.of(reason) > 10, "{drops:?}");
        }
    }
}
