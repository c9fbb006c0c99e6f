use domicile_iam::model::{ACCESS_TOKEN_FORMAT, MAY_ACT, TOKEN_EXCHANGE};

use super::*;
use crate::access_token;
use crate::testing::{NOW, client, client_with, form, issue, other_client, set, tenant, user};

const API: &str = "https://api.example";
const KIND: (&str, &str) = ("subject_token_type", ACCESS_TOKEN);
const SUBJECT: (&str, &str) = ("subject_token", "s");

/// The client that exchanges, another than the one that tokens are issued to.
fn gateway(policy: Value) -> ClientView {
    let mut gateway = other_client();
    gateway.metadata.scope = Some("read write offline_access".to_owned());
    gateway.metadata.extra.insert(TOKEN_EXCHANGE.to_owned(), policy);
    gateway
}

fn policy() -> Value {
    json!({
        "scope": "read write admin offline_access", "subject_clients": ["app"], "audiences": [API, "backend"],
    })
}

/// A token of a user that `app` got.
fn subject() -> AccessTokenClaims {
    access_token::for_user(&tenant(), &client(), &issue(&["openid", "read", "offline_access"]), &user())
}

/// A token that a client got for itself.
fn machine(client: &ClientView) -> AccessTokenClaims {
    access_token::for_client(&tenant(), client, &set(&["read"]), subject().jti, NOW)
}

fn decided(
    more: &[(&str, &str)],
    subject: &AccessTokenClaims,
    actor: Option<&AccessTokenClaims>,
    client: &ClientView,
) -> Result<Exchanged, ErrorCode> {
    shown(more, Brought { subject, actor, jkt: None }, client)
}

fn shown(more: &[(&str, &str)], brought: Brought<'_>, client: &ClientView) -> Result<Exchanged, ErrorCode> {
    let mut fields = vec![SUBJECT, KIND];
    fields.extend(more);
    let form = form(&fields);
    let exchange = parse(&form).map_err(|error| error.code)?;
    decide(&exchange, brought, client, &tenant()).map_err(|error| error.code)
}

/// The same token, bound to a key.
fn bound(token: AccessTokenClaims, jkt: &str) -> AccessTokenClaims {
    Terms { dpop_jkt: Some(jkt.to_owned()), ..Terms::default() }.apply(token)
}

#[test]
fn rfc8693_s2_1_who_asks_for_a_jwt_is_given_one_or_nothing() {
    let signed = gateway(policy());
    let mut sealed = gateway(policy());
    sealed.metadata.extra.insert(ACCESS_TOKEN_FORMAT.to_owned(), json!("opaque"));
    for (kind, client, given) in [
        (JWT, &signed, true),
        (ACCESS_TOKEN, &signed, true),
        (JWT, &sealed, false),
        (ACCESS_TOKEN, &sealed, true),
    ] {
        let outcome = decided(&[("requested_token_type", kind)], &subject(), None, client).map(drop);
        assert_eq!(outcome, if given { Ok(()) } else { Err(ErrorCode::InvalidRequest) }, "{kind}");
    }
}

/// Fields, and what comes of them.
type Case<'a> = (&'a [(&'a str, &'a str)], Result<(), ErrorCode>);

#[test]
fn rfc8693_s2_1_a_request_names_its_tokens_and_their_types() {
    use ErrorCode::InvalidRequest;
    let actor = ("actor_token", "a");
    let actor_kind = ("actor_token_type", JWT);
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    let refresh = "urn:ietf:params:oauth:token-type:refresh_token";
    let cases: &[Case<'_>] = &[
        (&[SUBJECT, KIND], Ok(())),
        (&[SUBJECT, ("subject_token_type", JWT)], Ok(())),
        (&[SUBJECT, KIND, actor, actor_kind], Ok(())),
        (&[SUBJECT, KIND, ("requested_token_type", ACCESS_TOKEN)], Ok(())),
        (&[SUBJECT, KIND, ("audience", "a"), ("audience", "b"), ("resource", API)], Ok(())),
        (&[KIND], Err(InvalidRequest)),
        (&[SUBJECT], Err(InvalidRequest)),
        (&[SUBJECT, ("subject_token_type", id_token)], Err(InvalidRequest)),
        (&[SUBJECT, KIND, actor], Err(InvalidRequest)),
        (&[SUBJECT, KIND, actor_kind], Err(InvalidRequest)),
        (&[SUBJECT, KIND, actor, ("actor_token_type", id_token)], Err(InvalidRequest)),
        (&[SUBJECT, KIND, ("requested_token_type", refresh)], Err(InvalidRequest)),
        (&[SUBJECT, SUBJECT, KIND], Err(InvalidRequest)),
    ];
    for (fields, expects) in cases {
        assert_eq!(parse(&form(fields)).map(|_| ()).map_err(|error| error.code), *expects, "{fields:?}");
    }
    let fragment = [SUBJECT, KIND, ("resource", "https://api.example/#part")];
    assert_eq!(parse(&form(&fragment)).map(|_| ()).unwrap_err().code, ErrorCode::InvalidTarget);
    let many: Vec<String> = (0..=TARGETS_MAX).map(|number| number.to_string()).collect();
    let mut fields = vec![SUBJECT, KIND];
    fields.extend(many.iter().map(|name| ("audience", name.as_str())));
    assert!(parse(&form(&fields)).is_err());
}

