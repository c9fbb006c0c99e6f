//! What each request does, and what must not come of it.

use domicile_iam::commands::{
    Consent, DenyDevice, RedeemCode, RotateRefreshToken, StartDevice, normal_user_code,
};
use domicile_iam::model::{
    AccessTokenClaims, ClaimsRequest, CodeRequest, PkceChallenge, SubjectKind, TokenSource,
};
use domicile_iam::query::Consistency;
use domicile_iam::service::{DeviceStanding, TokenStatus, WaitingDevice};

use super::world::{Code, Device, Owner, Party, Pushed, RefreshToken, Word, World, home, thumbprint};
use super::{By, Step};
use crate::support::{Node, REDIRECT, VERIFIER, set};

const SCOPES: [&str; 2] = ["openid", "offline_access"];
const DONE: &str = "https://id.example/t/acme/device/done";

fn consent() -> Consent {
    Consent { scopes: set(&SCOPES), ..Consent::default() }
}

impl World {
    pub(super) async fn take(&mut self, step: Step) {
        match step {
            Step::Authorize { party, person, key } => self.authorize(party, person, key).await,
            Step::Push { party } => self.push(party).await,
            Step::Open { by, request } => self.open(by, request).await,
            Step::Take { by, person, request } => self.take_pushed(by, person, request).await,
            Step::StartDevice { party } => self.start_device(party).await,
            Step::Answer { person, device, yes } => self.answer(person, device, yes).await,
            Step::Poll { by, device } => self.poll(by, device).await,
            Step::Redeem { by, code, key } => self.redeem(by, code, key).await,
            Step::Refresh { by, token, key } => self.refresh(by, token, key).await,
            Step::Revoke { by, token } => self.revoke(by, token).await,
            Step::Inspect { by, token } => self.inspect(by, token).await,
            Step::Exchange { by, token } => self.exchange(by, token).await,
            Step::Assert { party, person, kind } => self.assert_user(party, person, kind).await,
            Step::RevokeAccess { tenant, token } => self.revoke_access(tenant, token).await,
            Step::Present { tenant, token } => self.present(tenant, token).await,
            Step::Wait { ms } => self.node.advance_ms(ms),
        }
    }

    async fn authorize(&mut self, party: usize, person: usize, key: Option<usize>) {
        let Party { tenant, client } = &self.parties[party];
        let dpop_jkt = key.map(thumbprint);
        let request = CodeRequest { dpop_jkt, ..Node::code_request(client, &SCOPES) };
        let (ctx, session) = (self.node.ctx(*tenant), self.people[person].session.view.id);
        let issued = self.node.iam.issue_code(&ctx, session, request, Some(consent())).await;
        self.node.tick();
        if let Ok(issued) = issued {
            self.coded(issued.reply.code, Owner { party, person }, key);
        }
    }

    /// A browser was handed a code.
    fn coded(&mut self, text: String, owner: Owner, key: Option<usize>) {
        assert_eq!(home(owner.party), home(owner.person), "for a user of another tenant");
        let (redirect_uri, verifier) = (REDIRECT.to_owned(), VERIFIER.to_owned());
        self.codes.push(Code { text, redirect_uri, verifier, key, owner });
    }

    async fn push(&mut self, party: usize) {
        let form = format!("response_type=code&login_hint=of-{}", self.pushed.len()).into_bytes();
        let (asker, iam) = (&self.parties[party], &self.node.iam);
        let reference = if asker.is_public() {
            iam.carry_request(asker.tenant, asker.client.id, &form).unwrap()
        } else {
            let ctx = self.node.ctx(asker.tenant);
            iam.push_request(&ctx, asker.client.id, &form).await.unwrap().reply
        };
        self.node.tick();
        self.pushed.push(Pushed { reference, form, party, taken: false });
    }

