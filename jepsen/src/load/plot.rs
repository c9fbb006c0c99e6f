//! The percentile plot: time over the share of requests that were faster, on a scale of nines.

use std::fmt::Write as _;

use super::figures::{Figures, float};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const NINES: &[(&str, f64)] =
    &[("0", 0.0), ("90%", 0.9), ("99%", 0.99), ("99.9%", 0.999), ("99.99%", 0.999_9), ("99.999%", 0.999_99)];
const STEPS_Y: u32 = 5;

/// One curve in a picture of its own, black on white.
pub(super) fn svg(figures: &Figures, title: &str) -> String {
    let most_ms = (float(figures.quantile_us(1.0)) / 1_000.0).max(0.001);
    let across = |quantile: f64| {
        let nines = -(1.0 - quantile).max(0.000_01).log10();
        LEFT + nines / 5.0 * (WIDTH - LEFT - RIGHT)
    };
    let up = |ms: f64| HEIGHT - BOTTOM - ms / most_ms * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{title}: time to answer by percentile, {} requests, {} in trouble</text>\n",
        figures.answered() + figures.failed(),
        figures.failed()
    );
    // Writing into a string cannot fail.
    for (name, quantile) in NINES {
        let x = across(*quantile);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 18.0
        );
    }
    for step in 0..=STEPS_Y {
        let ms = most_ms * f64::from(step) / f64::from(STEPS_Y);
        let y = up(ms);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ms:.1}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0
        );
    }
    let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{TOP}\" text-anchor=\"end\">ms</text>", LEFT - 8.0);
    let points: Vec<String> = (0..=400)
        .map(|step| {
            let quantile = 1.0 - 10_f64.powf(-5.0 * f64::from(step) / 400.0);
            let ms = float(figures.quantile_us(quantile)) / 1_000.0;
            format!("{:.1},{:.1}", across(quantile), up(ms))
        })
        .collect();
    let _ = writeln!(
        out,
        "<polyline fill=\"none\" stroke=\"#000\" stroke-width=\"2\" points=\"{}\"/>\n</svg>",
        points.join(" ")
    );
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_picture_stays_inside_its_frame() {
        let mut figures = Figures::new().unwrap();
        for ms in 1..=1_000 {
            figures.record(Duration::from_millis(ms), Ok(()));
        }
        let svg = svg(&figures, "token");
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH).contains(&x) && (TOP - 1.0..=HEIGHT).contains(&y), "{point}");
        }
        assert!(svg.ends_with("</svg>\n"));
    }
}
