use core::time::Duration;

use super::*;
use crate::link::{Loss, Queue};

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

/// All arrivals until nothing is left, each with its time.
fn arrivals(pipe: &mut Pipe<u64>) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    while let Some(now) = pipe.next_event() {
        while let Some(item) = pipe.poll(now) {
            all.push((item, now.as_micros()));
        }
    }
    all
}

#[test]
fn packets_are_serialised_one_after_the_other_and_then_delayed() {
    // 1,500 bytes at 12 Mbit/s take 1 ms.
    let mut pipe = Pipe::new(LinkSpec::new(12.0, 20), 1);
    for item in 0..3 {
        assert_eq!(pipe.send(item, 1_500, at(100)), Ok(()));
    }
    assert_eq!(pipe.poll(at(21_099)), None);
    assert_eq!(arrivals(&mut pipe), [(0, 21_100), (1, 22_100), (2, 23_100)]);
    pipe.send(3, 750, at(50_000)).unwrap();
    assert_eq!(arrivals(&mut pipe), [(3, 70_500)]);
    assert_eq!(pipe.counters().delivered_bytes, 5_250);
}

#[test]
fn rounding_does_not_add_up() {
    // 40 bytes at 1 Gbit/s take 0.32 µs: 100,000 of them 32 ms.
    let mut pipe = Pipe::new(LinkSpec::new(1_000.0, 0), 1);
    for item in 0..100_000 {
        pipe.send(item, 40, at(0)).unwrap();
    }
    assert_eq!(arrivals(&mut pipe).last(), Some(&(99_999, 32_000)));
}

#[test]
fn an_unlimited_link_only_delays() {
    let spec = LinkSpec { delay: Duration::from_millis(5), ..LinkSpec::PERFECT };
    let mut pipe = Pipe::new(spec, 1);
    for item in 0..1_000 {
        pipe.send(item, 1_500, at(7)).unwrap();
    }
    assert!(arrivals(&mut pipe).iter().all(|&(_, time)| time == 5_007));
}

#[test]
fn the_queue_drops_its_tail() {
    let spec = LinkSpec { queue: Queue::Bytes(3_000), ..LinkSpec::new(12.0, 0) };
    let mut pipe = Pipe::new(spec, 1);
    let accepted: Vec<u64> = (0..5).filter(|&item| pipe.send(item, 1_500, at(0)).is_ok()).collect();
    assert_eq!(accepted, [0, 1, 2], "one in service and two waiting");
    assert_eq!(pipe.waiting_bytes(), 3_000);
    assert_eq!(pipe.counters().queue_full, 2);
    assert_eq!(pipe.send(9, 1_500, at(1_000)), Ok(()), "one has left");
}

#[test]
fn one_packet_may_wait_in_the_smallest_queue() {
    let spec = LinkSpec { queue: Queue::Bytes(0), ..LinkSpec::new(12.0, 0) };
    let mut pipe = Pipe::new(spec, 1);
    let accepted = (0..5).filter(|&item| pipe.send(item, 1_500, at(0)).is_ok()).count();
    assert_eq!(accepted, 2);
}

#[test]
fn a_new_rate_holds_for_what_is_queued() {
    let mut pipe = Pipe::new(LinkSpec::new(12.0, 0), 1);
    pipe.send(0, 1_500, at(0)).unwrap();
    pipe.send(1, 1_500, at(0)).unwrap();
    // Half of the first has been sent; the rest takes 2 ms instead of 0.5, the second 4 ms.
    pipe.set_spec(LinkSpec::new(3.0, 0), at(500));
    assert_eq!(arrivals(&mut pipe), [(0, 2_500), (1, 6_500)]);
}

#[test]
fn a_stalled_link_goes_on_where_it_stopped() {
    let mut pipe = Pipe::new(LinkSpec::new(12.0, 0), 1);
    pipe.send(0, 1_500, at(0)).unwrap();
    pipe.set_spec(LinkSpec { rate: Some(0), ..LinkSpec::new(12.0, 0) }, at(400));
    assert_eq!(pipe.next_event(), None);
    assert_eq!(pipe.poll(at(1_000_000)), None);
    pipe.set_spec(LinkSpec::new(12.0, 0), at(1_000_000));
    assert_eq!(arrivals(&mut pipe), [(0, 1_000_600)]);
}

#[test]
fn a_shorter_delay_does_not_let_packets_overtake() {
    let mut pipe = Pipe::new(LinkSpec::new(12.0, 50), 1);
    pipe.send(0, 1_500, at(0)).unwrap();
    pipe.set_spec(LinkSpec::new(12.0, 5), at(2_000));
    pipe.send(1, 1_500, at(2_000)).unwrap();
    assert_eq!(arrivals(&mut pipe), [(0, 51_000), (1, 51_000)]);
}

#[test]
fn jitter_spreads_packets_but_keeps_their_order() {
    let mut pipe = Pipe::new(LinkSpec::new(12.0, 40).with_jitter_ms(8), 1);
    let mut all = Vec::new();
    for item in 0..5_000 {
        let now = at(item * 2_000);
        pipe.send(item, 1_500, now).unwrap();
        while let Some(item) = pipe.poll(now) {
            all.push((item, now.as_micros()));
        }
    }
    all.extend(arrivals(&mut pipe));
    assert!(all.iter().map(|&(item, _)| item).eq(0..5_000));
    let delays: Vec<u64> = all.iter().map(|&(item, time)| time - item * 2_000).collect();
    let (min, max) = (*delays.iter().min().unwrap(), *delays.iter().max().unwrap());
    assert!(min < 30_000 && max > 55_000, "{min} {max}");
}

