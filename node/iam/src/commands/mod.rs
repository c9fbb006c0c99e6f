//! Commands: what callers ask for, decided on applied state.

mod input;
mod refusal;

pub use input::{
    AuthenticatedUser, ClientPatch, Consent, CreateTenant, CreateUser, NewSession, PlainPassword, TenantPatch,
    UserPatch,
};
pub use refusal::{
    AuthorizeRefusal, ClientRefusal, InvalidGrant, KeyRefusal, LoginRefusal, PasswordRule, SessionRefusal,
    TenantRefusal, TokenRefusal, UserRefusal,
};