    async fn open(&mut self, by: By, request: usize) {
        let Some(place) = request.checked_rem(self.pushed.len()) else { return };
        let pushed = &self.pushed[place];
        let party = by.party(pushed.party);
        let Party { tenant, client } = &self.parties[party];
        let opened = self.node.iam.pushed_request(*tenant, client.id, &pushed.reference).await.unwrap();
        if let Some(opened) = opened {
            assert_eq!((party, opened.client), (pushed.party, client.id), "another client's request");
            assert!(opened.form.as_slice() == pushed.form.as_slice() && !pushed.taken);
        }
    }

    async fn take_pushed(&mut self, by: By, person: usize, request: usize) {
        let Some(place) = request.checked_rem(self.pushed.len()) else { return };
        let pushed = &self.pushed[place];
        let party = by.party(pushed.party);
        let Party { tenant, client } = &self.parties[party];
        let request = Node::code_request(client, &SCOPES);
        let (ctx, session) = (self.node.ctx(*tenant), self.people[person].session.view.id);
        let iam = &self.node.iam;
        let issued = iam.issue_pushed_code(&ctx, session, request, Some(consent()), &pushed.reference).await;
        self.node.tick();
        if let Ok(issued) = issued {
            assert_eq!(party, pushed.party, "another client's request");
            assert!(!pushed.taken, "a request was taken twice");
            self.pushed[place].taken = true;
            self.coded(issued.reply.code, Owner { party, person }, None);
        }
    }

    async fn start_device(&mut self, party: usize) {
        let Party { tenant, client } = &self.parties[party];
        let asked = StartDevice { client: client.id, scopes: set(&SCOPES), resources: set(&[]) };
        let codes = self.node.iam.start_device(&self.node.ctx(*tenant), &asked).await.unwrap().reply;
        self.node.tick();
        self.devices.push(Device { codes, party, word: None });
    }

    async fn answer(&mut self, person: usize, device: usize, yes: bool) {
        let Some(place) = device.checked_rem(self.devices.len()) else { return };
        let device = &self.devices[place];
        let user_code = normal_user_code(&device.codes.user_code).unwrap();
        let (own, there) = (self.tenant_of(device.party), self.tenant_of(person));
        let Some(waiting) = self.node.iam.waiting_device(own, &user_code).await.unwrap() else { return };
        assert_eq!((device.word, waiting.client), (None, self.parties[device.party].client.id));
        let shown = self.node.iam.waiting_device(there, &user_code).await.unwrap();
        assert_eq!(shown.is_some(), own == there, "shown to users of its own tenant");
        // Who is shown nothing may know of it all the same.
        let (word, written) = if yes {
            (Word::Yes { person }, self.allow(person, &user_code, waiting).await)
        } else {
            (Word::No, self.deny(person, user_code, waiting.challenge).await)
        };
        if written {
            assert_eq!(own, there, "a user of another tenant answered");
            self.devices[place].word = Some(word);
        }
    }

    async fn allow(&self, person: usize, user_code: &str, waiting: WaitingDevice) -> bool {
        let WaitingDevice { client, scopes, resources, challenge } = waiting;
        let request = CodeRequest {
            client,
            redirect_uri: DONE.to_owned(),
            redirect_uri_given: true,
            scopes,
            challenge: Some(challenge),
            nonce: None,
            claims: ClaimsRequest::default(),
            auth_time_wanted: false,
            acr: None,
            dpop_jkt: None,
            resources,
        };
        let (ctx, session) = (self.node.ctx(self.tenant_of(person)), self.people[person].session.view.id);
        let written = self.node.iam.allow_device(&ctx, session, request, Some(consent()), user_code).await;
        self.node.tick();
        written.is_ok()
    }

    async fn deny(&self, person: usize, user_code: String, challenge: PkceChallenge) -> bool {
        let denied = DenyDevice { user_code, challenge };
        let written = self.node.iam.deny_device(&self.node.ctx(self.tenant_of(person)), &denied).await;
        self.node.tick();
        written.is_ok()
    }

