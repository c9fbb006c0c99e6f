//! Which form of an answer a caller prefers (RFC 9110 §12.5.1).

/// Weights are in thousandths.
const WEIGHT_MAX: u16 = 1_000;

/// The media type of `offered` that an `Accept` header weighs most; the first of those that weigh the same.
/// `None` if it takes none of them. A header without any range takes all.
///
/// Parameters of a range other than `q` are not looked at: nothing that is offered has any.
#[must_use]
pub fn preferred(accept: &str, offered: &[&'static str]) -> Option<&'static str> {
    let ranges: Vec<Range<'_>> = accept.split(',').filter_map(Range::parse).collect();
    if ranges.is_empty() {
        return offered.first().copied();
    }
    let mut best = (0, None);
    for media_type in offered {
        let weight = weight(&ranges, media_type);
        if weight > best.0 {
            best = (weight, Some(*media_type));
        }
    }
    best.1
}

/// That of the range which names the type most closely.
fn weight(ranges: &[Range<'_>], media_type: &str) -> u16 {
    let fitting = ranges.iter().filter_map(|range| Some((range.closeness(media_type)?, range.weight)));
    fitting.max().map_or(0, |(_, weight)| weight)
}

struct Range<'a> {
    name: &'a str,
    weight: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is no media range. A weight that cannot be read asks for nothing.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().filter(|name| name.contains('/'))?;
        let mut parameters = parts.filter_map(|part| part.split_once('='));
        let weight = match parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) {
            None => WEIGHT_MAX,
            Some((_, value)) => thousandths(value.trim()).unwrap_or(0),
        };
        Some(Self { name, weight })
    }

    fn closeness(&self, media_type: &str) -> Option<u8> {
        if self.name.eq_ignore_ascii_case(media_type) {
            return Some(2);
        }
        if self.name == "*/*" {
            return Some(0);
        }
        let (kind, _) = media_type.split_once('/')?;
        self.name.strip_suffix("/*")?.eq_ignore_ascii_case(kind).then_some(1)
    }
}

/// `qvalue` (RFC 9110 §12.4.2), also without the zero before the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "" | "0" => Some(fraction),
        "1" if fraction == 0 => Some(WEIGHT_MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 3] = ["application/json", "application/token-introspection+jwt", "application/jwt"];

    fn nth(accept: &str) -> Option<usize> {
        let found = preferred(accept, &OFFERED)?;
        OFFERED.iter().position(|offered| *offered == found)
    }

    #[test]
    fn rfc9701_s4_a_signed_answer_is_given_to_those_who_ask_for_it() {
        for (accept, wanted) in [
            ("application/token-introspection+jwt", Some(1)),
            ("application/json;q=0.5, Application/Token-Introspection+JWT", Some(1)),
            ("application/token-introspection+jwt, application/jwt", Some(1)),
            ("text/html, application/token-introspection+jwt;q=0.1", Some(1)),
            ("application/token-introspection+jwt;q=0", None),
            ("application/token-introspection+jwt; q=0.000", None),
            ("application/json", Some(0)),
            ("*/*", Some(0)),
            ("application/*", Some(0)),
            ("text/html", None),
            ("application/jwt", Some(2)),
            ("", Some(0)),
        ] {
            assert_eq!(nth(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn rfc9110_s12_5_1_the_weightier_form_is_given_and_the_first_of_equals() {
        for (accept, wanted) in [
            ("application/json, application/jwt;q=0.1", Some(0)),
            ("application/json, application/token-introspection+jwt;q=0.1", Some(0)),
            ("application/json, application/jwt", Some(0)),
            ("application/jwt, application/json", Some(0)),
            ("application/jwt, application/json;q=0.999", Some(2)),
            ("application/jwt;q=0.2, application/token-introspection+jwt;q=0.3", Some(1)),
            ("application/jwt, */*;q=0.1", Some(2)),
            ("application/jwt, */*", Some(0)),
            ("*/*, application/json;q=0", Some(1)),
            ("application/*;q=0.3, application/jwt;q=0.2, */*", Some(0)),
            ("application/json;q=0, application/*;q=0, */*", None),
            ("application/json;charset=utf-8;q=0.4, application/jwt;q=.5", Some(2)),
        ] {
            assert_eq!(nth(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn rfc9110_s12_4_2_a_weight_is_a_number_up_to_one_of_three_decimals() {
        for (text, weight) in [
            ("0", Some(0)),
            ("0.", Some(0)),
            ("0.7", Some(700)),
            ("0.125", Some(125)),
            ("1", Some(1_000)),
            ("1.000", Some(1_000)),
            ("1.001", None),
            ("0.1234", None),
            ("2", None),
            ("-1", None),
            ("0.+1", None),
            ("one", None),
        ] {
            assert_eq!(thousandths(text), weight, "{text}");
        }
    }
}
