// SPDX-License-Identifier: MIT OR Apache-2.0
//! A meter with nothing to meter takes next to nothing of a processor.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{LAYERS, MINUTE, common::netns::Wire, meter_of};

/// Most of one core that an idle meter may take.
const MOST: f64 = 0.001;
/// How often it is measured until it is too much.
const ATTEMPTS: u32 = 4;

/// Time that all threads of a process have had on a processor; `None` if this kernel does not say.
fn processor_time(process: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // In nanoseconds, the first of three numbers (Documentation/scheduler/sched-stats.rst).
    let of_task = |text: String| text.split(' ').next()?.parse().ok().map(Duration::from_nanos);
    tasks.map(|task| of_task(fs::read_to_string(task.unwrap().path().join("schedstat")).ok()?)).sum()
}

/// Lets a meter of each layer be idle for so long, all at the same time.
fn idle_for(time: Duration) {
    let mut idle = Vec::new();
    for layer in LAYERS {
        let Some(wire) = Wire::new() else { return };
        let meter = meter_of(&wire, layer, "");
        // It has begun when it answers.
        meter.status(&[]);
        idle.push((layer, meter, wire));
    }
    // What else runs here makes each awakening dearer, by caches that are cold: it is the quietest time that counts.
    for attempt in 1.. {
        let Some(shares) = shares_over(time, &idle.iter().map(|(_, meter, _)| meter.child.id()).collect::<Vec<_>>())
        else {
            println!("skipped: the kernel does not say how long a thread ran");
            return;
        };
        let text: Vec<_> =
            idle.iter().zip(&shares).map(|((layer, ..), share)| format!("{layer} {:.3} %", 100.0 * share)).collect();
        println!("{}", text.join(", "));
        if shares.iter().all(|share| *share < MOST) {
            return;
        }
        assert!(attempt < ATTEMPTS, "of a core: {text:?}");
    }
}

/// Part of a core that each of these processes takes over so long a time.
fn shares_over(time: Duration, processes: &[u32]) -> Option<Vec<f64>> {
    let used = || processes.iter().map(|process| processor_time(*process)).collect::<Option<Vec<_>>>();
    let before = used()?;
    let begin = Instant::now();
    // This is no wait for something to happen: that nothing does is what is measured.
    while let Some(rest) = time.checked_sub(begin.elapsed()) {
        thread::park_timeout(rest);
    }
    let elapsed = begin.elapsed();
    Some(used()?.into_iter().zip(before).map(|(now, before)| (now - before).div_duration_f64(elapsed)).collect())
}

#[test]
fn an_idle_meter_takes_next_to_nothing() {
    idle_for(Duration::from_secs(4));
}

#[test]
#[ignore = "a minute"]
fn an_idle_meter_takes_next_to_nothing_for_a_minute() {
    idle_for(MINUTE);
}
