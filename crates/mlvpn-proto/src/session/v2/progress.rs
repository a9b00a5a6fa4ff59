//! What tells that a path still carries what is sent on it: news of arrivals, how often it comes, and for how long its
//! absence is borne.

use crate::time::{Duration, Instant};

/// Feedback that comes less often than this says nothing of how often it comes under load.
const LONGEST_INTERVAL: Duration = Duration::from_millis(250);
/// A path that brought so much news in a row about itself is expected to bring the next, too: when another path does,
/// that is an exception, at most so often in a row `[P14]`.
const OWN_NEWS: u8 = 9;
const EXCEPTIONS: u8 = 3;

/// Feedback told that something arrived which was not known to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    /// When the latest of that was sent.
    pub(super) sent_at: Instant,
    /// The path that it is about brought it itself.
    pub(super) is_own: bool,
}

/// The progress of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    at: Instant,
    /// When news came last, and how often it comes at present.
    news: Option<Instant>,
    interval: Duration,
    /// News that the path brought itself, less the exceptions.
    own_news: u8,
    patience: Option<Duration>,
}

impl Progress {
    /// That of a path on which nothing was sent yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { at: now, news: None, interval: Duration::ZERO, own_news: 0, patience: None }
    }

    /// What was sent before is not judged any more.
    pub(super) fn restart(&mut self, now: Instant) {
        self.at = now;
        self.own_news = 0;
        self.patience = None;
    }

    /// When the path was last known to carry what is sent.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// When news came last.
    pub(super) fn last_news(&self) -> Option<Instant> {
        self.news
    }

    /// How often news comes, the longest interval of late.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// How long silence is borne, as it was when news last came the usual way.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// Silence is borne for so long from now on.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// What another path brings is no exception: the path lives, and its news comes that way now.
    pub(super) fn expect_from_others(&mut self) {
        self.own_news = 0;
    }

    /// News came of a path with the smoothed round trip `srtt`. Returns whether it came the usual way. When a path has
    /// died that brought the news about itself, the last of it comes late, over another path, and tells of what
    /// arrived before: it counts from when it was due `[P14]`.
    pub(super) fn on_news(&mut self, news: News, srtt: Duration, now: Instant) -> bool {
        let interval = self.news.replace(now).map(|last| now.saturating_since(last));
        self.on_interval(interval);
        let is_usual = self.is_usual(news.is_own);
        let due = if is_usual { now } else { (news.sent_at + srtt).min(now) };
        self.at = self.at.max(due);
        is_usual
    }

    fn is_usual(&mut self, is_own: bool) -> bool {
        if is_own {
            self.own_news = (self.own_news + 1).min(OWN_NEWS);
            return true;
        }
        let is_exception = self.own_news > OWN_NEWS - EXCEPTIONS;
        self.own_news = if is_exception { self.own_news - 1 } else { 0 };
        !is_exception
    }

    /// The longest interval counts, and is forgotten within some ten reports.
    fn on_interval(&mut self, interval: Option<Duration>) {
        if let Some(interval) = interval.filter(|interval| *interval <= LONGEST_INTERVAL) {
            self.interval = interval.max(self.interval * 7 / 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SRTT: Duration = Duration::from_millis(20);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// News that comes at `millis`, of what was sent `age` milliseconds before.
    fn news(progress: &mut Progress, is_own: bool, millis: u64, age: u64) -> bool {
        progress.on_news(News { sent_at: at(millis - age), is_own }, SRTT, at(millis))
    }

    /// A path that brings news about itself each 5 ms, for the last time at 145 ms.
    fn own_path() -> Progress {
        let mut progress = Progress::new(Instant::ZERO);
        assert!((20..=29).all(|step| news(&mut progress, true, step * 5, 20)));
        progress
    }

    #[test]
    fn belated_news_counts_from_when_it_was_due() {
        let mut progress = own_path();
        assert!(!news(&mut progress, false, 190, 60));
        assert_eq!(progress.at(), at(150));
        // What is older than what is known says nothing.
        assert!(!news(&mut progress, false, 195, 90));
        assert_eq!((progress.at(), progress.last_news()), (at(150), Some(at(195))));
    }

    #[test]
    fn what_another_path_goes_on_bringing_is_no_exception() {
        let mut progress = own_path();
        let usual: Vec<_> = (40..45).map(|ms| news(&mut progress, false, ms * 5, 60)).collect();
        assert_eq!(usual, [false, false, false, true, true]);
        assert_eq!(progress.at(), at(220));
        // Nor is it after a few that the path brought itself.
        assert!((45..50).all(|ms| news(&mut progress, true, ms * 5, 20)));
        assert!(news(&mut progress, false, 250, 60));
    }

    #[test]
    fn a_path_whose_news_others_bring_has_no_exceptions() {
        let mut progress = Progress::new(Instant::ZERO);
        assert!((20..60).all(|step| news(&mut progress, false, step * 5, 60)));
        assert_eq!(progress.at(), at(295));
    }

    #[test]
    fn the_longest_interval_is_forgotten_step_by_step() {
        let mut progress = own_path();
        assert!(news(&mut progress, true, 185, 20));
        assert_eq!(progress.interval(), Duration::from_millis(40));
        assert!(news(&mut progress, true, 190, 20));
        assert_eq!(progress.interval(), Duration::from_millis(35));
        // A pause of the application is none.
        assert!(news(&mut progress, true, 441, 20));
        assert_eq!(progress.interval(), Duration::from_millis(35));
    }
}
