//! From figures to places in a picture.

use crate::run::FaultDone;

/// Width and height of every picture, and its margins.
pub(super) const WIDTH: f64 = 980.0;
pub(super) const LEFT: f64 = 70.0;
pub(super) const RIGHT: f64 = 20.0;

/// Time along the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Across {
    total_s: f64,
}

impl Across {
    pub(super) fn new(total_ns: u64) -> Self {
        Self { total_s: seconds(total_ns).max(1.0) }
    }

    pub(super) fn at(self, time_ns: u64) -> f64 {
        LEFT + (seconds(time_ns) / self.total_s).min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Round times for the axis.
    pub(super) fn ticks(self) -> Vec<u64> {
        let steps = [1_u32, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 21_600];
        let step = steps.into_iter().find(|step| self.total_s / f64::from(*step) <= 12.0).unwrap_or(43_200);
        let ticks = (0_u64..).map(|turn| turn * u64::from(step) * 1_000_000_000);
        ticks.take_while(|tick| seconds(*tick) <= self.total_s).collect()
    }
}

/// Times and counts here are far below 2^52 of their units.
#[allow(clippy::cast_precision_loss, reason = "a picture has a thousand points")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

pub(super) fn seconds(ns: u64) -> f64 {
    float(ns / 1_000) / 1_000_000.0
}

/// The band of each fault that took, hatched so that it shows without colour, with its kind as text.
pub(super) fn bands(faults: &[FaultDone], across: Across, top: f64, bottom: f64) -> String {
    let band = |done: &FaultDone| {
        let (from, to) = (across.at(done.began_ns), across.at(done.ended_ns));
        let width = (to - from).max(1.0);
        let fill = if done.took == "Installed" { "url(#hatch)" } else { "none" };
        format!(
            "<g><title>{}: {} {}</title><rect x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{fill}\" stroke=\"#999\" stroke-width=\"0.5\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\" fill=\"#555\" transform=\"rotate(-90 {:.1} {:.1})\" text-anchor=\"end\">{}</text></g>\n",
            escape(&done.fault),
            escape(&done.took),
            escape(&done.told),
            bottom - top,
            from + 9.0,
            top + 3.0,
            from + 9.0,
            top + 3.0,
            done.kind.name()
        )
    };
    faults.iter().map(band).collect()
}

/// The axis of time, below a picture.
pub(super) fn time_axis(across: Across, top: f64, bottom: f64) -> String {
    let tick = |tick: &u64| {
        let x = across.at(*tick);
        format!(
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#eee\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>\n",
            bottom + 15.0,
            tick / 1_000_000_000
        )
    };
    across.ticks().iter().map(tick).collect()
}

/// Text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_has_few_and_round_times() {
        for total_s in [1, 7, 60, 150, 3_600, 90_000] {
            let across = Across::new(total_s * 1_000_000_000);
            assert!((1..=13).contains(&across.ticks().len()), "{total_s}");
            assert!(across.at(u64::MAX) <= WIDTH - RIGHT + 0.1);
        }
        assert_eq!(escape("<a \"&\">"), "&lt;a &quot;&amp;&quot;&gt;");
    }
}
