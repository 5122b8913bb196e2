// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every target without a fuzzer: what once was found, seeds from the captures, and mutations of both that are the same in
//! every run. `WEIR_FUZZ_RUNS` sets the number of mutations for each target, `WEIR_FUZZ_SEED` makes them others.

use std::{
    collections::HashMap,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Instant,
};

use weir_fuzz::{Target, seed, targets};

/// SplitMix64: good enough to hit everything, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`; zero if that is zero.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap() % bound.max(1)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Octets that lengths, counts, types and delimiters like to be.
const TOKENS: [&[u8]; 20] = [
    &[0],
    &[0xff],
    &[0x7f],
    &[0x80],
    &[0xc0, 0x0c],
    &[0, 0],
    &[0xff, 0xff],
    &[0, 1],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b" ",
    b":",
    b"\r\n.\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Transfer-Encoding: chunked\r\n",
    &[0x16, 3, 1],
    &[0, 2, 0, 8],
];

/// One to eight changes of an input, as libFuzzer makes them.
fn mutate(data: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(8) {
        let at = random.below(data.len());
        match random.below(9) {
            0 | 1 if !data.is_empty() => data[at] ^= 1 << random.below(8),
            2 if !data.is_empty() => data[at] = random.next().to_le_bytes()[0],
            3 if !data.is_empty() => data[at] = data[at].wrapping_add(*random.one_of(&[1, 2, 255, 254])),
            4 => data.truncate(at + 1),
            5 => {
                let end = data.len().min(at + random.below(64));
                data.drain(at.min(end)..end);
            }
            6 => {
                let end = data.len().min(at + random.below(64));
                let piece = data[at.min(end)..end].to_vec();
                let to = random.below(data.len());
                data.splice(to..to, piece);
            }
            7 => {
                let token = random.one_of(&TOKENS);
                let over = random.below(2) * token.len().min(data.len().saturating_sub(at));
                data.splice(at..at + over, token.iter().copied());
            }
            _ => {
                // The end of another input.
                let other = random.one_of(others);
                let from = random.below(other.len());
                data.truncate(at);
                data.extend(&other[from..]);
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().map_or(default, |value| value.parse().expect(name))
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn regressions(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("regressions").join(target.name)).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect();
    found.sort();
    found
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    static SEEDS: OnceLock<HashMap<&'static str, Vec<Vec<u8>>>> = OnceLock::new();
    let seeds = SEEDS.get_or_init(|| seed::seeds(&weir_pcaps::bundled()).unwrap());
    seeds.get(target.name).cloned().unwrap_or_default()
}

/// Runs a target; if it panics, keeps the input and says where.
fn run(target: &Target, data: &[u8], what: &str) {
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| (target.run)(data))) {
        let path = env::temp_dir().join(format!("weir-fuzz-{}-{what}", target.name).replace([' ', '/'], "-"));
        fs::write(&path, data).unwrap();
        eprintln!("target {} fails on {what}: input kept in {}", target.name, path.display());
        std::panic::resume_unwind(cause);
    }
}

fn attack(target: &Target) {
    let start = Instant::now();
    let mut inputs = seeds(target);
    assert!(!inputs.is_empty(), "no seeds for {}", target.name);
    for (index, seed) in inputs.iter().enumerate() {
        run(target, seed, &format!("seed {index}"));
    }
    inputs.extend(regressions(target).into_iter().map(|(_, data)| data));
    let name = target.name.bytes().fold(number("WEIR_FUZZ_SEED", 1), |hash, b| hash.wrapping_mul(31) + u64::from(b));
    let mut random = Random(name);
    let runs = number("WEIR_FUZZ_RUNS", 2_000);
    for index in 0..runs {
        let mut data = random.one_of(&inputs).clone();
        mutate(&mut data, &inputs, &mut random);
        run(target, &data, &format!("mutation {index}"));
    }
    println!("{}: {} seeds, {runs} mutations in {:?}", target.name, inputs.len(), start.elapsed());
}

#[test]
fn what_was_found_once_is_not_found_again() {
    for target in targets() {
        run(&target, &[], "nothing");
        for (path, data) in regressions(&target) {
            run(&target, &data, path.file_name().and_then(|name| name.to_str()).unwrap());
        }
    }
}

#[test]
fn every_folder_has_a_target() {
    for entry in fs::read_dir(folder().join("regressions")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        assert!(targets().iter().any(|target| name == *target.name), "{name:?} has no target");
    }
}

macro_rules! attacks {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            attack(targets().iter().find(|target| target.name == stringify!($name)).unwrap());
        })*

        #[test]
        fn every_target_is_attacked() {
            let attacked = weir_flow::app::SLUGS.iter().copied().chain([$(stringify!($name)),*]);
            assert_eq!(attacked.collect::<Vec<_>>(), targets().iter().map(|target| target.name).collect::<Vec<_>>());
        }
    };
}
attacks! { session packet worker capture record ipfix collector netflow }

#[test]
fn every_protocol() {
    for target in targets().iter().filter(|target| weir_flow::app::SLUGS.contains(&target.name)) {
        attack(target);
    }
}
