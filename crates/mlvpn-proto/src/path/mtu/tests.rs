use chacha20::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::*;

const RTT: Duration = Duration::from_millis(100);
/// What is waited for an answer when it does not come.
const TIMEOUT: Duration = Duration::from_millis(400);
const START: Instant = Instant::from_secs(1);

/// A path in simulated time, which carries UDP payloads of up to `fits` bytes.
struct Network {
    now: Instant,
    fits: u16,
    /// Probes lost, of a thousand: on the way or their answers.
    lost: u32,
    /// Most that an answer comes later than after a round trip; they overtake one another.
    jitter: Duration,
    rng: ChaCha12Rng,
    answers: Vec<(Instant, u16)>,
    sent: Vec<(Instant, u16)>,
}

impl Network {
    fn new(fits: u16) -> Self {
        Self {
            now: START,
            fits,
            lost: 0,
            jitter: Duration::ZERO,
            rng: ChaCha12Rng::seed_from_u64(0),
            answers: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn lossy(fits: u16, lost: u32, seed: u64) -> Self {
        Self { lost, rng: ChaCha12Rng::seed_from_u64(seed), ..Self::new(fits) }
    }

    /// Lets a millisecond pass.
    fn step(&mut self, discovery: &mut MtuDiscovery) {
        self.transmit(discovery);
        self.now += Duration::from_millis(1);
        let now = self.now;
        let due = self.answers.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>();
        for (_, id) in due {
            discovery.on_probe_acked(id, now);
        }
        self.transmit(discovery);
    }

    /// Sends what is due.
    fn transmit(&mut self, discovery: &mut MtuDiscovery) {
        while let Some((id, size)) = discovery.poll_probe(TIMEOUT, self.now) {
            self.sent.push((self.now, size));
            let is_lost = self.rng.next_u32() % 1_000 < self.lost;
            let jitter = self.jitter * (self.rng.next_u32() % 1_000) / 1_000;
            if size <= self.fits && !is_lost {
                self.answers.push((self.now + RTT + jitter, id));
            }
        }
    }

    /// Searches; returns how long that took.
    fn search(&mut self, discovery: &mut MtuDiscovery) -> Duration {
        let begun = self.now;
        while !discovery.is_complete() {
            self.step(discovery);
            assert!(self.now < begun + Duration::from_secs(60), "the search does not end");
        }
        self.now.saturating_since(begun)
    }
}

/// A path that was found to carry `fits` bytes, a while ago.
fn found(fits: u16) -> (MtuDiscovery, Network) {
    let (mut discovery, mut network) = (MtuDiscovery::new(1_472), Network::new(fits));
    network.search(&mut discovery);
    assert_eq!(discovery.size(), fits);
    network.now += Duration::from_secs(10);
    (discovery, network)
}

#[test]
fn an_ethernet_path_takes_one_round_trip() {
    let (mut discovery, mut network) = (MtuDiscovery::new(1_472), Network::new(1_472));
    assert_eq!(discovery.size(), BASE, "until it is known better");
    assert_eq!(network.search(&mut discovery), RTT);
    assert_eq!(discovery.size(), 1_472);
}

#[test]
fn every_common_size_is_found_within_four_and_a_half_round_trips() {
    for limit in [1_472, 1_452] {
        for fits in [
            1_464, 1_452, 1_444, 1_432, 1_424, 1_412, 1_400, 1_392, 1_372, 1_352, 1_330, 1_252,
            1_232, 1_200,
        ] {
            let (mut discovery, mut network) = (MtuDiscovery::new(limit), Network::new(fits));
            let took = network.search(&mut discovery);
            assert_eq!(discovery.size(), fits.min(limit));
            assert!(took <= RTT * 9 / 2 + Duration::from_millis(5), "{fits}: {took:?}");
            let last = network.now - RTT;
            assert!(network.sent.iter().all(|(at, _)| *at <= last), "all had time to be answered");
        }
    }
}

#[test]
fn five_probes_share_a_round_trip_at_the_most() {
    for fits in 1_200..=1_472 {
        let (mut discovery, mut network) = (MtuDiscovery::new(1_472), Network::new(fits));
        network.search(&mut discovery);
        for (start, _) in &network.sent {
            let within = |at: &Instant| *at >= *start && *at < *start + RTT;
            let count = network.sent.iter().filter(|(at, _)| within(at)).count();
            assert!(count <= 5, "{fits}: {:?}", network.sent);
        }
        assert!(network.sent.len() <= 16, "{fits}: {:?}", network.sent);
    }
}

#[test]
fn three_percent_of_loss_each_way_makes_no_size_smaller() {
    for fits in [1_472, 1_444, 1_372, 1_252] {
        for seed in 0..2_000 {
            let mut discovery = MtuDiscovery::new(1_472);
            let mut network = Network::lossy(fits, 60, seed);
            network.search(&mut discovery);
            assert_eq!(discovery.size(), fits, "seed {seed}");
        }
    }
}

#[test]
fn answers_that_overtake_one_another_make_no_size_smaller() {
    for fits in [1_472, 1_372] {
        for seed in 0..500 {
            let mut discovery = MtuDiscovery::new(1_472);
            let mut network = Network::lossy(fits, 0, seed);
            network.jitter = RTT * 3;
            network.search(&mut discovery);
            assert_eq!(discovery.size(), fits, "seed {seed}");
        }
    }
}

#[test]
fn what_is_answered_after_the_search_counts_too() {
    let (mut discovery, now) = (MtuDiscovery::new(1_472), START);
    let poll = |discovery: &mut MtuDiscovery, now| {
        std::iter::from_fn(|| discovery.poll_probe(TIMEOUT, now)).collect::<Vec<_>>()
    };
    let first = poll(&mut discovery, now);
    assert_eq!(first[0].1, 1_472);
    let mut now = now;
    while !discovery.is_complete() {
        for (id, _) in poll(&mut discovery, now).into_iter().filter(|(_, size)| *size == BASE) {
            discovery.on_probe_acked(id, now + RTT);
        }
        discovery.on_probe_acked(first.last().unwrap().0, now);
        now += TIMEOUT;
    }
    assert_eq!(discovery.size(), BASE);
    discovery.on_probe_acked(first[0].0, now);
    assert_eq!(discovery.size(), 1_472);
}

#[test]
fn a_path_that_carries_nothing_for_a_while_is_not_taken_to_be_small() {
    for outage in [1, 2, 10] {
        let (mut discovery, mut network) = (MtuDiscovery::new(1_472), Network::new(0));
        while network.now < START + Duration::from_secs(outage) {
            network.step(&mut discovery);
            assert!(!discovery.is_complete());
        }
        assert!(network.sent.len() < 100, "ever less often: {}", network.sent.len());
        network.fits = 1_452;
        network.search(&mut discovery);
        assert_eq!(discovery.size(), 1_452);
    }
}

#[test]
fn a_path_that_shrinks_is_noticed_without_any_icmp() {
    let (mut discovery, mut network) = found(1_472);
    let start = network.now;
    let sent = |ms| start + Duration::from_millis(ms);
    (0..2).for_each(|ms| assert_eq!(discovery.on_lost(1_472, sent(ms), start), 1));
    discovery.on_arrived(1_472, sent(2));
    discovery.on_lost(1_472, sent(3), start);
    assert!(discovery.is_complete(), "one that large arrived in between");
    discovery.on_lost(1_472, sent(4), start);
    discovery.on_arrived(1_400, sent(5));
    discovery.on_arrived(1_472, sent(1));
    discovery.on_lost(1_472, sent(6), start);
    assert!(!discovery.is_complete(), "smaller ones do not count, nor those sent before");
    assert_eq!(discovery.size(), 1_472, "not before a probe was lost");
    network.fits = 1_372;
    let took = network.search(&mut discovery);
    assert_eq!(discovery.size(), 1_372);
    assert!(took <= RTT * 23 / 4, "{took:?}");
    let sizes: Vec<u16> = network.sent.iter().map(|(_, size)| *size).collect();
    assert!(sizes.ends_with(&[1_392, 1_392, BASE]), "{sizes:?}");
}

#[test]
fn nothing_larger_than_what_arrives_is_sent_once_a_probe_was_lost() {
    let (mut discovery, mut network) = found(1_472);
    network.fits = 1_372;
    discovery.on_silence(network.now);
    let begun = network.now;
    while network.now < begun + RTT * 5 / 4 {
        assert!([1_472, 1_352].contains(&discovery.size()), "{}", discovery.size());
        network.step(&mut discovery);
    }
    assert!((BASE..=1_372).contains(&discovery.size()), "{}", discovery.size());
    network.search(&mut discovery);
    assert_eq!(discovery.size(), 1_372);
}

#[test]
fn a_burst_of_losses_is_no_black_hole_but_congestion() {
    let (mut discovery, mut network) = found(1_472);
    let now = network.now;
    let told: u64 = (0..100).map(|_| discovery.on_lost(1_472, now, now)).sum();
    assert_eq!((told, discovery.take_withheld()), (3, 0));
    network.sent.clear();
    assert_eq!(network.search(&mut discovery), RTT);
    assert_eq!(discovery.size(), 1_472);
    let sizes: Vec<u16> = network.sent.iter().map(|(_, size)| *size).collect();
    assert_eq!(sizes, [1_472, BASE]);
    assert_eq!((discovery.take_withheld(), discovery.take_withheld()), (97, 0));
}

#[test]
fn what_a_black_hole_takes_is_no_congestion() {
    let (mut discovery, mut network) = found(1_472);
    network.fits = 1_372;
    discovery.on_silence(network.now);
    assert_eq!(discovery.on_lost(1_472, network.now, network.now), 0);
    assert_eq!(discovery.on_lost(1_000, network.now, network.now), 1);
    network.search(&mut discovery);
    assert_eq!(discovery.on_lost(1_472, network.now, network.now), 0);
    assert_eq!(discovery.take_withheld(), 0);
    assert!(discovery.is_complete(), "what does not fit any more says nothing new");
}

#[test]
fn lost_probes_are_no_congestion() {
    let (mut discovery, mut network) = (MtuDiscovery::new(1_472), Network::new(1_372));
    for _ in 0..150 {
        network.step(&mut discovery);
    }
    let size = discovery.size();
    assert_eq!(discovery.on_lost(1_472, network.now, network.now), 0);
    assert_eq!(discovery.on_lost(size, network.now, network.now), 1);
}

#[test]
fn data_that_arrives_ends_the_doubt() {
    let (mut discovery, network) = found(1_472);
    discovery.on_silence(network.now);
    discovery.on_arrived(1_472, network.now - RTT);
    assert!(discovery.poll_probe(TIMEOUT, network.now).is_some(), "it was sent before");
    discovery.on_arrived(1_472, network.now + RTT);
    assert_eq!(discovery.poll_timeout(), Some(Instant::ZERO));
    assert_eq!(discovery.poll_probe(TIMEOUT, network.now + RTT * 2), None);
    assert_eq!((discovery.is_complete(), discovery.size()), (true, 1_472));
}

#[test]
fn small_packets_that_are_lost_say_nothing_about_size() {
    let (mut discovery, network) = found(1_472);
    for _ in 0..100 {
        assert_eq!(discovery.on_lost(BASE, network.now, network.now), 1);
        assert!(discovery.is_complete());
    }
}

#[test]
fn it_looks_again_after_ten_minutes() {
    let (mut discovery, mut network) = found(1_372);
    let again = discovery.poll_timeout().unwrap();
    assert!(again >= network.now + RAISE_AFTER - Duration::from_secs(20));
    network.now = again;
    network.sent.clear();
    network.step(&mut discovery);
    network.search(&mut discovery);
    assert_eq!((network.sent[0].1, discovery.size()), (1_472, 1_372), "none smaller in between");
    (network.now, network.fits) = (discovery.poll_timeout().unwrap(), 1_472);
    network.step(&mut discovery);
    network.search(&mut discovery);
    assert_eq!(discovery.size(), 1_472);
}

#[test]
fn on_other_addresses_all_is_found_anew() {
    let (mut discovery, mut network) = found(1_472);
    discovery.on_silence(network.now);
    let (id, size) = discovery.poll_probe(TIMEOUT, network.now).unwrap();
    assert_eq!(size, 1_472);
    discovery.restart(1_452);
    discovery.on_probe_acked(id, network.now);
    assert_eq!((discovery.size(), discovery.is_complete()), (BASE, false));
    network.fits = 1_444;
    network.search(&mut discovery);
    assert_eq!(discovery.size(), 1_444);
}
