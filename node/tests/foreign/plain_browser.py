"""A person at a browser, with nothing but Python's own library: for `debian`.

    plain_browser.py page URL                         prints the page behind the login
    plain_browser.py refresh-token ISSUER ID SECRET   prints the refresh token of a code
"""

import base64
import html
import http.cookiejar
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

LOOPBACK = "http://localhost:4242"


class Stay(urllib.request.HTTPRedirectHandler):
    """Stops where nobody listens."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if newurl.startswith(LOOPBACK):
            raise urllib.error.HTTPError(newurl, code, "away", headers, None)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def attribute(tag, name):
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return html.unescape(found[1]) if found else ""


def filled(text):
    """Action and fields of the form that asks something; `None` if none does."""
    for head, body in re.findall(r"<form([^>]*)>(.*?)</form>", text, re.S):
        if 'type="password"' not in body and 'name="allow"' not in body:
            continue
        known = {"password": os.environ["PASSWORD"], "text": os.environ["USERNAME"], "email": os.environ["USERNAME"]}
        fields = [
            (attribute(tag, "name"), known.get(attribute(tag, "type"), attribute(tag, "value")))
            for tag in re.findall(r"<input[^>]*>", body)
        ]
        allow = re.search(r'<button[^>]*name="allow"[^>]*>', body)
        if allow:
            fields.append(("allow", attribute(allow[0], "value")))
        return attribute(head, "action"), fields
    return None


def walk(url):
    """Where it ends: the page's text, or the address that nobody listens on."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    web = urllib.request.build_opener(jar, Stay)
    # Apache's module takes who does not ask for a page for a script, and lets it stand there.
    web.addheaders = [("Accept", "text/html")]
    try:
        answer = web.open(url, timeout=60)
        for _ in range(4):
            text = answer.read().decode()
            form = filled(text)
            if form is None:
                return text
            target = urllib.parse.urljoin(answer.geturl(), form[0])
            answer = web.open(target, urllib.parse.urlencode(form[1]).encode(), timeout=60)
    except urllib.error.HTTPError as error:
        if error.url.startswith(LOOPBACK):
            return error.url
        raise
    raise SystemExit("too many forms")


def refresh_token(issuer, client_id, secret):
    with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=60) as answer:
        metadata = json.load(answer)
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": LOOPBACK,
        "scope": "openid profile offline_access",
        "prompt": "consent",
    }
    back = walk(f"{metadata['authorization_endpoint']}?{urllib.parse.urlencode(query)}")
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": LOOPBACK}
    basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    request = urllib.request.Request(
        metadata["token_endpoint"],
        urllib.parse.urlencode(form).encode(),
        {"authorization": f"Basic {basic}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["refresh_token"]


if sys.argv[1] == "page":
    print(walk(sys.argv[2]), end="")
else:
    print(refresh_token(*sys.argv[2:5]))
