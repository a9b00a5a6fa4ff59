//! Reading a link from text.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use super::{DEFAULT_MTU, PRESETS, preset};
use crate::link::{LinkSpec, Loss, Queue, WanLink};

/// The keys of a link and what their values are.
const KEYS: [(&str, &str); 10] = [
    ("down", "Mbit/s or unlimited"),
    ("up", "Mbit/s or unlimited"),
    ("delay", "ms one way"),
    ("jitter", "ms"),
    ("loss", "percent"),
    ("burst", "packets per burst of loss"),
    ("severity", "percent lost in a burst"),
    ("queue", "ms at the rate, or bytes like 64000B"),
    ("mtu", "bytes or none"),
    ("name", "text"),
];

/// Reads `dsl`, `down=50,up=20,delay=40,jitter=8,loss=0.5,queue=300`, or a preset with overrides
/// like `lte,loss=2,name=phone`.
///
/// | key | value | unless given |
/// |---|---|---|
/// | `down`, `up` | Mbit/s of IP packets, or `unlimited` | `down` must be, `up` as `down` |
/// | `delay` | ms, one way | 0 |
/// | `jitter` | ms, standard deviation of the delay | 0 |
/// | `loss` | percent | 0 |
/// | `burst` | mean length in packets of the bursts in which loss comes | independent losses |
/// | `severity` | percent of the packets of a burst that are lost | 100 |
/// | `queue` | ms at the rate, or bytes like `64000B` | 100 |
/// | `mtu` | bytes of the largest IP packet, or `none` | 1500 |
/// | `name` | what reports call the link | the preset's name, or none |
///
/// All but `down`, `up` and `name` hold for both directions, or are given for each as
/// `delay=15/40` (down/up).
impl FromStr for WanLink {
    type Err = ParseLinkError;

    fn from_str(text: &str) -> Result<Self, ParseLinkError> {
        let mut parts = text.split(',').map(str::trim).peekable();
        let mut draft = match parts.next_if(|part| !part.contains('=')) {
            Some(name) => {
                Draft::of(preset(name).ok_or_else(|| ParseLinkError::UnknownPreset(name.into()))?)
            }
            None => Draft::empty(),
        };
        for part in parts {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| ParseLinkError::NotAnAssignment(part.to_owned()))?;
            draft.set(key.trim(), value.trim())?;
        }
        draft.finish()
    }
}

/// Why a text is not a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseLinkError {
    /// The first word is no preset.
    UnknownPreset(String),
    /// No such key.
    UnknownKey(String),
    /// A part after the first is not `key=value`.
    NotAnAssignment(String),
    /// The key's value does not have its form or range.
    BadValue {
        /// The key.
        key: &'static str,
        /// The value given.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Neither a preset nor `down` was given.
    NoRate,
}

impl fmt::Display for ParseLinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPreset(name) => write!(
                f,
                "no link is called {name:?}: use one of {}, or down=...,up=...,delay=...",
                PRESETS.join(", ")
            ),
            Self::UnknownKey(key) => {
                write!(f, "a link has no {key:?}: use {}", KEYS.map(|(key, _)| key).join(", "))
            }
            Self::NotAnAssignment(part) => {
                write!(f, "{part:?} is not of the form key=value; a preset must come first")
            }
            Self::BadValue { key, value, expected } => {
                write!(f, "{key}={value}: {key} is {expected}")
            }
            Self::NoRate => write!(f, "a link needs a preset or down=<Mbit/s>"),
        }
    }
}

impl std::error::Error for ParseLinkError {}

/// A link being read. Losses are kept in parts until all are known.
struct Draft {
    name: String,
    is_rated: bool,
    has_up: bool,
    /// Down and up.
    ways: [WayDraft; 2],
}

#[derive(Clone, Copy)]
struct WayDraft {
    spec: LinkSpec,
    /// Mean loss, 0 to 1.
    loss: f64,
    burst: Option<f64>,
    severity: f64,
}

impl WayDraft {
    fn of(spec: LinkSpec) -> Self {
        let (burst, severity) = match spec.loss {
            Loss::Burst { leave, severity, .. } => (Some(1.0 / leave), severity),
            Loss::None | Loss::Random(_) => (None, 1.0),
        };
        Self { spec, loss: spec.loss.mean(), burst, severity }
    }

    fn finish(self) -> LinkSpec {
        let loss = match self.burst {
            _ if self.loss == 0.0 => Loss::None,
            Some(burst) => Loss::bursty(self.loss, burst, self.severity),
            None => Loss::Random(self.loss),
        };
        LinkSpec { loss, ..self.spec }
    }
}

impl Draft {
    fn empty() -> Self {
        let spec = LinkSpec {
            queue: Queue::Time(Duration::from_millis(100)),
            mtu: Some(DEFAULT_MTU),
            ..LinkSpec::PERFECT
        };
        Self { is_rated: false, ..Self::of(WanLink::symmetric(spec)) }
    }

