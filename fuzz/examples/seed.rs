// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the seeds of every target to `corpus/TARGET/`: of the project's captures, or of those given.

use std::{fs, io, path::Path};

use weir_fuzz::seed;

fn main() -> io::Result<()> {
    let mut captures: Vec<_> = std::env::args_os().skip(1).map(Into::into).collect();
    if captures.is_empty() {
        captures = weir_pcaps::bundled();
    }
    let mut targets: Vec<_> = seed::seeds(&captures)?.into_iter().collect();
    targets.sort();
    for (target, seeds) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:04}")), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}
