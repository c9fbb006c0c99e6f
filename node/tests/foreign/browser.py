"""A person at a browser: follows redirects, keeps cookies, fills in the login form and allows."""

import os
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

HOPS = 12
CALLBACK = "https://rp.example.org/callback"
LOGGED_OUT = "https://rp.example.org/bye"
ISSUER, ADMIN_URL, ADMIN_TOKEN, TENANT, USERNAME, PASSWORD = (
    os.environ[f"DOMICILE_{name}"]
    for name in ("ISSUER", "ADMIN_URL", "ADMIN_TOKEN", "TENANT", "USERNAME", "PASSWORD")
)


def check(holds, step):
    if not holds:
        raise AssertionError(f"not so: {step}")
    print(f"ok {step}", flush=True)


def register(**metadata):
    """Registers a client over the admin API."""
    body = {
        "redirect_uris": [CALLBACK],
        "post_logout_redirect_uris": [LOGGED_OUT],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        **metadata,
    }
    answer = requests.post(
        f"{ADMIN_URL}/v1/tenants/{TENANT}/clients",
        json=body,
        headers={"authorization": f"Bearer {ADMIN_TOKEN}"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


class Forms(HTMLParser):
    """The forms of a page: action, and controls as (tag, attributes)."""

    def __init__(self, html):
        super().__init__()
        self.forms = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.forms.append((attrs.get("action", ""), []))
        elif tag in ("input", "button") and self.forms:
            self.forms[-1][1].append((tag, attrs))


def filled(html):
    """The page's form as a person sends it: logs in, allows."""
    for action, controls in Forms(html).forms:
        fields, asks = [], False
        for tag, control in controls:
            name, value, kind = control.get("name"), control.get("value", ""), control.get("type")
            if tag == "button":
                if name == "allow":
                    fields.append((name, value))
                    asks = True
                continue
            if kind == "password":
                value, asks = PASSWORD, True
            elif kind in ("text", "email"):
                value = USERNAME
            fields.append((name, value))
        if asks:
            return action, fields
    return None


class Browser:
    """Goes on until it leaves the node or a page asks nothing more."""

    def __init__(self):
        self.cookies = {}

    def open(self, url):
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(ISSUER))
        form = None
        for _ in range(HOPS):
            if not url.startswith(origin):
                return url
            headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
            if form is None:
                answer = requests.get(url, headers=headers, allow_redirects=False, timeout=60)
            else:
                headers["origin"] = origin
                answer = requests.post(url, data=form, headers=headers, allow_redirects=False, timeout=60)
            form = None
            for cookie in answer.raw.headers.getlist("set-cookie"):
                name, value = cookie.split(";", 1)[0].split("=", 1)
                if "Max-Age=0" in cookie:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = value
            if "location" in answer.headers:
                url = urljoin(url, answer.headers["location"])
                continue
            action = filled(answer.text)
            if action is None:
                return url
            url, form = urljoin(url, action[0]), action[1]
        raise AssertionError(f"too many hops, now at {url}")