#[test]
fn rfc8693_s1_1_delegation_says_who_acts_and_impersonation_needs_leave() {
    let delegating = decided(&[], &subject(), None, &gateway(policy())).unwrap();
    assert_eq!(delegating.act, Some(json!({"sub": "other"})));
    let mut free = policy();
    free["impersonation"] = json!(true);
    assert_eq!(decided(&[], &subject(), None, &gateway(free.clone())).unwrap().act, None);
    let own = machine(&gateway(policy()));
    let named = decided(&[], &subject(), Some(&own), &gateway(free)).unwrap();
    assert_eq!(named.act, Some(json!({"sub": "other", "client_id": "other"})), "an actor is always told");
}

#[test]
fn rfc8693_s4_1_actors_stand_behind_each_other_and_not_without_end() {
    let mut token = subject();
    for place in 0..CHAIN_MAX {
        token.act = decided(&[], &token, None, &gateway(policy())).unwrap().act;
        assert_eq!(depth(token.act.as_ref().unwrap()), place + 1);
    }
    assert_eq!(decided(&[], &token, None, &gateway(policy())), Err(ErrorCode::InvalidRequest));
    let mut free = policy();
    free["impersonation"] = json!(true);
    let kept = decided(&[], &token, None, &gateway(free)).unwrap();
    assert_eq!(kept.act, token.act, "who acted before stays");
}

#[test]
fn oidc_core_s8_1_users_who_acted_before_are_not_named() {
    let by_clients = json!({"sub": "gate", "client_id": "gate", "act": {"sub": "first"}});
    let by_user = json!({"sub": "sub-bob", "client_id": "desk", "act": by_clients});
    let token = AccessTokenClaims { act: Some(by_user), ..subject() };
    let mut free = policy();
    free["impersonation"] = json!(true);
    let hidden = json!({"client_id": "desk", "act": by_clients});
    for (policy, expects) in [(policy(), json!({"sub": "other", "act": hidden})), (free, hidden.clone())] {
        let gateway = gateway(policy);
        assert_eq!(decided(&[], &token, None, &gateway).unwrap().act, Some(expects));
    }
}

#[test]
fn rfc8693_s4_4_may_act_lets_in_whom_it_names_and_keeps_out_everybody_else() {
    let nobody_listed = || {
        let mut policy = policy();
        policy["subject_clients"] = json!([]);
        gateway(policy)
    };
    assert_eq!(decided(&[], &subject(), None, &nobody_listed()), Err(ErrorCode::InvalidRequest));
    let naming = |name: &str| {
        let app = client_with(|metadata| {
            metadata.extra.insert(MAY_ACT.to_owned(), json!(name));
        });
        access_token::for_user(&tenant(), &app, &issue(&["read"]), &user())
    };
    assert!(decided(&[], &naming("other"), None, &nobody_listed()).is_ok());
    assert_eq!(decided(&[], &naming("third"), None, &gateway(policy())), Err(ErrorCode::InvalidRequest));
    let mut third = other_client();
    third.client_id = "third".to_owned();
    let actor = machine(&third);
    let trusting = || {
        let mut policy = policy();
        policy["actor_clients"] = json!(["third"]);
        gateway(policy)
    };
    assert!(decided(&[], &naming("third"), Some(&actor), &trusting()).is_ok());
    let user = AccessTokenClaims { sub: "third".to_owned(), ..subject() };
    assert!(user.user.is_some());
    let posing = AccessTokenClaims { client: trusting().id, ..user };
    let refused = decided(&[], &naming("third"), Some(&posing), &trusting());
    assert_eq!(refused, Err(ErrorCode::InvalidRequest), "a user whose sub looks like a client's");
}

#[test]
fn rfc8693_s2_2_2_tokens_of_clients_that_the_policy_does_not_name_are_refused() {
    let mut stranger = client();
    stranger.id = domicile_iam::ids::Id::from_bytes([77; 16]);
    stranger.client_id = "stranger".to_owned();
    let token = access_token::for_user(&tenant(), &stranger, &issue(&["read"]), &user());
    assert_eq!(decided(&[], &token, None, &gateway(policy())), Err(ErrorCode::InvalidRequest));
    let actor = machine(&stranger);
    assert_eq!(decided(&[], &subject(), Some(&actor), &gateway(policy())), Err(ErrorCode::InvalidRequest));
    let mut trusting = policy();
    trusting["actor_clients"] = json!(["stranger"]);
    assert!(decided(&[], &subject(), Some(&actor), &gateway(trusting)).is_ok());
    assert_eq!(decided(&[], &subject(), None, &other_client()), Err(ErrorCode::InvalidRequest), "no policy");
}

