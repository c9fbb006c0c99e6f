//! `prompt` and `display` (OpenID Connect Core §3.1.2.1).

use std::collections::BTreeSet;

use domicile_iam::model::TenantSettings;
use serde::{Deserialize, Serialize};

use crate::error::OAuthError;

/// What the user must be asked, or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// Nothing: no page at all.
    None,
    /// To prove again who they are.
    Login,
    /// To agree again.
    Consent,
    /// Which account.
    SelectAccount,
    /// To make an account (Initiating User Registration via OpenID Connect 1.0 §4).
    Create,
}

impl Prompt {
    /// All that a tenant offers, as its discovery document lists them.
    pub fn names(settings: &TenantSettings) -> Vec<&'static str> {
        let always = ["none", "login", "consent", "select_account"];
        always.into_iter().chain(settings.self_registration.then_some("create")).collect()
    }

    /// Reads the parameter.
    ///
    /// # Errors
    /// `invalid_request` for `none` with others, and for values that discovery does not list.
    pub fn parse(text: &str, settings: &TenantSettings) -> Result<BTreeSet<Self>, OAuthError> {
        let prompts = text
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| match word {
                "none" => Ok(Self::None),
                "login" => Ok(Self::Login),
                "consent" => Ok(Self::Consent),
                "select_account" => Ok(Self::SelectAccount),
                "create" if settings.self_registration => Ok(Self::Create),
                _ => Err(OAuthError::invalid_request("prompt has an unsupported value")),
            })
            .collect::<Result<BTreeSet<Self>, _>>()?;
        if prompts.contains(&Self::None) && prompts.len() > 1 {
            return Err(OAuthError::invalid_request("prompt none cannot be combined"));
        }
        Ok(prompts)
    }
}

/// How pages should look. A hint: unknown values mean a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Display {
    /// A full page.
    #[default]
    Page,
    /// A small window.
    Popup,
    /// A touch device.
    Touch,
}

impl Display {
    /// All, as the discovery document lists them.
    pub const NAMES: [&str; 3] = ["page", "popup", "touch"];

    /// Reads the parameter.
    pub fn parse(text: &str) -> Self {
        match text {
            "popup" => Self::Popup,
            "touch" => Self::Touch,
            _ => Self::Page,
        }
    }
}
