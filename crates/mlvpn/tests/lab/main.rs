//! The built program, driven from outside: both ends in network namespaces joined by emulated links,
//! with real tunnel interfaces, sockets and TCP.
//!
//! Without root the tests run as root of a user namespace of their own. That has one user only, so
//! that the program cannot change to another there: it runs with `--yes-run-as-root`, and the test of
//! the change expects to be told why.
//!
//! Waiting is bounded by [`wait::PATIENCE`], never by what an idle machine needs.
#![allow(clippy::unwrap_used, reason = "these are tests, though without the attribute")]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use mlvpn_io::netns::{is_in_user_namespace, reexec_in_user_namespace};

/// Most of a test is waiting for timeouts of seconds.
const THREADS: usize = 6;

/// A test's name and its body, which panics when it fails.
type Test = (&'static str, fn());

/// Lists the tests of a module.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),+];
    };
}

mod bonding;
mod browser;
mod change;
mod conf;
mod device;
mod doctor;
mod failover;
mod flood;
mod hook;
mod kinds;
mod mtu;
mod network;
mod policies;
mod reference;
mod restart;
mod roaming;
mod sandbox;
mod setup;
mod start;
mod status;
mod switch;
mod top;
mod tunnel;
mod versions;
mod wait;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !arguments.list && !may_make_hosts() {
        // Returns only when it fails; this is still the only thread.
        let Err(error) = reexec_in_user_namespace();
        eprintln!("these tests need network namespaces: {error}");
        return ExitCode::FAILURE;
    }
    arguments.test_threads.get_or_insert(THREADS);
    let modules = [
        bonding::TESTS,
        browser::TESTS,
        change::TESTS,
        device::TESTS,
        doctor::TESTS,
        failover::TESTS,
        flood::TESTS,
        hook::TESTS,
        kinds::TESTS,
        mtu::TESTS,
        network::TESTS,
        policies::TESTS,
        reference::TESTS,
        restart::TESTS,
        roaming::TESTS,
        sandbox::TESTS,
        setup::TESTS,
        start::TESTS,
        status::TESTS,
        switch::TESTS,
        top::TESTS,
        versions::TESTS,
    ];
    let trial = |&(name, body): &Test| {
        let name = name.split_once("::").map_or(name, |(_, short)| short);
        Trial::test(name, move || {
            body();
            Ok(())
        })
    };
    let trials = modules.iter().copied().flatten().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Whether hosts can be made without a user namespace, or in the one that was made.
fn may_make_hosts() -> bool {
    use caps::{CapSet, Capability, has_cap};
    let has = |capability| has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    is_in_user_namespace() || (has(Capability::CAP_SYS_ADMIN) && has(Capability::CAP_NET_ADMIN))
}
