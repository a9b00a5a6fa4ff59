//! The long settings of tests that are quick elsewhere: more seeds, inputs and cells, and the fuzzer itself.

use std::path::Path;

use anyhow::Context as _;

use crate::fuzz;
use crate::run::{cargo, step};

/// How long each target is fuzzed, in seconds, unless that is said.
const SECS: &str = "300";
/// Seeds of random operations, and inputs of each fuzz target that ordinary tests try.
const SEEDS: &str = "10000";
const INPUTS: &str = "5000000";

pub(crate) fn run(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let secs = arguments.first().unwrap_or(&SECS);
    secs.parse::<u32>().with_context(|| format!("`{secs}` is no number of seconds"))?;
    let test = |name| cargo(root, &["test", "--workspace", "--locked", "--test", name]);
    step(test("v2_random").env("RANDOM_SEEDS", SEEDS))?;
    step(test("targets").env("FUZZ_INPUTS", INPUTS))?;
    step(&mut cargo(
        root,
        &["run", "--release", "--locked", "-p", "mlvpn-sim", "--example", "grid"],
    ))?;
    fuzz::run_all(root, secs)
}