    async fn poll(&mut self, by: By, device: usize) {
        let Some(place) = device.checked_rem(self.devices.len()) else { return };
        let Device { codes, party: own, word } = &self.devices[place];
        let party = by.party(*own);
        let Party { tenant, client } = &self.parties[party];
        let iam = &self.node.iam;
        match iam.device_standing(*tenant, client, &codes.device_code).await.unwrap() {
            DeviceStanding::Unknown => {}
            DeviceStanding::Pending => assert_eq!((party, *word), (*own, None)),
            DeviceStanding::Denied => assert_eq!((party, *word), (*own, Some(Word::No))),
            DeviceStanding::Approved { code, verifier } => {
                assert_eq!(party, *own, "another client's device");
                let Some(Word::Yes { person }) = *word else { panic!("nobody said yes") };
                if self.codes.iter().all(|known| known.text != code) {
                    let (redirect_uri, owner) = (DONE.to_owned(), Owner { party, person });
                    self.codes.push(Code { text: code, redirect_uri, verifier, key: None, owner });
                }
            }
        }
    }

    async fn redeem(&mut self, by: By, code: usize, key: Option<usize>) {
        let Some(place) = code.checked_rem(self.codes.len()) else { return };
        let Code { text, redirect_uri, verifier, key: wanted, owner } = self.codes[place].clone();
        let (party, proof) = (by.party(owner.party), self.proof(key));
        let Party { tenant, client } = &self.parties[party];
        let command = RedeemCode {
            client: client.id,
            code: text,
            redirect_uri: Some(redirect_uri),
            verifier: Some(verifier),
            proof,
            resources: set(&[]),
        };
        let given = self.node.iam.redeem(&self.node.ctx(*tenant), &command).await;
        self.node.tick();
        if let Ok(given) = given {
            assert!(wanted.is_none() || wanted == key, "a code without its key");
            // RFC 9449 §5: refresh tokens of those who prove themselves are not bound.
            let bound = key.filter(|_| self.parties[party].is_public());
            self.given(party, owner, &given.reply, (key, bound));
        }
    }

    async fn refresh(&mut self, by: By, token: usize, key: Option<usize>) {
        let Some(place) = token.checked_rem(self.refresh_tokens.len()) else { return };
        let RefreshToken { text, owner, key: bound } = self.refresh_tokens[place].clone();
        let (party, proof) = (by.party(owner.party), self.proof(key));
        let Party { tenant, client } = &self.parties[party];
        let command =
            RotateRefreshToken { client: client.id, token: text, scopes: None, proof, resources: set(&[]) };
        let given = self.node.iam.rotate(&self.node.ctx(*tenant), &command).await;
        self.node.tick();
        if let Ok(given) = given {
            assert!(bound.is_none() || bound == key, "a refresh token without its key");
            self.given(party, owner, &given.reply, (key, bound));
        }
    }

    async fn revoke(&mut self, by: By, token: usize) {
        let Some(place) = token.checked_rem(self.refresh_tokens.len()) else { return };
        let RefreshToken { text, owner, .. } = &self.refresh_tokens[place];
        let party = by.party(owner.party);
        let before = self.active(*owner).await;
        let Party { tenant, client } = &self.parties[party];
        let ctx = self.node.ctx(*tenant);
        let _refusals_say_nothing = self.node.iam.revoke_refresh_token(&ctx, client, text).await;
        if party != owner.party {
            assert_eq!(self.active(*owner).await, before, "others revoke nothing");
        }
        self.node.tick();
    }

    async fn inspect(&mut self, by: By, token: usize) {
        let Some(place) = token.checked_rem(self.refresh_tokens.len()) else { return };
        let RefreshToken { text, owner, .. } = &self.refresh_tokens[place];
        let party = by.party(owner.party);
        let (tenant, read) = (self.tenant_of(party), &Consistency::Linearizable);
        let seen = self.node.iam.inspect_refresh_token(tenant, text, read).await.unwrap();
        // The endpoint shows it to its own client only: the domain tells whose it is.
        if let Some(seen) = seen {
            assert_eq!(home(party), home(owner.party), "of another tenant");
            let (client, user) = (&self.parties[owner.party].client, &self.people[owner.person].user);
            assert_eq!((seen.client, seen.user), (client.id, user.id));
        }
    }

