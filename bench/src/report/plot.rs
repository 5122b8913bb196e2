// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets for each second on a processor over active flows, as SVG.

use std::{collections::BTreeMap, fmt::Write};

use super::Report;
use crate::trace::Kind;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 56.0;
/// Least room between two names.
const NAME_HEIGHT: f64 = 15.0;

/// Told apart by those who do not see all colours, on white and on black.
const COLOURS: [&str; 9] =
    ["#888888", "#0c8ce9", "#e0701a", "#1aa179", "#c957bc", "#b8860b", "#d33f49", "#5b6ee1", "#6b8e23"];

/// The points of one subject: active flows, and millions of packets.
type Curve = Vec<(f64, f64)>;

impl Report {
    /// The sweep over active flows of all subjects, both scales logarithmic; `None` if there was no sweep.
    #[must_use]
    pub fn plot(&self) -> Option<String> {
        let curves = self.curves();
        let all = || curves.iter().flat_map(|(_, _, curve)| curve.iter().copied());
        let (from, to) = bounds(all().map(|point| point.0))?;
        let (bottom, top) = bounds(all().map(|point| point.1))?;
        if from >= to {
            return None;
        }
        let x = |flows: f64| LEFT + (flows / from).ln() / (to / from).ln() * (WIDTH - LEFT - RIGHT);
        let y = |rate: f64| TOP + (top / rate).ln() / (top / bottom).ln() * (HEIGHT - TOP - BOTTOM);
        let mut out = head();
        for flows in marks(from, to, &[1.0]) {
            let (at, base) = (x(flows), HEIGHT - BOTTOM);
            let _ = writeln!(out, r#"<line class="grid" x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{base}"/>"#);
            let _ = writeln!(
                out,
                r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                base + 18.0,
                short(flows)
            );
        }
        for rate in marks(bottom, top, &[1.0, 2.0, 5.0]) {
            let (at, end) = (y(rate), WIDTH - RIGHT);
            let _ = writeln!(out, r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{end}" y2="{at:.1}"/>"#);
            let _ = writeln!(out, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{rate}</text>"#, LEFT - 8.0, at + 4.0);
        }
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">active flows</text>"#,
            x((from * to).sqrt()),
            HEIGHT - 14.0
        );
        let mut names = Vec::new();
        for (number, (name, is_bound, curve)) in curves.iter().enumerate() {
            let colour = COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#888888");
            let points: Vec<String> =
                curve.iter().map(|(flows, rate)| format!("{:.1},{:.1}", x(*flows), y(*rate))).collect();
            let dashes = if *is_bound { r#" stroke-dasharray="5 4""# } else { "" };
            let _ = writeln!(out, r#"<polyline points="{}" stroke="{colour}"{dashes}/>"#, points.join(" "));
            for point in &points {
                if let Some((x, y)) = point.split_once(',') {
                    let _ = writeln!(out, r#"<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>"#);
                }
            }
            names.extend(curve.last().map(|(_, rate)| (y(*rate), name, colour)));
        }
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = TOP;
        for (at, name, colour) in names {
            let at = f64::max(at, free);
            free = at + NAME_HEIGHT;
            let _ = writeln!(
                out,
                r#"<text x="{:.1}" y="{:.1}" style="fill:{colour}">{}</text>"#,
                WIDTH - RIGHT + 12.0,
                at + 4.0,
                escaped(name)
            );
        }
        out.push_str("</svg>\n");
        Some(out)
    }

    /// The curve of each subject and whether it is a bound, in the order of the line-up.
    fn curves(&self) -> Vec<(&str, bool, Curve)> {
        let mut curves: BTreeMap<(usize, &str, bool), Curve> = BTreeMap::new();
        for trace in self.traces.iter().filter(|trace| trace.planned.spec.kind == Kind::Uniform) {
            for (at, line) in trace.lines.iter().enumerate() {
                if let Some(rate) = trace.mega_packets(line.cpu()) {
                    curves
                        .entry((at, line.name.as_str(), line.is_bound))
                        .or_default()
                        .push((trace.truth.open_flows as f64, rate));
                }
            }
        }
        curves.into_iter().map(|((_, name, is_bound), curve)| (name, is_bound, curve)).collect()
    }
}

fn head() -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<style>
text {{ fill: #222 }}
.grid {{ stroke: #8884 }}
polyline {{ fill: none; stroke-width: 2 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}
</style>
<text x="{LEFT}" y="22" font-size="14">Million packets for each second on a processor, 64 octets on the wire</text>
"#
    )
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (least, most) =
        values.fold((f64::MAX, 0.0), |(least, most), value| (f64::min(least, value), f64::max(most, value)));
    (least < most).then_some((least, most))
}

/// Powers of ten times each of `steps`, as far as they are within, with a tolerance for counts just below.
fn marks(from: f64, to: f64, steps: &[f64]) -> impl Iterator<Item = f64> {
    let all = (-3..9).flat_map(move |power| steps.iter().map(move |step| step * 10_f64.powi(power)));
    all.filter(move |value| (from * 0.99..=to * 1.2).contains(value))
}

/// With K and M.
fn short(value: f64) -> String {
    if value >= 1e6 { format!("{} M", value / 1e6) } else { format!("{} K", value / 1e3) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
