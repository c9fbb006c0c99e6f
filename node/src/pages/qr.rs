//! A QR code as SVG, in the page itself: nothing to fetch, no script, no inline style.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Modules of quiet zone around it (ISO/IEC 18004 §9.1).
const MARGIN: i32 = 4;

/// `text` as an `svg` element; `None` if it is too long. It is dark on light in every colour scheme: scanners
/// want it so.
pub(super) fn svg(text: &str, label: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let size = code.size() + 2 * MARGIN;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            // To a string, which cannot fail.
            let _ = write!(path, "M{} {}h1v1h-1z", x + MARGIN, y + MARGIN);
        }
    }
    let label = askama::filters::escape(label, askama::filters::Html).ok()?;
    Some(format!(
        "<svg class=\"qr\" role=\"img\" aria-label=\"{label}\" viewBox=\"0 0 {size} {size}\" \
         shape-rendering=\"crispEdges\"><rect width=\"{size}\" height=\"{size}\" fill=\"#fff\"/>\
         <path d=\"{path}\" fill=\"#000\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_markup_of_numbers_alone_whatever_it_says() {
        let svg = svg("otpauth://totp/A:b?secret=<script>", "\"><script>").unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>") && svg.contains("role=\"img\""));
        assert!(!svg.contains("<script") && !svg.contains("style="), "{svg}");
        assert!(super::svg(&"x".repeat(4_000), "").is_none());
    }
}
