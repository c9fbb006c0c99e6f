//! Pairwise subjects (OpenID Connect Core §8.1): a `sub` that says nothing outside its sector.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::model::{ClientMetadata, SubjectType};
use url::Url;

/// Whether a client is to know users by no name that another sector has for them.
#[must_use]
pub fn is_pairwise(client: &ClientMetadata) -> bool {
    client.subject_type == Some(SubjectType::Pairwise)
}

/// What makes a tenant's pairwise subjects.
pub struct Pairwise(hmac::Key);

impl Pairwise {
    /// Under the tenant's salt.
    #[must_use]
    pub fn new(salt: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, salt))
    }

    /// The `sub` by which a client knows the user of `subject`: HMAC(salt, sector || subject), 43 characters
    /// of base64url; `subject` itself for a client of public ones.
    #[must_use]
    pub fn subject(&self, client: &ClientMetadata, subject: &str) -> String {
        match client.subject_type.unwrap_or_default() {
            SubjectType::Public => subject.to_owned(),
            SubjectType::Pairwise => {
                // No host has a line feed: sector and subject cannot run into each other.
                let message = format!("{}\n{subject}", sector(client));
                URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, message.as_bytes()))
            }
        }
    }
}

/// The host of `sector_identifier_uri`, else of the redirect URIs: registration sees to it that there is one
/// for all.
fn sector(client: &ClientMetadata) -> String {
    let first = client.redirect_uris.first().map(String::as_str);
    let names = client.sector_identifier_uri().or(first).and_then(|uri| Url::parse(uri).ok());
    names.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::client_with;
    use domicile_iam::model::SECTOR_IDENTIFIER_URI;

    fn of(salt: u8, redirect_uri: &str, subject_type: SubjectType, subject: &str) -> String {
        let client = client_with(|metadata| {
            metadata.redirect_uris = vec![redirect_uri.to_owned()];
            metadata.subject_type = Some(subject_type);
        });
        Pairwise::new(&[salt; 32]).subject(&client.metadata, subject)
    }

    #[test]
    fn oidc_core_s8_1_a_pairwise_subject_is_of_one_sector_user_and_tenant() {
        let pairwise = |salt, uri, subject| of(salt, uri, SubjectType::Pairwise, subject);
        let ada = pairwise(1, "https://a.example/cb", "ada");
        assert_eq!(pairwise(1, "https://a.example:8443/other", "ada"), ada, "the sector is the host");
        assert_ne!(pairwise(1, "https://b.example/cb", "ada"), ada);
        assert_ne!(pairwise(1, "https://a.example/cb", "bob"), ada);
        assert_ne!(pairwise(2, "https://a.example/cb", "ada"), ada);
        assert!(ada.len() == 43 && ada.is_ascii(), "§2: at most 255 ASCII characters");
    }

    #[test]
    fn oidc_core_s8_1_a_sector_identifier_uri_makes_one_sector_of_many_hosts() {
        let of = |redirect_uri: &str, sector: &str| {
            let client = client_with(|metadata| {
                metadata.redirect_uris = vec![redirect_uri.to_owned()];
                metadata.subject_type = Some(SubjectType::Pairwise);
                metadata.extra.insert(SECTOR_IDENTIFIER_URI.to_owned(), sector.into());
            });
            Pairwise::new(&[1; 32]).subject(&client.metadata, "ada")
        };
        let one = of("https://a.example/cb", "https://sector.example/a.json");
        assert_eq!(one, of("https://b.example/cb", "https://sector.example/b.json"));
        assert_ne!(one, of("https://a.example/cb", "https://other.example/a.json"));
    }

    #[test]
    fn oidc_core_s8_a_public_subject_is_the_same_for_all() {
        assert_eq!(of(1, "https://a.example/cb", SubjectType::Public, "ada"), "ada");
        let silent = client_with(|_| {});
        assert_eq!(Pairwise::new(&[1; 32]).subject(&silent.metadata, "ada"), "ada");
    }
}
