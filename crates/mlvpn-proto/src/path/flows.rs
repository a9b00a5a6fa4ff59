//! The peer's processes, as one link has seen them: which may speak, and what each has said.

use std::collections::VecDeque;

use crate::crypto::replay::ReplayWindow;
use crate::id::{FlowId, PacketNumber};
use crate::time::{Duration, Instant};

/// How many former flows are remembered, so that what they said cannot be replayed.
const REMEMBERED: usize = 16;
/// A new flow may take over once the current one has been silent for this long. A living peer
/// sends a keepalive every second.
const TAKE_OVER_AFTER: Duration = Duration::from_millis(2_500);

/// A living flow is displaced by another one that asks this often, with rising numbers, for this
/// long: the present one may be an attacker's recording. Its owner gets the link back with the
/// next packet, if it lives.
const INSISTENT_REQUESTS: u32 = 3;
const INSISTENT_TIME: Duration = Duration::from_secs(3);
/// Clear-text packets are at most this far ahead of the authentic ones of their flow, which come
/// once a second: twelve seconds at 1 Gbit/s.
const MAX_CLEAR_LEAD: u64 = 1 << 20;

/// What a packet that opened means for the flow it came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// It belongs to the current flow. `is_latest`: nothing sent later was received before.
    Current {
        /// Whether it has the largest packet number so far.
        is_latest: bool,
    },
    /// Its flow has become the current one.
    NewFlow,
}

/// The flows of one link.
#[derive(Debug, Default)]
pub(crate) struct PeerFlows {
    current: Option<Flow>,
    former: VecDeque<Flow>,
    last_heard: Instant,
    was_ended: bool,
    candidate: Option<Candidate>,
}

/// An unknown flow that asks to be the current one.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: FlowId,
    largest: PacketNumber,
    requests: u32,
    since: Instant,
}

#[derive(Debug)]
struct Flow {
    id: FlowId,
    window: ReplayWindow,
    /// Numbers of packets that nobody authenticated (clear-text data): kept apart, so that a
    /// forger cannot make genuine packets look replayed.
    clear_window: ReplayWindow,
}

impl Flow {
    fn new(id: FlowId) -> Self {
        Self { id, window: ReplayWindow::new(), clear_window: ReplayWindow::new() }
    }
}

impl PeerFlows {
    /// Whether an authentic packet could be a replay. Cheap; to be asked before opening it.
    pub(crate) fn is_replay(&self, id: FlowId, number: PacketNumber) -> bool {
        self.find(id).is_some_and(|flow| !flow.window.is_new(number))
    }

    /// Decides over a packet that has just opened. `may_start`: it is of a kind with which a
    /// peer's process introduces itself. `None`: it is to be dropped.
    pub(crate) fn admit(
        &mut self,
        id: FlowId,
        number: PacketNumber,
        may_start: bool,
        now: Instant,
    ) -> Option<Admission> {
        if let Some(current) = self.current.as_mut().filter(|flow| flow.id == id) {
            let is_latest = current.window.largest().is_none_or(|largest| number > largest);
            current.window.mark(number);
            self.last_heard = now;
            self.was_ended = false;
            return Some(Admission::Current { is_latest });
        }
        if let Some(at) = self.former.iter().position(|flow| flow.id == id) {
            return self.resume(at, number, now);
        }
        if !may_start {
            return None;
        }
        let is_free = self.current.is_none()
            || self.was_ended
            || now.saturating_since(self.last_heard) >= TAKE_OVER_AFTER;
        if !is_free && !self.is_insistent(id, number, now) {
            return None;
        }
        let mut flow = Flow::new(id);
        flow.window.mark(number);
        self.make_current(flow, now);
        Some(Admission::NewFlow)
    }

    /// Whether clear-text data of flow `id` is new; remembers it.
    pub(crate) fn admit_clear(&mut self, id: FlowId, number: PacketNumber) -> ClearAdmission {
        let Some(flow) = self.current.as_mut().filter(|flow| flow.id == id) else {
            return ClearAdmission::UnknownFlow;
        };
        let authentic = flow.window.largest().map_or(0, |largest| largest.0);
        if number.0 > authentic + MAX_CLEAR_LEAD || flow.window.is_too_old(number) {
            return ClearAdmission::Replayed;
        }
        // Forged numbers may have moved the window past genuine ones, which must pass all the same.
        if flow.clear_window.mark(number) || flow.clear_window.is_too_old(number) {
            ClearAdmission::New
        } else {
            ClearAdmission::Replayed
        }
    }

    /// The current flow said that it ends: the next one need not wait.
    pub(crate) fn on_ended(&mut self) {
        self.was_ended = true;
    }

