//! The two processes that are compared.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::bare::Work;
use crate::http::{Request, once};

/// A child that ends with the benchmark.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real binary.
pub struct Node {
    child: Running,
    pub address: String,
    /// Of the tenant, before `/oauth2/...`.
    pub base: String,
    pub ready: Value,
}

/// A client that the benchmark registered.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub secret: String,
}

impl Node {
    /// Starts it. `dev` has no limits of rates that the load would meet.
    pub fn start(home: &Path) -> Self {
        let file = home.join("ready.json");
        let child = Command::new(env!("CARGO_BIN_EXE_domicile"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(home.join("data"))
            .arg("--ready-file")
            .arg(&file)
            .env("DOMICILE__EGRESS__ALLOW_NETWORKS", "127.0.0.0/8")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let child = Running(child);
        while !file.exists() {
            std::thread::yield_now();
        }
        let ready: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let origin = ready["public_url"].as_str().unwrap();
        let base = ready["issuer"].as_str().unwrap().strip_prefix(origin).unwrap().to_owned();
        let address = origin.strip_prefix("http://").unwrap().to_owned();
        Self { child, address, base, ready }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// A path of the tenant.
    pub fn at(&self, path: &str) -> String {
        format!("{}/oauth2/{path}", self.base)
    }

    /// A form POST of a client.
    pub fn form(&self, path: &str, form: &str, client: &Client) -> Request {
        Request::form(&self.at(path), &self.address, form, &client.id, &client.secret)
    }

    /// The body of an answer.
    pub fn ask(&self, request: &Request) -> Value {
        serde_json::from_slice(&once(&self.address, request)).unwrap()
    }

    /// Registers a client whose tokens are ES256.
    pub fn client(&self, more: &Value) -> Client {
        let mut metadata = json!({
            "client_name": "bench",
            "grant_types": ["client_credentials"],
            "response_types": [],
            "access_token_signed_response_alg": "ES256",
            "id_token_signed_response_alg": "ES256",
        });
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let text = |name: &str| self.ready[name].as_str().unwrap();
        let path = format!("/v1/tenants/{}/clients", text("tenant"));
        let made = self.ask(&Request::json(&path, &self.address, &metadata, text("admin_token")));
        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        Client { id: text("client_id"), secret: text("client_secret") }
    }
}

/// The bare handlers, in a process of their own.
pub struct Bare {
    child: Running,
    pub address: String,
}

impl Bare {
    /// Starts them.
    pub fn start(home: &Path) -> Self {
        let file = home.join("bare-address");
        let child = Command::new(std::env::current_exe().unwrap()).arg("--bare").arg(&file).spawn().unwrap();
        let child = Running(child);
        let address = loop {
            match fs::read_to_string(&file) {
                Ok(address) if address.ends_with('\n') => break address.trim().to_owned(),
                Ok(_) | Err(_) => std::thread::yield_now(),
            }
        };
        Self { child, address }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Tells it what a path does.
    pub fn set(&self, name: &str, work: &Work) {
        let path = format!("/set/{}", name.replace(' ', "-"));
        let body = serde_json::to_vec(work).unwrap();
        once(&self.address, &Request::put(&path, &self.address, &body));
    }
}
