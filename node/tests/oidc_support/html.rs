//! Just enough HTML to send the forms that our pages hold, as a browser would.

/// A form.
#[derive(Clone, Debug, Default)]
pub struct HtmlForm {
    pub action: String,
    pub method: String,
    /// Inputs and buttons, in order.
    pub controls: Vec<Control>,
}

/// An input or a button.
#[derive(Clone, Debug)]
pub struct Control {
    pub tag: String,
    pub kind: String,
    pub name: String,
    pub value: String,
}

impl HtmlForm {
    /// The first control that fits.
    pub fn find(&self, fits: impl Fn(&Control) -> bool) -> Option<&Control> {
        self.controls.iter().find(|control| fits(control))
    }

    /// Whether there is a button of this name.
    pub fn has_button(&self, name: &str) -> bool {
        self.find(|control| control.tag == "button" && control.name == name).is_some()
    }
}

/// All forms of a page.
pub fn forms(html: &str) -> Vec<HtmlForm> {
    let mut forms: Vec<HtmlForm> = Vec::new();
    let mut open = false;
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let name = tag.split(|c: char| c.is_whitespace()).next().unwrap_or_default().to_ascii_lowercase();
        let get = |wanted: &str| attribute(tag, wanted).unwrap_or_default();
        match name.as_str() {
            "form" => {
                open = true;
                let method = get("method").to_ascii_lowercase();
                forms.push(HtmlForm { action: get("action"), method, controls: Vec::new() });
            }
            "/form" => open = false,
            "input" | "button" if open => {
                let control =
                    Control { kind: get("type"), name: get("name"), value: get("value"), tag: name };
                forms.last_mut().unwrap().controls.push(control);
            }
            _ => {}
        }
    }
    forms
}

/// The value of an attribute, as our templates write it: in double quotes.
fn attribute(tag: &str, wanted: &str) -> Option<String> {
    let start = tag.find(&format!(" {wanted}=\""))? + wanted.len() + 3;
    let rest = &tag[start..];
    Some(unescape(&rest[..rest.find('"')?]))
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(';').map_or(rest.len(), |end| at + end + 1);
        out.push_str(match &rest[at..end] {
            "&amp;" | "&#38;" => "&",
            "&lt;" | "&#60;" => "<",
            "&gt;" | "&#62;" => ">",
            "&quot;" | "&#34;" => "\"",
            "&#39;" | "&#x27;" => "'",
            other => panic!("unknown entity {other}"),
        });
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[test]
fn forms_are_found_with_their_controls() {
    let found = forms(
        r#"<input name="outside"><form method="POST" action="/a?x=1&amp;y=2"><input type="hidden" name="i" value="&#34;q&#34;">
        <button type="submit" name="allow" value="1">Yes</button></form>"#,
    );
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].action.as_str(), found[0].method.as_str()), ("/a?x=1&y=2", "post"));
    assert_eq!(found[0].controls[0].value, "\"q\"");
    assert!(found[0].has_button("allow") && !found[0].has_button("deny"));
}