    /// A flow that another one displaced speaks again. Only its owner can have sent a number
    /// beyond all that it sent before, so it is the living one.
    fn resume(&mut self, at: usize, number: PacketNumber, now: Instant) -> Option<Admission> {
        let is_ahead = self.former[at].window.largest().is_none_or(|largest| number > largest);
        if !is_ahead {
            return None;
        }
        let mut flow = self.former.remove(at)?;
        flow.window.mark(number);
        self.make_current(flow, now);
        Some(Admission::NewFlow)
    }

    /// Whether an unknown flow has asked often and long enough to displace a living one.
    fn is_insistent(&mut self, id: FlowId, number: PacketNumber, now: Instant) -> bool {
        match &mut self.candidate {
            Some(candidate) if candidate.id == id && number > candidate.largest => {
                candidate.largest = number;
                candidate.requests += 1;
                candidate.requests >= INSISTENT_REQUESTS
                    && now.saturating_since(candidate.since) >= INSISTENT_TIME
            }
            _ => {
                self.candidate = Some(Candidate { id, largest: number, requests: 1, since: now });
                false
            }
        }
    }

    fn make_current(&mut self, flow: Flow, now: Instant) {
        self.candidate = None;
        if let Some(displaced) = self.current.replace(flow) {
            if self.former.len() == REMEMBERED {
                self.former.pop_front();
            }
            self.former.push_back(displaced);
        }
        self.last_heard = now;
        self.was_ended = false;
    }

    fn find(&self, id: FlowId) -> Option<&Flow> {
        self.current.iter().chain(&self.former).find(|flow| flow.id == id)
    }
}

/// What [`PeerFlows::admit_clear`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClearAdmission {
    New,
    Replayed,
    UnknownFlow,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: FlowId = FlowId(1);
    const NEW: FlowId = FlowId(2);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn talking() -> PeerFlows {
        let mut flows = PeerFlows::default();
        assert_eq!(flows.admit(OLD, PacketNumber(0), true, at(0)), Some(Admission::NewFlow));
        flows
    }

    #[test]
    fn a_new_flow_waits_until_the_current_one_is_silent() {
        let mut flows = talking();
        assert_eq!(flows.admit(NEW, PacketNumber(0), true, at(2_499)), None);
        assert_eq!(flows.admit(NEW, PacketNumber(1), true, at(2_500)), Some(Admission::NewFlow));
    }

    #[test]
    fn after_a_disconnect_it_need_not_wait() {
        let mut flows = talking();
        flows.on_ended();
        assert_eq!(flows.admit(NEW, PacketNumber(0), false, at(1)), None, "only AUTH starts one");
        assert_eq!(flows.admit(NEW, PacketNumber(0), true, at(1)), Some(Admission::NewFlow));
    }

    #[test]
    fn the_owner_of_a_displaced_flow_gets_it_back_and_a_replayer_does_not() {
        let mut flows = talking();
        flows.admit(OLD, PacketNumber(9), false, at(1));
        flows.admit(NEW, PacketNumber(0), true, at(5_000)).unwrap();
        assert!(flows.is_replay(OLD, PacketNumber(9)));
        assert_eq!(flows.admit(OLD, PacketNumber(5), false, at(5_001)), None, "late, not ahead");
        assert_eq!(flows.admit(OLD, PacketNumber(10), false, at(5_002)), Some(Admission::NewFlow));
    }

    #[test]
    fn a_recording_cannot_lock_the_living_peer_out() {
        let mut flows = talking();
        for second in 1..=4 {
            let now = at(second * 1_000);
            // The recording goes on as if it were alive.
            flows.admit(OLD, PacketNumber(second), true, now).unwrap();
            let request = flows.admit(NEW, PacketNumber(second), true, now);
            assert_eq!(request.is_some(), second == 4, "at second {second}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut flows = PeerFlows::default();
        for id in 0..1_000u32 {
            flows.on_ended();
            flows.admit(FlowId(id), PacketNumber(0), true, at(u64::from(id))).unwrap();
        }
        assert_eq!(flows.former.len(), REMEMBERED);
    }

    #[test]
    fn forged_clear_text_does_not_use_up_authentic_numbers() {
        let mut flows = talking();
        assert_eq!(flows.admit_clear(OLD, PacketNumber(1)), ClearAdmission::New);
        assert_eq!(flows.admit_clear(OLD, PacketNumber(1)), ClearAdmission::Replayed);
        assert_eq!(flows.admit_clear(NEW, PacketNumber(1)), ClearAdmission::UnknownFlow);
        assert!(!flows.is_replay(OLD, PacketNumber(1)));
    }

    #[test]
    fn forged_clear_text_does_not_shut_genuine_clear_text_out() {
        let mut flows = talking();
        assert_eq!(flows.admit_clear(OLD, PacketNumber(u64::MAX - 1)), ClearAdmission::Replayed);
        assert_eq!(flows.admit_clear(OLD, PacketNumber(MAX_CLEAR_LEAD)), ClearAdmission::New);
        for number in 1..100 {
            assert_eq!(flows.admit_clear(OLD, PacketNumber(number)), ClearAdmission::New);
        }
    }
}
