//! Links by name, and links as text.
//!
//! | preset | down / up Mbit/s | one-way ms | jitter ms | loss % | queue ms | stands for |
//! |---|---|---|---|---|---|---|
//! | `dsl` | 11.2 / 0.8 | 15 | 0 | 0 | 200 | ADSL2+ far from the exchange |
//! | `fibre` | 300 / 100 | 4 | 0 | 0 | 20 | FTTH |
//! | `lte` | 50 / 15 | 30 | 6 | 0.3 | 500 | a fair cell, deep queues of the base station |
//! | `5g` | 200 / 40 | 15 | 8 | 0.2 | 300 | mid-band, non-standalone |
//! | `starlink` | 150 / 15 | 25 | 3 | 0.5 | 150 | low orbit; see [`crate::link::Handovers`] |
//! | `wifi` | 80 / 80 | 4 | 5 | 0.5 in bursts of 8 | 100 | shared 5 GHz channel |
//! | `geo` | 20 / 3 | 300 | 20 | 0.5 | 500 | geostationary satellite |
//!
//! All have an MTU of 1500 bytes. Delay, jitter, loss and queue hold for each direction. The rates
//! of mobile links wander with [`crate::link::RateWalk`] on top, if wanted.

mod parse;
mod print;

pub use parse::ParseLinkError;

use core::time::Duration;

use crate::link::{LinkSpec, Loss, Queue, WanLink};

/// The names of the presets.
pub const PRESETS: [&str; 7] = ["dsl", "fibre", "lte", "5g", "starlink", "wifi", "geo"];

/// The largest IP packet on links that do not say otherwise.
pub const DEFAULT_MTU: usize = 1_500;

/// The preset called `name`, see the [table](self).
#[must_use]
pub fn preset(name: &str) -> Option<WanLink> {
    let link = match name {
        "dsl" => link([11.2, 0.8], 15, 0, Loss::None, 200),
        "fibre" => link([300.0, 100.0], 4, 0, Loss::None, 20),
        "lte" => link([50.0, 15.0], 30, 6, Loss::Random(0.003), 500),
        "5g" => link([200.0, 40.0], 15, 8, Loss::Random(0.002), 300),
        "starlink" => link([150.0, 15.0], 25, 3, Loss::Random(0.005), 150),
        "wifi" => link([80.0, 80.0], 4, 5, Loss::bursty(0.005, 8.0, 1.0), 100),
        "geo" => link([20.0, 3.0], 300, 20, Loss::Random(0.005), 500),
        _ => return None,
    };
    Some(WanLink { name: name.to_owned(), ..link })
}

fn link(mbit: [f64; 2], delay_ms: u64, jitter_ms: u64, loss: Loss, queue_ms: u64) -> WanLink {
    let [down, up] = mbit.map(|mbit| LinkSpec {
        rate: Some((mbit * 1e6).round() as u64),
        delay: Duration::from_millis(delay_ms),
        jitter: Duration::from_millis(jitter_ms),
        loss,
        queue: Queue::Time(Duration::from_millis(queue_ms)),
        mtu: Some(DEFAULT_MTU),
    });
    WanLink::new(down, up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_exists_under_its_name() {
        for name in PRESETS {
            assert_eq!(preset(name).unwrap().name, name);
        }
        assert_eq!(preset("modem"), None);
    }

    #[test]
    fn dsl_is_the_line_of_the_article() {
        let dsl = preset("dsl").unwrap();
        assert_eq!((dsl.down.rate, dsl.up.rate), (Some(11_200_000), Some(800_000)));
        assert_eq!(dsl.down.delay, Duration::from_millis(15));
        assert_eq!(dsl.down.queue, Queue::Time(Duration::from_millis(200)));
    }
}
