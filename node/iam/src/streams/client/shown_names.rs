//! Names that people are shown, of clients that no operator made (RFC 7591 §5): a page must read as it was written.

use serde_json::Value;

use crate::model::ClientMetadata;

/// The member that holds a name with characters that are not seen but change what is: line breaks and other
/// controls, and those that turn the direction of the text around them (Unicode Standard Annex 9).
pub(super) fn deceptive(metadata: &ClientMetadata) -> Option<&str> {
    if metadata.client_name.as_deref().is_some_and(is_deceptive) {
        return Some("client_name");
    }
    let mut translated = metadata.extra.iter().filter(|(name, _)| name.starts_with("client_name#"));
    let found = translated.find(|(_, value)| value.as_str().is_some_and(is_deceptive));
    found.map(|(name, _): (&String, &Value)| name.as_str())
}

fn is_deceptive(text: &str) -> bool {
    text.chars().any(|character| {
        character.is_control()
            || matches!(
                character,
                '\u{61c}'
                    | '\u{200e}'
                    | '\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2066}'..='\u{2069}'
            )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rfc7591_s5_a_name_that_turns_the_text_around_it_is_found() {
        let metadata = |member: &str, name: &str| -> ClientMetadata {
            let uris = json!(["https://app.example.org/cb"]);
            let whole = json!({ "redirect_uris": uris, "client_name": "App", member: name });
            serde_json::from_value(whole).unwrap()
        };
        for turned in [
            "a\u{202e}b",
            "\u{2066}a",
            "a\u{2069}",
            "\u{200f}",
            "\u{200e}a",
            "\u{61c}a",
            "a\nb",
            "a\u{2028}b",
        ] {
            for member in ["client_name", "client_name#de"] {
                let metadata = metadata(member, turned);
                assert_eq!(deceptive(&metadata), Some(member), "{turned:?}");
            }
        }
        for plain in ["Café", "حساب", "חשבון", "家計簿 2", "👩\u{200d}💻 App"] {
            assert_eq!(deceptive(&metadata("client_name", plain)), None, "{plain}");
        }
    }
}
