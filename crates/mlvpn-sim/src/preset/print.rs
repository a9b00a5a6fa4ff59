//! Writing a link as text.

use core::fmt;
use core::time::Duration;

use super::preset;
use crate::link::{LinkSpec, Loss, Queue, WanLink};

/// Writes the preset's name for an unchanged preset, else all keys; reading it gives the same link
/// up to the rounding of loss probabilities.
impl fmt::Display for WanLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if preset(&self.name).as_ref() == Some(self) {
            return f.write_str(&self.name);
        }
        write!(f, "down={},up={}", rate(self.down.rate), rate(self.up.rate))?;
        self.write(f, "delay", |spec| millis(spec.delay))?;
        self.write(f, "jitter", |spec| millis(spec.jitter))?;
        self.write(f, "loss", |spec| percent(spec.loss.mean()))?;
        if matches!(self.down.loss, Loss::Burst { .. })
            || matches!(self.up.loss, Loss::Burst { .. })
        {
            self.write(f, "burst", |spec| burst(&spec.loss).0.to_string())?;
            self.write(f, "severity", |spec| percent(burst(&spec.loss).1))?;
        }
        self.write(f, "queue", queue)?;
        self.write(f, "mtu", |spec| spec.mtu.map_or("none".to_owned(), |mtu| mtu.to_string()))?;
        if !self.name.is_empty() {
            write!(f, ",name={}", self.name)?;
        }
        Ok(())
    }
}

impl WanLink {
    /// Writes one key: once when both directions agree, else as down/up.
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        key: &str,
        value: impl Fn(&LinkSpec) -> String,
    ) -> fmt::Result {
        let (down, up) = (value(&self.down), value(&self.up));
        if down == up { write!(f, ",{key}={down}") } else { write!(f, ",{key}={down}/{up}") }
    }
}

fn rate(rate: Option<u64>) -> String {
    rate.map_or("unlimited".to_owned(), |rate| (rate as f64 / 1e6).to_string())
}

fn millis(duration: Duration) -> String {
    (duration.as_nanos() as f64 / 1e6).to_string()
}

/// In percent with nine decimals at most.
fn percent(fraction: f64) -> String {
    ((fraction * 1e11).round() / 1e9).to_string()
}

/// Mean burst length and severity; independent losses are bursts of one packet.
fn burst(loss: &Loss) -> (f64, f64) {
    match *loss {
        Loss::Burst { leave, severity, .. } if leave > 0.0 => (1.0 / leave, severity),
        Loss::Burst { severity, .. } => (1.0, severity),
        Loss::None | Loss::Random(_) => (1.0, 1.0),
    }
}

fn queue(spec: &LinkSpec) -> String {
    match spec.queue {
        Queue::Time(time) => millis(time),
        Queue::Bytes(bytes) => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset::PRESETS;

    #[test]
    fn what_is_written_reads_back() {
        for text in PRESETS.into_iter().chain([
            "down=50,up=20,delay=40,jitter=8,loss=0.5,queue=300,mtu=1500",
            "down=8,up=0.5,delay=10/0.5,jitter=0,loss=0,queue=64000B/20,mtu=none,name=odd",
            "down=unlimited,up=unlimited,delay=0,jitter=0,loss=0/1,queue=100,mtu=1500",
            "down=50,up=15,delay=30,jitter=6,loss=2,queue=500,mtu=1500,name=lte",
            "down=5,up=5,delay=1,jitter=0,loss=2,burst=8,severity=50,queue=100,mtu=1500",
        ]) {
            let link: WanLink = text.parse().unwrap();
            assert_eq!(link.to_string(), text);
        }
    }

    #[test]
    fn bursts_survive_the_round_trip() {
        let link: WanLink = "wifi,loss=2".parse().unwrap();
        let again: WanLink = link.to_string().parse().unwrap();
        let (Loss::Burst { enter: a, .. }, Loss::Burst { enter: b, .. }) =
            (link.down.loss, again.down.loss)
        else {
            panic!("{link}")
        };
        assert!((a - b).abs() < 1e-9);
    }
}
