//! `claims_locales`: in which languages claims are given (OpenID Connect Core §3.1.2.1, §5.2).
//!
//! A claim without a language asked for comes in the one language wanted, under its plain name, or in
//! each of several, under its tagged names beside the plain one. It is a wish: a claim that there is in
//! none of them comes as if nothing had been wished. `name#tag` in the `claims` parameter is exact.

use domicile_iam::model::UserView;

/// Languages looked at; more are left out.
pub const LOCALES_MAX: usize = 8;
/// Bytes of a language tag (RFC 5646 §4.4.1).
const TAG_MAX: usize = 35;

/// Those of `tags` that may be language tags, in their order. A wish that cannot be read is none.
pub fn read(tags: impl IntoIterator<Item = String>) -> Vec<String> {
    let may_be = |tag: &String| {
        (2..=TAG_MAX).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    tags.into_iter().filter(may_be).take(LOCALES_MAX).collect()
}

/// What to give for the untagged claim `name`: pairs of the name to give and the name it is stored
/// under. Empty if nothing fits the wish, or none was made.
pub(crate) fn fitting<'u>(user: &'u UserView, name: &'u str, locales: &[String]) -> Vec<(&'u str, &'u str)> {
    match locales {
        [] => Vec::new(),
        // §5.2: without a tag where only one language was asked for.
        [only] => best(user, name, only).map(|stored| (name, stored)).into_iter().collect(),
        several => {
            let stored: Vec<&str> = several.iter().filter_map(|locale| best(user, name, locale)).collect();
            if stored.is_empty() {
                return Vec::new();
            }
            std::iter::once(name).chain(stored).map(|name| (name, name)).collect()
        }
    }
}

/// Tagged names under which `user` has the claim `name`.
pub(crate) fn variants<'u>(user: &'u UserView, name: &str) -> impl Iterator<Item = &'u str> {
    user.claims
        .iter()
        .filter(move |(stored, value)| !value.is_null() && tag_of(stored, name).is_some())
        .map(|(stored, _)| stored.as_str())
}

/// The variant in `wanted`: one that it covers (RFC 4647 §3.3.1), else in the next wider language
/// (RFC 4647 §3.4).
fn best<'u>(user: &'u UserView, name: &str, wanted: &str) -> Option<&'u str> {
    let found = |fits: &dyn Fn(&str) -> bool| {
        variants(user, name).find(|stored| tag_of(stored, name).is_some_and(fits))
    };
    let mut best =
        found(&|tag| tag.eq_ignore_ascii_case(wanted)).or_else(|| found(&|tag| covers(wanted, tag)));
    let mut wider = wanted;
    while let Some((parent, _)) = wider.rsplit_once('-').filter(|_| best.is_none()) {
        best = found(&|tag| tag.eq_ignore_ascii_case(parent));
        wider = parent;
    }
    best
}

fn tag_of<'a>(stored: &'a str, name: &str) -> Option<&'a str> {
    stored.strip_prefix(name)?.strip_prefix('#')
}

/// Whether `tag` is `range` with more subtags.
fn covers(range: &str, tag: &str) -> bool {
    tag.split_at_checked(range.len())
        .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(range) && rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn person(names: &[&str]) -> UserView {
        let claims = names.iter().map(|name| ((*name).to_owned(), (*name).into())).collect();
        UserView { claims, ..crate::testing::user() }
    }

    fn wanted(tags: &str) -> Vec<String> {
        read(tags.split(' ').map(str::to_owned))
    }

    #[test]
    fn oidc_core_s5_2_one_language_comes_without_a_tag_and_several_with_theirs() {
        type Given = &'static [(&'static str, &'static str)];
        let user = person(&["name", "name#de-CH", "name#fr", "name#ja", "name#ja-Kana-JP", "nickname#fr"]);
        let cases: [(&str, &str, Given); 11] = [
            ("OIDC Core §5.2", "fr", &[("name", "name#fr")]),
            ("RFC 5646 §2.1.1", "FR", &[("name", "name#fr")]),
            ("OIDC Core §5.2", "ja-Kana-JP", &[("name", "name#ja-Kana-JP")]),
            ("RFC 4647 §3.3.1", "de", &[("name", "name#de-CH")]),
            ("RFC 4647 §3.3.1", "ja", &[("name", "name#ja")]),
            ("RFC 4647 §3.4", "fr-CA", &[("name", "name#fr")]),
            ("RFC 4647 §3.4", "ja-Hani-JP", &[("name", "name#ja")]),
            ("OIDC Core §5.2", "ja fr", &[("name", "name"), ("name#ja", "name#ja"), ("name#fr", "name#fr")]),
            ("OIDC Core §5.2", "se fr", &[("name", "name"), ("name#fr", "name#fr")]),
            ("OIDC Core §3.1.2.1", "se", &[]),
            ("OIDC Core §3.1.2.1", "", &[]),
        ];
        for (spec, tags, expects) in cases {
            assert_eq!(fitting(&user, "name", &wanted(tags)), expects, "{spec}: {tags}");
        }
        assert_eq!(fitting(&user, "nick", &wanted("fr")), [], "another claim's name is no tag");
    }

    #[test]
    fn oidc_core_s3_1_2_1_what_is_no_language_tag_is_no_wish() {
        assert_eq!(wanted("de * x d\u{e9} a_b en-GB"), ["de", "en-GB"]);
        assert!(read([String::from("a").repeat(TAG_MAX + 1)]).is_empty());
        assert_eq!(read((0..20).map(|n| format!("l{n}"))).len(), LOCALES_MAX);
    }

    proptest! {
        #[test]
        fn arbitrary_tags_never_panic_and_give_only_what_is_stored(
            stored in "[a-z\u{e9}-]{0,6}", tags in proptest::collection::vec("\\PC{0,8}", 0..4)
        ) {
            let tagged = format!("name#{stored}");
            let user = person(&["name", &tagged]);
            for (_, from) in fitting(&user, "name", &tags) {
                prop_assert!(user.claims.contains_key(from));
            }
        }
    }
}
