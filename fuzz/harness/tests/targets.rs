//! The fuzz targets as ordinary tests: the committed corpora, and a hundred thousand random and
//! mutated inputs each.
//!
//! `FUZZ_SEED=N` starts the mutations elsewhere and `FUZZ_INPUTS=N` changes their number; a failure
//! prints the input.

#[path = "targets/mutator.rs"]
mod mutator;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::{env, fs};

use mlvpn_fuzz_harness::{TARGETS, Target};
use mutator::Mutator;

/// Inputs that each target is tried with, or fewer when they take long.
const INPUTS: u64 = 100_000;
/// The seed of the mutations, unless the environment names another one.
const SEED: u64 = 0x6d6c_7670_6e31;

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a readable folder").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).expect("a readable file"))).collect()
}

fn from_environment(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Runs one input; a failure names it.
fn try_input(target: &Target, bytes: &[u8], origin: &str) {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    if let Err(cause) = outcome {
        eprintln!("target {}, {origin}, input:\n{}", target.name, bytes.escape_ascii());
        std::panic::resume_unwind(cause);
    }
}

#[test]
fn every_target_has_a_corpus_and_passes_it() {
    for target in &TARGETS {
        let files = corpus(target.name);
        assert!(!files.is_empty(), "fuzz/corpus/{} is empty", target.name);
        for (path, bytes) in files {
            try_input(target, &bytes, &path.display().to_string());
        }
    }
}

fn try_mutations(name: &str) {
    let target = target(name);
    let seed = from_environment("FUZZ_SEED", SEED);
    let corpus = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(seed, corpus, target.words);
    for at in 0..from_environment("FUZZ_INPUTS", INPUTS / target.cost) {
        let input = mutator.next_input();
        try_input(target, &input, &format!("FUZZ_SEED={seed}, input {at}"));
    }
}

macro_rules! mutation_tests {
    ($($name:ident)*) => {
        mod random_and_mutated_inputs_pass {
            $(#[test] fn $name() { super::try_mutations(stringify!($name)); })*
        }

        #[test]
        fn no_target_is_left_out() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), tested);
        }
    };
}

mutation_tests! { wire frames handshake payload hostile hostile_v2 honest config control filter inner token tun_split coalesce }
