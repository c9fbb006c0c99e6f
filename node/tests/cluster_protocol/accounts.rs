//! The account page: what a person does at one node counts for the browsers of all others.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::cluster_guest::Guest;
use crate::oidc_support::browser::{Page, PageKind, Stop};
use crate::oidc_support::html::forms;
use crate::oidc_support::node::Person;
use crate::world::{World, number};

const PASSWORD: &str = "correct horse battery staple";

/// Somebody new, whose sessions can be counted.
async fn somebody(world: &World, host: usize) -> Guest {
    let name = format!("somebody{}", number());
    let body = json!({ "username": name, "password": PASSWORD });
    let made = world.guest.admin(&world.doors, host, Method::POST, "/users", None, Some(&body)).await;
    let user = made.unwrap().expect(StatusCode::CREATED).text("id");
    Guest { user, person: (name, PASSWORD.to_owned()), ..world.guest.clone() }
}

/// The sessions that the page offers to end, this browser's first.
fn sessions(page: &Page) -> Vec<String> {
    let controls = forms(&page.html).into_iter().flat_map(|form| form.controls);
    controls.filter(|control| control.name == "end").map(|control| control.value).collect()
}

pub async fn a_session_of_another_node_is_ended(world: &World, at: [usize; 4]) {
    let [a, b, c, d] = at;
    let guest = somebody(world, d).await;
    let mut elsewhere = world.browser(&[a]);
    guest.log_in(&mut elsewhere, "").await;
    let (mut here, url) = (world.browser(&[b]), world.url("/account"));
    let login = here.open(&url).await.page();
    let person = Person { username: guest.person.0.clone(), password: guest.person.1.clone() };
    let page = here.log_in(&login, &person).await.page();
    let shown = sessions(&page);
    assert_eq!(shown.len(), 2, "{}", page.html);
    let page = here.press(&page, "end", &shown[1]).await.page();
    assert_eq!(sessions(&page), shown[..1]);
    // At once at every node: its browser is nobody's.
    for host in at {
        let mut browser = world.browser(&[host]);
        browser.cookies = elsewhere.cookies.clone();
        match browser.open(&guest.authorize("&prompt=none")).await {
            Stop::Callback(callback) => assert_eq!(callback.get("error"), "login_required", "host {host}"),
            Stop::Page(page) => panic!("{} {}", page.status, page.html),
        }
        let mut browser = world.browser(&[host]);
        browser.cookies = here.cookies.clone();
        assert_eq!(browser.open(&url).await.page().kind, PageKind::Other, "host {host}: this one goes on");
    }
    // The last one is ended at yet another node.
    let mut there = world.browser(&[c]);
    there.cookies = here.cookies.clone();
    let page = there.open(&url).await.page();
    there.press(&page, "end", &shown[0]).await.page();
    assert_eq!(here.open(&url).await.page().kind, PageKind::Login);
}