    /// As far as the store judges, every client may exchange what counts at its tenant.
    async fn exchange(&mut self, by: By, token: usize) {
        let Some(place) = token.checked_rem(self.access_tokens.len()) else { return };
        let (subject, owner) = (self.access_tokens[place].claims.clone(), self.access_tokens[place].owner);
        let party = by.party(owner.party);
        if self.node.status(self.tenant_of(party), &subject).await != TokenStatus::Active {
            return;
        }
        assert_eq!(home(party), home(owner.party), "of another tenant");
        let own = self.claims(party, self.people[owner.person].user.id);
        let mut sources = vec![TokenSource {
            jti: subject.jti,
            client: subject.client,
            issued_at: subject.issued_at,
            user: subject.user,
            session: subject.session,
            grant: subject.grant,
            family: subject.family,
        }];
        sources.extend(subject.sources);
        let claims = AccessTokenClaims { exp: own.exp.min(subject.exp), sources, ..own };
        self.keep(claims, Owner { party, ..owner }, Some(place));
    }

    /// A client has a token for the user whom its tenant knows by this name.
    async fn assert_user(&mut self, party: usize, person: usize, kind: SubjectKind) {
        let user = &self.people[person].user;
        let name = match kind {
            SubjectKind::Subject => user.subject.clone(),
            SubjectKind::Username => user.username.clone(),
            SubjectKind::Email => user.email.clone().unwrap(),
        };
        let (tenant, read) = (self.tenant_of(party), &Consistency::Linearizable);
        let found = self.node.iam.user_named(tenant, kind, &name, read).await.unwrap();
        let Some(found) = found else { return };
        let named = self.people.iter().position(|known| known.user.id == found.id).unwrap();
        assert_eq!(home(named), home(party), "a user of another tenant");
        assert!(kind != SubjectKind::Subject || named == person, "a subject is one user's");
        let claims = self.claims(party, found.id);
        self.keep(claims, Owner { party, person: named }, None);
    }

    async fn revoke_access(&mut self, tenant: usize, token: usize) {
        let Some(place) = token.checked_rem(self.access_tokens.len()) else { return };
        let (revoked, owner) = (&self.access_tokens[place].claims, self.access_tokens[place].owner);
        let before = self.active(owner).await;
        let ctx = self.node.ctx(self.tenants[tenant]);
        let _refusals_say_nothing = self.node.iam.revoke_access_token(&ctx, revoked).await;
        if tenant == home(owner.party) {
            let stands_on = |claims: &AccessTokenClaims| {
                claims.jti == revoked.jti || claims.sources.iter().any(|source| source.jti == revoked.jti)
            };
            for void in self.access_tokens.iter().filter(|token| stands_on(&token.claims)) {
                let status = self.node.status(self.tenants[tenant], &void.claims).await;
                assert_eq!(status, TokenStatus::Inactive, "revoked, or stands on what is");
            }
        } else {
            assert_eq!(self.active(owner).await, before, "other tenants revoke nothing");
        }
        self.node.tick();
    }

    async fn present(&mut self, tenant: usize, token: usize) {
        let Some(place) = token.checked_rem(self.access_tokens.len()) else { return };
        let token = &self.access_tokens[place];
        let own = home(token.owner.party);
        assert_eq!(self.secret(tenant) == token.sealed_under, tenant == own, "opened by its tenant alone");
        let status = self.node.status(self.tenants[tenant], &token.claims).await;
        if tenant != own {
            assert_eq!(status, TokenStatus::Inactive, "of another tenant");
        }
        if let (TokenStatus::Active, Some(source)) = (status, token.stands_on) {
            let source = &self.access_tokens[source].claims;
            let status = self.node.status(self.tenants[own], source).await;
            assert_eq!(status, TokenStatus::Active, "what it stands on counts");
        }
    }
}
