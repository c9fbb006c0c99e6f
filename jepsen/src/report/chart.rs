//! The frame of a picture.

use super::scale::WIDTH;

/// A picture of this height with a heading for those who cannot see it.
pub(super) fn frame(height: f64, heading: &str, inner: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{heading}\"><defs>\
         <pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <line x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" stroke=\"#bbb\" stroke-width=\"2\"/></pattern></defs>\n{inner}</svg>\n"
    )
}

/// The mark of an outcome: a dot, a cross, a ring. They differ in shape, not only in colour.
pub(super) fn mark(x: f64, y: f64, outcome: Mark) -> String {
    match outcome {
        Mark::Ok => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.3\" fill=\"#1b5e9c\"/>"),
        Mark::Refused => format!(
            "<path d=\"M{:.1} {:.1}l4 4m0 -4l-4 4\" stroke=\"#8a6d00\" stroke-width=\"1\"/>",
            x - 2.0,
            y - 2.0
        ),
        Mark::Unknown => {
            format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\" fill=\"none\" stroke=\"#b3261e\"/>")
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Ok,
    Refused,
    Unknown,
}
