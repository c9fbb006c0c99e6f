//! Language and room of a page (`ui_locales` and `display`, OpenID Connect Core §3.1.2.1).

use std::fmt;

/// A language that pages are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locale {
    /// English, for all who asked for nothing we have.
    #[default]
    English,
    /// German.
    German,
}

impl Locale {
    /// The first of `ui_locales` (BCP 47 tags, by spaces) that there is; else the best of
    /// `Accept-Language` (RFC 9110 §12.5.4); else English.
    pub fn choose(ui_locales: Option<&str>, accept_language: Option<&str>) -> Self {
        let asked = ui_locales.unwrap_or_default().split_whitespace().find_map(Self::of_tag);
        asked.or_else(|| Self::accepted(accept_language?)).unwrap_or_default()
    }

    fn of_tag(tag: &str) -> Option<Self> {
        match tag.split('-').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "de" => Some(Self::German),
            _ => None,
        }
    }

    /// The one with the highest quality; the earlier of equals.
    fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(u16, Self)> = None;
        for range in header.split(',') {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1_000), thousandths).unwrap_or(0);
            let Some(locale) = Self::of_tag(tag.trim()) else { continue };
            if weight > best.map_or(0, |(weight, _)| weight) {
                best = Some((weight, locale));
            }
        }
        best.map(|(_, locale)| locale)
    }
}

/// `0`, `1`, `0.8`, `0.123` in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    Some((whole * 1_000 + part).min(1_000))
}

/// How much room a page has. All are one responsive page; the values are accepted and adjust it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// A whole window.
    #[default]
    Page,
    /// A small window: no frame around the card.
    Popup,
    /// Larger targets.
    Touch,
    /// As `page`.
    Wap,
}

impl Display {
    /// Unknown values are ignored, as unknown parameters are.
    pub fn of(parameter: Option<&str>) -> Self {
        match parameter {
            Some("popup") => Self::Popup,
            Some("touch") => Self::Touch,
            Some("wap") => Self::Wap,
            Some(_) | None => Self::Page,
        }
    }
}

impl fmt::Display for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page => "page",
            Self::Popup => "popup",
            Self::Touch => "touch",
            Self::Wap => "wap",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oidc_core_s3_1_2_1_ui_locales_are_in_order_of_preference() {
        for (ui_locales, accept, expects) in [
            (Some("fr de-AT en"), None, Locale::German),
            (Some("en-GB de"), Some("de"), Locale::English),
            (Some("fr"), Some("de"), Locale::German),
            (None, Some("fr;q=0.9, de;q=0.5, en;q=0.7"), Locale::English),
            (None, Some("de-CH, en;q=0.9"), Locale::German),
            (None, Some("en;q=0, de;q=0.1"), Locale::German),
            (None, Some("de;q=7, ;;,q=, en;q=0.0001"), Locale::English),
            (None, Some("*"), Locale::English),
            (None, None, Locale::English),
        ] {
            assert_eq!(Locale::choose(ui_locales, accept), expects, "{ui_locales:?} {accept:?}");
        }
    }
}