#[test]
fn lost_packets_have_taken_their_time_on_the_link() {
    let mut pipe = Pipe::new(LinkSpec::new(12.0, 0).with_loss(0.5).with_queue_ms(10_000), 1);
    for item in 0..1_000 {
        pipe.send(item, 1_500, at(0)).unwrap();
    }
    let all = arrivals(&mut pipe);
    assert!(all.iter().all(|&(item, time)| time == (item + 1) * 1_000));
    // Six standard deviations of a binomial of 1,000 at one half are 95.
    assert!(pipe.counters().loss.abs_diff(500) < 95, "{:?}", pipe.counters());
    assert_eq!(pipe.counters().delivered + pipe.counters().loss, 1_000);
}

#[test]
fn a_cut_swallows_what_waits_and_spares_what_flies() {
    let mut pipe = Pipe::new(LinkSpec::new(12.0, 20), 1);
    for item in 0..4 {
        pipe.send(item, 1_500, at(0)).unwrap();
    }
    pipe.set_cut(true, at(1_500));
    assert_eq!(pipe.send(4, 1_500, at(1_600)), Err(4));
    assert_eq!(arrivals(&mut pipe), [(0, 21_000)]);
    assert_eq!(pipe.counters().cut, 4);
    pipe.set_cut(false, at(30_000));
    pipe.send(5, 1_500, at(30_000)).unwrap();
    assert_eq!(arrivals(&mut pipe), [(5, 51_000)]);
}

#[test]
fn what_is_held_back_arrives_at_once_thereafter_and_nothing_is_lost() {
    let mut pipe = Pipe::new(LinkSpec::new(12.0, 20), 1);
    for item in 0..4 {
        pipe.send(item, 1_500, at(0)).unwrap();
    }
    assert_eq!(pipe.poll(at(21_000)), Some(0));
    pipe.hold(Duration::from_millis(2), at(21_500));
    assert_eq!(pipe.poll(at(23_400)), None);
    assert_eq!(arrivals(&mut pipe), [(1, 23_500), (2, 23_500), (3, 24_000)]);
}

#[test]
fn packets_above_the_mtu_vanish() {
    let mut pipe = Pipe::new(LinkSpec { mtu: Some(1_492), ..LinkSpec::PERFECT }, 1);
    assert_eq!(pipe.send(0, 1_493, at(0)), Err(0));
    assert_eq!(pipe.send(1, 1_492, at(0)), Ok(()));
    assert_eq!((pipe.counters().too_big, pipe.counters().dropped()), (1, 1));
}

#[test]
fn polling_more_often_changes_nothing() {
    let spec = LinkSpec {
        jitter: Duration::from_millis(3),
        loss: Loss::bursty(0.05, 4.0, 1.0),
        ..LinkSpec::new(10.0, 10)
    };
    let run = |extra_polls: bool| {
        let mut pipe = Pipe::new(spec, 9);
        let mut all = Vec::new();
        for item in 0..2_000_u64 {
            let now = at(item * 1_300);
            let _ = pipe.send(item, 1_500, now);
            if extra_polls {
                all.extend(core::iter::from_fn(|| pipe.poll(now)));
                all.extend(core::iter::from_fn(|| pipe.poll(at(item * 1_300 + 700))));
            }
        }
        all.extend(arrivals(&mut pipe).into_iter().map(|(item, _)| item));
        all
    };
    assert_eq!(run(false), run(true));
}

/// Whatever is done to a pipe, packets come in order, and each is delivered or counted once.
mod whatever_happens {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Send(usize),
        Wait(u64),
        Rate(Option<u64>),
        Delay(u64),
        Cut(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (20_usize..2_000).prop_map(Step::Send),
            4 => (0_u64..20_000).prop_map(Step::Wait),
            1 => proptest::option::of(0_u64..50_000_000).prop_map(Step::Rate),
            1 => (0_u64..50).prop_map(Step::Delay),
            1 => any::<bool>().prop_map(Step::Cut),
        ]
    }

    proptest! {
        #[test]
        fn packets_are_conserved(steps in proptest::collection::vec(step(), 1..200), seed: u64) {
            let spec = LinkSpec {
                mtu: Some(1_500),
                ..LinkSpec::new(10.0, 10).with_loss(0.1).with_jitter_ms(5)
            };
            let mut pipe = Pipe::new(spec, seed);
            let (mut now, mut next, mut got) = (at(0), 0_u64, Vec::new());
            for step in steps {
                match step {
                    Step::Send(len) => {
                        let _ = pipe.send(next, len, now);
                        next += 1;
                    }
                    Step::Wait(micros) => now += Duration::from_micros(micros),
                    Step::Rate(rate) => pipe.set_spec(LinkSpec { rate, ..*pipe.spec() }, now),
                    Step::Delay(ms) => {
                        let delay = Duration::from_millis(ms);
                        pipe.set_spec(LinkSpec { delay, ..*pipe.spec() }, now);
                    }
                    Step::Cut(cut) => pipe.set_cut(cut, now),
                }
                got.extend(core::iter::from_fn(|| pipe.poll(now)));
            }
            pipe.set_spec(LinkSpec { rate: Some(1_000_000), ..*pipe.spec() }, now);
            got.extend(arrivals(&mut pipe).into_iter().map(|(item, _)| item));
            prop_assert!(got.is_sorted_by(|a, b| a < b));
            let counters = pipe.counters();
            prop_assert_eq!(counters.delivered, got.len() as u64);
            prop_assert_eq!(counters.offered, next);
            prop_assert_eq!(counters.offered, counters.delivered + counters.dropped());
        }
    }
}
