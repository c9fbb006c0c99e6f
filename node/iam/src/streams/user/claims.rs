//! The standard claims' names and types (OpenID Connect Core §5.1, §5.1.1, §5.2).

use serde_json::Value;
use url::Url;

use crate::commands::UserRefusal;
use crate::model::ProfileClaims;

const TEXT_BYTES_MAX: usize = 4096;
const CLAIMS_MAX: usize = 100;
const ADDRESS_MEMBERS: [&str; 6] =
    ["formatted", "street_address", "locality", "region", "postal_code", "country"];

/// Checks each claim's name and type.
///
/// # Errors
/// [`UserRefusal::InvalidClaim`] names the first that does not fit.
pub fn check_claims(claims: &ProfileClaims) -> Result<(), UserRefusal> {
    if claims.len() > CLAIMS_MAX {
        return Err(UserRefusal::InvalidClaim { name: "claims".to_owned(), rule: "are over 100" });
    }
    for (name, value) in claims {
        check_claim(name, value).map_err(|rule| UserRefusal::InvalidClaim { name: name.clone(), rule })?;
    }
    Ok(())
}

fn check_claim(name: &str, value: &Value) -> Result<(), &'static str> {
    let (base, tag) = match name.split_once('#') {
        Some((base, tag)) => (base, Some(tag)),
        None => (name, None),
    };
    if tag.is_some_and(|tag| !is_language_tag(tag)) {
        return Err("has a malformed language tag");
    }
    match base {
        "name" | "given_name" | "family_name" | "middle_name" | "nickname" | "preferred_username"
        | "gender" => text(value).map(|_| ()),
        "profile" | "picture" | "website" => {
            is_web_url(text(value)?).then_some(()).ok_or("is not an http(s) URL")
        }
        "birthdate" if tag.is_none() => {
            is_birthdate(text(value)?).then_some(()).ok_or("is not `YYYY-MM-DD`, `0000-MM-DD` or `YYYY`")
        }
        "zoneinfo" if tag.is_none() => is_zone(text(value)?).then_some(()).ok_or("is not a time zone name"),
        "locale" if tag.is_none() => {
            is_language_tag(&text(value)?.replace('_', "-")).then_some(()).ok_or("is not a language tag")
        }
        "address" => check_address(value),
        "sub" | "email" | "email_verified" | "phone_number" | "phone_number_verified" | "updated_at" => {
            Err("is not set this way")
        }
        _ => Err("is not a standard claim"),
    }
}

fn text(value: &Value) -> Result<&str, &'static str> {
    let text = value.as_str().ok_or("is not a string")?;
    if text.len() > TEXT_BYTES_MAX { Err("is longer than 4096 bytes") } else { Ok(text) }
}

fn check_address(value: &Value) -> Result<(), &'static str> {
    let members = value.as_object().ok_or("is not an object")?;
    for (name, member) in members {
        let base = name.split_once('#').map_or(name.as_str(), |(base, _)| base);
        if !ADDRESS_MEMBERS.contains(&base) {
            return Err("has a member that is not of OpenID Connect Core §5.1.1");
        }
        text(member).map_err(|_| "has a member that is not a string")?;
    }
    Ok(())
}

fn is_web_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn is_birthdate(text: &str) -> bool {
    let digits = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if !digits(year, 4) || parts.next().is_some() {
        return false;
    }
    match (month, day) {
        (None, None) => true,
        (Some(month), Some(day)) if digits(month, 2) && digits(day, 2) => {
            let (Ok(year), Ok(month), Ok(day)) =
                (year.parse::<u16>(), month.parse::<u8>(), day.parse::<u8>())
            else {
                return false;
            };
            day >= 1 && day <= days_in(year, month)
        }
        _ => false,
    }
}

/// Days of a month; 0 for no month. Year 0 stands for an omitted year and may be a leap year.
fn days_in(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

/// The form of a name in the IANA time zone database; the database itself is not asked.
fn is_zone(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.split('/').all(|part| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
        })
}

/// The form of BCP 47 (RFC 5646 §2.1): subtags of 1 to 8 letters or digits, the first of 2 to 8 letters.
fn is_language_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let first = subtags.next().unwrap_or_default();
    (2..=8).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && subtags.all(|tag| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn oidc_core_s5_1_each_standard_claim_has_its_type() {
        let fits = [
            ("name", json!("Jane Doe")),
            ("profile", json!("https://example.org/jane")),
            ("birthdate", json!("1984")),
            ("birthdate", json!("0000-02-29")),
            ("birthdate", json!("2000-02-29")),
            ("zoneinfo", json!("America/Argentina/Buenos_Aires")),
            ("zoneinfo", json!("Etc/GMT+1")),
            ("locale", json!("en-US")),
            ("locale", json!("en_US")),
            ("address", json!({"formatted": "1 Way\nTown", "country": "DE"})),
        ];
        for (name, value) in fits {
            assert_eq!(check_claim(name, &value), Ok(()), "{name} {value}");
        }
        let unfit = [
            ("name", json!(7)),
            ("picture", json!("javascript:alert(1)")),
            ("birthdate", json!("1984-13-01")),
            ("birthdate", json!("1900-02-29")),
            ("birthdate", json!("84-1-1")),
            ("zoneinfo", json!("Europe//Paris")),
            ("locale", json!("e")),
            ("address", json!("somewhere")),
            ("address", json!({"planet": "earth"})),
            ("updated_at", json!(7)),
            ("sub", json!("me")),
            ("shoe_size", json!("42")),
        ];
        for (name, value) in unfit {
            assert!(check_claim(name, &value).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn oidc_core_s5_2_claims_may_carry_language_tags() {
        assert_eq!(check_claim("family_name#ja-Kana-JP", &json!("ヤマダ")), Ok(()));
        assert!(check_claim("family_name#", &json!("x")).is_err());
        assert!(check_claim("birthdate#de", &json!("1984")).is_err());
    }
}
