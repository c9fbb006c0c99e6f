//! Aligned columns for people.

use serde_json::Value;

/// One column: its heading, and the member it shows.
pub(super) type Column = (&'static str, &'static str);

/// Rows under headings, columns two spaces apart, no trailing spaces.
pub(super) fn render(columns: &[Column], items: &[Value]) -> String {
    let heading = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let rows = items.iter().map(|item| columns.iter().map(|(_, member)| cell(item.get(member))).collect());
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Names and values of one item, one a line.
pub(super) fn render_one(item: &Value) -> String {
    let Value::Object(members) = item else { return format!("{}\n", cell(Some(item))) };
    let width = members.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in members {
        out.push_str(format!("{name:width$}  {}", cell(Some(value))).trim_end());
        out.push('\n');
    }
    out
}

/// Control characters would let a stored name rewrite the terminal.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(","),
        Some(other @ (Value::Number(_) | Value::Object(_))) => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let items = [
            json!({"slug": "acme", "display_name": "Ünïted", "disabled": false}),
            json!({"slug": "a-longer-slug", "uris": ["x"], "disabled": true}),
        ];
        let text = render(&[("SLUG", "slug"), ("NAME", "display_name"), ("DISABLED", "disabled")], &items);
        let expects = "SLUG           NAME    DISABLED\n\
                       acme           Ünïted  no\n\
                       a-longer-slug  -       yes\n";
        assert_eq!(text, expects);
        assert_eq!(render(&[("SLUG", "slug")], &[]), "SLUG\n");
    }

    #[test]
    fn a_stored_name_cannot_rewrite_the_terminal() {
        assert_eq!(render_one(&json!({"name": "\u{1b}[2Jx\r"})), "name  \u{fffd}[2Jx\u{fffd}\n");
    }
}