#[test]
fn rfc8693_s2_1_scope_and_audience_are_never_wider_than_subject_and_policy() {
    let gateway = gateway(policy());
    let given = |more: &[(&str, &str)]| decided(more, &subject(), None, &gateway);
    let plain = given(&[]).unwrap();
    assert_eq!((plain.scopes, plain.terms), (set(&["read"]), Terms::default()));
    assert_eq!(given(&[("scope", "read write")]).unwrap().scopes, set(&["read"]));
    for scope in ["write", "openid", "offline_access", "admin"] {
        assert_eq!(given(&[("scope", scope)]), Err(ErrorCode::InvalidScope), "{scope}");
    }
    let both = given(&[("audience", "backend"), ("resource", API)]).unwrap();
    assert_eq!(both.terms.resources, set(&["backend", API]));
    assert_eq!(given(&[("audience", "elsewhere")]), Err(ErrorCode::InvalidTarget));
    assert_eq!(given(&[("audience", API), ("audience", "elsewhere")]), Err(ErrorCode::InvalidTarget));
}

#[test]
fn rfc9449_s7_a_bound_token_is_exchanged_by_who_holds_a_key_and_stays_bound() {
    let plain = || gateway(policy());
    let constrained = || {
        let mut client = plain();
        client.metadata.dpop_bound_access_tokens = true;
        client
    };
    let held = bound(subject(), "app's");
    let (loose, strict) = (machine(&plain()), bound(machine(&plain()), "gateway's"));
    let refused = Err(ErrorCode::InvalidRequest);
    let bound_to = |jkt: &str| Ok(Some(jkt.to_owned()));
    for (case, subject, actor, jkt, client, expects) in [
        ("its holder exchanges it", &held, None, Some("app's"), plain(), bound_to("app's")),
        ("nobody shows a key", &held, None, None, plain(), refused.clone()),
        ("a key of anybody's", &held, None, Some("gateway's"), plain(), refused.clone()),
        (
            "a client of bound tokens only",
            &held,
            None,
            Some("gateway's"),
            constrained(),
            bound_to("gateway's"),
        ),
        (
            "an actor's token that anybody could have",
            &held,
            Some(&loose),
            Some("x"),
            plain(),
            refused.clone(),
        ),
        ("an actor with its key", &held, Some(&strict), Some("gateway's"), plain(), bound_to("gateway's")),
        ("an actor without its key", &held, Some(&strict), Some("app's"), plain(), refused.clone()),
        ("an actor without any", &subject(), Some(&strict), None, plain(), refused.clone()),
        (
            "a key for a token without one",
            &subject(),
            None,
            Some("gateway's"),
            plain(),
            bound_to("gateway's"),
        ),
    ] {
        let given = shown(&[], Brought { subject, actor, jkt }, &client);
        assert_eq!(given.map(|given| given.terms.dpop_jkt), expects, "{case}");
    }
}

#[test]
fn an_exchanged_token_stands_and_falls_with_what_was_brought_and_lives_no_longer() {
    let gateway = gateway(policy());
    let actor = AccessTokenClaims { exp: subject().exp - 60, ..machine(&gateway) };
    let exchanged = decided(&[("audience", API)], &subject(), Some(&actor), &gateway).unwrap();
    let later = NOW.plus_ms(60_000);
    let token = access_token::exchanged(&tenant(), &gateway, &subject(), exchanged, (subject().jti, later));
    let sources = [access_token::source(&subject()), access_token::source(&actor)];
    assert_eq!(token.sources, sources, "what revokes one of them revokes this");
    assert_eq!((sources[0].grant, sources[0].issued_at), (subject().grant, subject().issued_at));
    assert_eq!((token.exp, token.iat, token.issued_at), (actor.exp, later.seconds(), later));
    assert_eq!((token.user, token.client, token.client_id.as_str()), (subject().user, gateway.id, "other"));
    assert_eq!((token.sub.as_str(), token.aud.as_slice()), ("sub-ada", &[API.to_owned()][..]));
    let again = decided(&[], &token, None, &gateway).unwrap();
    assert_eq!(again.sources.len(), 3);
    let many = AccessTokenClaims { sources: vec![access_token::source(&subject()); SOURCES_MAX], ..token };
    assert_eq!(decided(&[], &many, None, &gateway), Err(ErrorCode::InvalidRequest), "not without end");
}
