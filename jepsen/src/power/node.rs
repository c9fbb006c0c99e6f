//! The development node under test.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::told::LOG;
use crate::client::{Answer, Door, Http, Lost};
use crate::history::{Outcome, Refusal, Reply};

const READY_MAX: Duration = Duration::from_mins(1);
/// A node that stands still does not answer: writes under way are given up soon.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// For the list of users, once the node is ready.
const USERS_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// Where it lives.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) binary: PathBuf,
    pub(super) mount: PathBuf,
    pub(super) dir: PathBuf,
}

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    admin: AdminDoor,
}

/// Its admin API.
#[derive(Clone, Debug)]
pub(super) struct AdminDoor {
    http: Http,
    users: Url,
    token: String,
}

impl Node {
    pub(super) async fn start(place: &Place) -> anyhow::Result<Self> {
        let ready = place.dir.join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(place.dir.join(LOG))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&place.binary);
        command.args(["dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(place.mount.join("data"));
        command.arg("--ready-file").arg(&ready);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // This future runs on the main thread, which lives as long as the program.
        let mut child = command.spawn().context("cannot start the node (is `setpriv` there?)")?;
        let waiting = async {
            loop {
                if let Some(told) = std::fs::read(&ready).ok().filter(|told| !told.is_empty()) {
                    return anyhow::Ok(told);
                }
                if let Some(status) = child.try_wait()? {
                    bail!("it ended: {status}; see {}", place.dir.join(LOG).display());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let told = tokio::time::timeout(READY_MAX, waiting).await;
        let told = match told {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let _ = child.kill();
                bail!("it does not serve within a minute")
            }
        };
        let ready: Value = serde_json::from_slice(&told)?;
        let text =
            |name: &str| ready.get(name).and_then(Value::as_str).with_context(|| format!("no `{name}`"));
        let users = format!("{}/v1/tenants/{}/users", text("admin_url")?, text("tenant")?);
        let admin = AdminDoor {
            http: Http::new(TIMEOUT)?,
            users: Url::parse(&users)?,
            token: text("admin_token")?.to_owned(),
        };
        Ok(Self { child, admin })
    }

    pub(super) fn door(&self) -> AdminDoor {
        self.admin.clone()
    }

    /// SIGSTOP.
    pub(super) fn stand_still(&self) {
        let _ = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status();
    }

    /// SIGKILL; gives how it had ended before, if it had.
    pub(super) async fn kill(mut self) -> Option<ExitStatus> {
        let ending = tokio::task::spawn_blocking(move || {
            let before = self.child.try_wait().ok().flatten();
            let _ = self.child.kill();
            let _ = self.child.wait();
            before
        });
        ending.await.ok().flatten()
    }

    /// The elements that are there, asked for until they are told.
    ///
    /// # Errors
    /// Why they were not told the last time, after half a minute.
    pub(super) async fn users_in_time(&self) -> anyhow::Result<Vec<u64>> {
        let mut last = anyhow::anyhow!("no answer");
        let asking = async {
            loop {
                match self.users().await {
                    Ok(users) => return users,
                    Err(why) => last = why,
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(USERS_MAX, asking).await {
            Ok(users) => Ok(users),
            Err(_) => Err(last),
        }
    }

    async fn users(&self) -> anyhow::Result<Vec<u64>> {
        let (mut found, mut more) = (Vec::new(), String::new());
        loop {
            let mut url = self.admin.users.clone();
            url.set_query(Some(&format!("page_size=200{more}")));
            let answer = self.admin.send(self.admin.http.request(Method::GET, &url, &Door::Named)).await?;
            anyhow::ensure!(answer.is_success(), "users: {}", answer.told());
            let page = answer.json();
            let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            let number =
                |user: &Value| user.get("username")?.as_str()?.strip_prefix("element-")?.parse::<u64>().ok();
            found.extend(items.iter().filter_map(number));
            match page.get("next_page_token").and_then(Value::as_str) {
                Some(next) => more = format!("&page_token={next}"),
                None => return Ok(found),
            }
        }
    }
}

impl AdminDoor {
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Lost> {
        self.http.send(request.bearer_auth(&self.token)).await
    }

    /// Makes a user.
    pub(super) async fn add(&self, element: u64) -> Outcome {
        let body = json!({ "username": format!("element-{element}") });
        match self.send(self.http.request(Method::POST, &self.users, &Door::Named).json(&body)).await {
            Ok(answer) if answer.is_success() => Outcome::Ok(Reply::Done),
            Ok(answer) if answer.status >= 500 => Outcome::Info(answer.told()),
            Ok(answer) => Outcome::Fail(Refusal::Other(answer.told())),
            Err(Lost::NotSent(why)) => Outcome::Fail(Refusal::Other(why)),
            Err(Lost::Unanswered(why)) => Outcome::Info(why),
        }
    }
}
