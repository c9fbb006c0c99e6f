//! Just enough HTML to fill in the forms of login pages: ours and those of other providers.

/// A form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) action: String,
    /// Inputs and buttons, in order.
    pub(super) controls: Vec<Control>,
}

/// An input or a button.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) is_button: bool,
    /// `type`, in small letters.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) value: String,
    pub(super) is_checked: bool,
}

/// Names and values of buttons that agree to something.
const AGREES: &[&str] = &["allow", "accept", "approve", "grant", "yes", "confirm"];

impl Form {
    /// Whether it asks for a password.
    pub(super) fn asks_for_password(&self) -> bool {
        self.controls.iter().any(|control| control.kind == "password")
    }

    /// The button that agrees.
    pub(super) fn agreement(&self) -> Option<&Control> {
        let agrees = |text: &str| AGREES.contains(&text.to_ascii_lowercase().as_str());
        self.controls.iter().find(|control| {
            (control.is_button || control.kind == "submit")
                && (agrees(&control.name) || agrees(&control.value))
        })
    }

    /// What a browser would send when `pressed` is pressed, with a name and a password filled in.
    pub(super) fn filled(
        &self,
        username: &str,
        password: &str,
        pressed: Option<&Control>,
    ) -> Vec<(String, String)> {
        let mut name_is_given = false;
        let mut fields = Vec::new();
        for control in self.controls.iter().filter(|control| !control.name.is_empty()) {
            let value = match control.kind.as_str() {
                _ if control.is_button => continue,
                "submit" | "button" | "image" | "reset" | "file" => continue,
                "checkbox" | "radio" if !control.is_checked => continue,
                "password" => password,
                "text" | "email" | "" if !name_is_given && self.asks_for_password() => {
                    name_is_given = true;
                    username
                }
                _ => &control.value,
            };
            fields.push((control.name.clone(), value.to_owned()));
        }
        fields.extend(pressed.map(|button| (button.name.clone(), button.value.clone())));
        fields
    }
}

/// All forms of a page.
pub(super) fn forms(html: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut open = false;
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let name = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
        let get = |wanted: &str| attribute(tag, wanted).unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "form" => {
                open = true;
                forms.push(Form { action: get("action"), controls: Vec::new() });
            }
            _ if tag.to_ascii_lowercase().starts_with("/form") => open = false,
            element @ ("input" | "button") if open => {
                let control = Control {
                    is_button: element == "button",
                    kind: get("type").to_ascii_lowercase(),
                    name: get("name"),
                    value: get("value"),
                    is_checked: attribute(tag, "checked").is_some() || tag.ends_with(" checked"),
                };
                if let Some(form) = forms.last_mut() {
                    form.controls.push(control);
                }
            }
            _ => {}
        }
    }
    forms
}

/// The value of an attribute in double or single quotes.
fn attribute(tag: &str, wanted: &str) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let start = lower.match_indices(&format!("{wanted}=")).find_map(|(at, found)| {
        let before = lower.get(..at)?.chars().next_back()?;
        before.is_whitespace().then_some(at + found.len())
    })?;
    let rest = tag.get(start..)?;
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let inner = rest.get(1..)?;
    Some(unescape(inner.get(..inner.find(quote)?)?))
}

fn unescape(text: &str) -> String {
    const ENTITIES: &[(&str, &str)] = &[
        ("&lt;", "<"),
        ("&#60;", "<"),
        ("&gt;", ">"),
        ("&#62;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#x2F;", "/"),
        ("&#61;", "="),
        ("&#38;", "&"),
        // Last, so that nothing is unescaped twice.
        ("&amp;", "&"),
    ];
    ENTITIES.iter().fold(text.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_form_is_found_and_filled_in() {
        let page = r#"<input name="outside"><form method="POST" action='/a?x=1&amp;y=2'>
            <input type="hidden" name="i" value="&#34;q&#34;"/><input name="user" type="email">
            <input type="password" name="pass" value=""><input type="checkbox" name="stay" value="1">
            <button type="submit" name="go" value="1">Log in</button></form>"#;
        let found = forms(page);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].action, "/a?x=1&y=2");
        assert!(found[0].asks_for_password() && found[0].agreement().is_none());
        let filled = found[0].filled("ada", "secret", None);
        let wanted = [("i", "\"q\""), ("user", "ada"), ("pass", "secret")];
        assert_eq!(filled, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_consent_form_is_agreed_to_with_what_is_checked() {
        let page = r#"<form action="/c"><input type="checkbox" name="scope" value="a" checked>
            <button name="deny" value="1">No</button><button name="allow" value="1">Yes</button></form>"#;
        let form = forms(page).remove(0);
        let filled = form.filled("", "", form.agreement());
        assert_eq!(filled, [("scope".to_owned(), "a".to_owned()), ("allow".to_owned(), "1".to_owned())]);
    }
}