    fn of(link: WanLink) -> Self {
        let ways = [WayDraft::of(link.down), WayDraft::of(link.up)];
        Self { name: link.name, is_rated: true, has_up: false, ways }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ParseLinkError> {
        let Some(&(key, expected)) = KEYS.iter().find(|(known, _)| *known == key) else {
            return Err(ParseLinkError::UnknownKey(key.to_owned()));
        };
        self.set_known(key, value).ok_or_else(|| ParseLinkError::BadValue {
            key,
            value: value.to_owned(),
            expected,
        })
    }

    fn set_known(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "down" => self.set_down(rate(value)?),
            "up" => {
                self.ways[1].spec.rate = rate(value)?;
                self.has_up = true;
            }
            "name" => value.clone_into(&mut self.name),
            _ => {
                let (down, up) = value.split_once('/').unwrap_or((value, value));
                self.ways[0].set(key, down)?;
                self.ways[1].set(key, up)?;
            }
        }
        Some(())
    }

    fn set_down(&mut self, rate: Option<u64>) {
        self.ways[0].spec.rate = rate;
        // A preset's upload is known; elsewhere it follows the download.
        if !self.is_rated && !self.has_up {
            self.ways[1].spec.rate = rate;
        }
        self.is_rated = true;
    }

    fn finish(self) -> Result<WanLink, ParseLinkError> {
        if !self.is_rated {
            return Err(ParseLinkError::NoRate);
        }
        let [down, up] = self.ways.map(WayDraft::finish);
        Ok(WanLink { name: self.name, down, up })
    }
}

impl WayDraft {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "delay" => self.spec.delay = millis(value)?,
            "jitter" => self.spec.jitter = millis(value)?,
            "loss" => self.loss = percent(value)?,
            "burst" => self.burst = Some(number(value, 1.0, 1e9)?),
            "severity" => self.severity = percent(value)?,
            "queue" => {
                self.spec.queue = match value.strip_suffix('B') {
                    Some(bytes) => Queue::Bytes(bytes.parse().ok()?),
                    None => Queue::Time(millis(value)?),
                }
            }
            "mtu" if value == "none" => self.spec.mtu = None,
            "mtu" => self.spec.mtu = Some(value.parse().ok().filter(|&mtu| mtu >= 68)?),
            _ => return None,
        }
        Some(())
    }
}

fn number(value: &str, low: f64, high: f64) -> Option<f64> {
    value.parse().ok().filter(|number| (low..=high).contains(number))
}

fn rate(value: &str) -> Option<Option<u64>> {
    if value == "unlimited" {
        return Some(None);
    }
    number(value, 0.0, 1e6).map(|mbit| Some((mbit * 1e6).round() as u64))
}

fn millis(value: &str) -> Option<Duration> {
    number(value, 0.0, 1e6).map(|ms| Duration::from_nanos((ms * 1e6).round() as u64))
}

fn percent(value: &str) -> Option<f64> {
    number(value, 0.0, 100.0).map(|percent| percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> WanLink {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn keys_set_both_directions() {
        let link = parse("down=50,up=20,delay=40,jitter=8,loss=0.5,queue=300,mtu=1492,name=x");
        assert_eq!((link.down.rate, link.up.rate), (Some(50_000_000), Some(20_000_000)));
        for spec in [link.down, link.up] {
            assert_eq!(spec.delay, Duration::from_millis(40));
            assert_eq!(spec.jitter, Duration::from_millis(8));
            assert_eq!(spec.loss, Loss::Random(0.005));
            assert_eq!(spec.queue, Queue::Time(Duration::from_millis(300)));
            assert_eq!(spec.mtu, Some(1_492));
        }
        assert_eq!(link.name, "x");
    }

    #[test]
    fn directions_may_differ_and_upload_follows_download() {
        let link = parse("down=8, delay=10/0.5, queue=64000B/20");
        assert_eq!(link.up.rate, Some(8_000_000));
        assert_eq!(link.up.delay, Duration::from_micros(500));
        assert_eq!(link.down.queue, Queue::Bytes(64_000));
        assert_eq!(parse("up=1,down=8").up.rate, Some(1_000_000));
        assert_eq!(parse("down=unlimited,mtu=none").down.mtu, None);
    }

    #[test]
    fn presets_can_be_overridden() {
        let link = parse("lte,loss=2,down=30");
        assert_eq!(link.name, "lte");
        assert_eq!(link.down.loss, Loss::Random(0.02));
        assert_eq!((link.down.rate, link.up.rate), (Some(30_000_000), Some(15_000_000)));
        assert!((parse("wifi,loss=2").down.loss.mean() - 0.02).abs() < 1e-12);
        assert!(matches!(parse("wifi,loss=2").down.loss, Loss::Burst { .. }));
        assert_eq!(parse("wifi,loss=0").down.loss, Loss::None);
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_would_be_right() {
        let error = |text: &str| text.parse::<WanLink>().unwrap_err().to_string();
        for (text, words) in [
            ("modem", ["\"modem\"", "starlink"]),
            ("dsl,lag=3", ["\"lag\"", "delay, jitter"]),
            ("down=5,loss=101", ["loss=101", "percent"]),
            ("down=fast", ["down=fast", "Mbit/s"]),
            ("down=5,lte", ["\"lte\"", "first"]),
            ("delay=5", ["preset", "down="]),
            ("dsl,delay=1/x", ["delay=1/x", "ms"]),
            ("dsl,mtu=60", ["mtu=60", "bytes"]),
            ("", ["\"\"", "dsl"]),
            ("down=NaN", ["down=NaN", "Mbit/s"]),
        ] {
            let error = error(text);
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }
}
